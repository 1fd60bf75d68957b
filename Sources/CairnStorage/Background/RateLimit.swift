import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Bytes a second that compactions may write, over all engines that share the limit, so that they leave the disk to those
/// who wait for it. Flushes are not held back: writers wait for them.
public final class RateLimit: Sendable {
    private let pacer: Mutex<Pacer>

    /// - Parameter bytesPerSecond: at least 1.
    public init(bytesPerSecond: Int) {
        precondition(bytesPerSecond >= 1, "a rate of \(bytesPerSecond) bytes a second")
        pacer = Mutex(Pacer(bytesPerSecond: bytesPerSecond))
    }

    /// Takes note of `bytes` that were written, and waits for as long as they are ahead of the rate.
    func pass(_ bytes: Int) {
        let clock = SuspendingClock()
        let wait = pacer.withLock { $0.wait(after: bytes, at: clock.now) }
        guard wait > .zero else { return }
        let (seconds, attoseconds) = wait.components
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
        unsafe nanosleep(&time, nil)
    }
}

/// The arithmetic of a ``RateLimit``: when the bytes so far would have been written at the rate.
struct Pacer {
    let bytesPerSecond: Int
    private var due: SuspendingClock.Instant?

    init(bytesPerSecond: Int) { self.bytesPerSecond = bytesPerSecond }

    /// How long to wait after `bytes` more, at `now`. Time that was not used is not saved up.
    mutating func wait(after bytes: Int, at now: SuspendingClock.Instant) -> Duration {
        let start = max(now, due ?? now)
        let end = start + .seconds(Double(bytes) / Double(bytesPerSecond))
        due = end
        return end - now
    }
}
