import Glibc

/// What the operating system says about the machine and this process.
struct MachineFacts: Sendable {
    let hostName: String
    let system: String
    let release: String
    let architecture: String
    let cores: Int
    let memoryBytes: UInt64

    static let current: MachineFacts = {
        // Safety: `uname` fills the whole structure before it is read, and its fields are NUL-terminated.
        var names = utsname()
        _ = unsafe uname(&names)
        func text<Field>(_ field: Field) -> String {
            unsafe withUnsafeBytes(of: field) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
        }
        return MachineFacts(
            hostName: text(names.nodename), system: text(names.sysname), release: text(names.release),
            architecture: text(names.machine), cores: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
            memoryBytes: UInt64(sysconf(Int32(_SC_PHYS_PAGES))) * UInt64(sysconf(Int32(_SC_PAGESIZE))))
    }()

    static var processID: Int32 { getpid() }

    /// Bytes of memory that the process holds now, or 0 where the system does not say.
    static func residentBytes() -> UInt64 {
        guard let file = unsafe fopen("/proc/self/statm", "r") else { return 0 }
        defer { unsafe _ = fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        // Safety: at most the array's length is written, NUL included.
        guard unsafe fgets(&line, Int32(line.count), file) != nil else { return 0 }
        let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
            separator: " ")
        guard words.count > 1, let pages = UInt64(words[1]) else { return 0 }
        return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    }
}
