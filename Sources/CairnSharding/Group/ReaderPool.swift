/// Threads that do what a loop must not wait for: read the disk, evaluate what takes long.
///
/// The server implements it with a few threads, the simulation with its clock.
public protocol ReaderPool: AnyObject {
    /// Runs `work` on some thread and then `completion`, with what came of it, on the caller's loop; never before this call
    /// has returned. What is under way when the pool ends may be dropped, with its completion.
    func run<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void)

    /// As ``run(_:then:)``, for work that may take seconds of computing: kept apart, so that what is short does not wait
    /// behind it.
    func runLong<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void)

    /// The nanoseconds of ``RouterClock``, to be read on any thread.
    var monotonicClock: @Sendable () -> UInt64 { get }
}

extension ReaderPool {
    public func runLong<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void
    ) {
        run(work, then: completion)
    }

    /// Where time does not pass during work, none is ever over.
    public var monotonicClock: @Sendable () -> UInt64 { { 0 } }
}
