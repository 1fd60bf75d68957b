import Glibc

/// How many files the process may have open. A tablet holds two; many systems let a process have 1,024 unless it asks.
enum FileDescriptorLimit {
    /// Raises the limit as far as the process may, and returns it.
    static func raise() -> Int {
        var limit = rlimit()
        // Safety: `limit` lives through the calls, which read or fill it.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 { limit.rlim_cur = before }
        return Int(clamping: limit.rlim_cur)
    }
}
