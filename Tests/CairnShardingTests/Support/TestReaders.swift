import CairnSharding

/// Readers that work when they are told to, in the order of what they were given.
final class TestReaders: ReaderPool {
    private var waiting: [() -> Void] = []

    var isIdle: Bool { waiting.isEmpty }

    func run<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void
    ) {
        waiting.append { completion(work()) }
    }

    /// Does what waits. Returns whether anything did.
    @discardableResult
    func turn() -> Bool {
        let work = waiting
        waiting = []
        for work in work { work() }
        return !work.isEmpty
    }
}
