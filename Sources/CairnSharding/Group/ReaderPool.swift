/// Threads that read what a loop must not wait for.
///
/// The server implements it with a few threads, the simulation with its clock.
public protocol ReaderPool: AnyObject {
    /// Runs `work` on some thread and then `completion`, with what came of it, on the caller's loop; never before this call
    /// has returned. What is under way when the pool ends may be dropped, with its completion.
    func run<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void)
}
