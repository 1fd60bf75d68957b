import Synchronization

/// Runs jobs when told to, on the thread that tells: for tests and simulations, which thereby repeat exactly.
public final class ManualBackgroundExecutor: BackgroundExecutor {
    private let jobs = Mutex<[@Sendable () -> Void]>([])

    public init() {}

    public func submit(_ work: BackgroundWork, _ job: @escaping @Sendable () -> Void) {
        jobs.withLock { $0.append(job) }
    }

    public var pendingJobs: Int { jobs.withLock { $0.count } }

    /// Runs the oldest job; false if there is none.
    @discardableResult
    public func runNext() -> Bool {
        guard let job = jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else { return false }
        job()
        return true
    }

    /// Runs jobs, and those that they submit, until none is left.
    public func runAll() { while runNext() {} }

    /// Forgets all jobs, as the end of a process does.
    public func discardAll() { jobs.withLock { $0.removeAll() } }
}
