import CairnSharding

/// The reader pool: what is given to it is done a little later, in an order that need not be the one in which it came.
final class SimulatedReaders: ReaderPool {
    weak var process: SimulatedProcess?

    func run<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void
    ) {
        guard let process else { return }
        let delay = 20_000 + process.machine.random.next() % 2_000_000
        process.schedule(after: delay) { completion(work()) }
    }
}
