/// What background work is for; short work that writers wait for goes first.
public enum BackgroundWork: Int, Hashable, Sendable {
    case flush
    case compaction
}

/// Where engines do what need not happen at once: flushes, compactions, deletions. One executor serves many engines.
///
/// A job may block and may run at any time later, on any thread, beside others. After ``Engine/close()`` its jobs do
/// nothing, so an executor may drop or run what is left.
public protocol BackgroundExecutor: Sendable {
    func submit(_ work: BackgroundWork, _ job: @escaping @Sendable () -> Void)
}

extension BackgroundExecutor {
    public func submit(_ job: @escaping @Sendable () -> Void) { submit(.flush, job) }
}
