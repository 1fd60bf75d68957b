/// Time as a router or a group may know it: read when asked for, never cached, and waited for without a thread.
///
/// The server implements it with its event loop, tests with a number that they advance.
public protocol RouterClock: AnyObject {
    /// A monotonic reading. A process that was stopped sees the time that passed meanwhile.
    var nanoseconds: UInt64 { get }

    /// Milliseconds since 1970 by the wall clock, which may jump.
    var wallMilliseconds: Int64 { get }

    /// Runs `work` on the caller's loop once that much time has passed, never before this call has returned.
    func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void)
}
