import CairnSharding
import NIOCore
import NIOPosix

/// The node's reader threads as one event loop sees them.
final class LoopReaderPool: ReaderPool {
    private let threads: NIOThreadPool
    private let eventLoop: any EventLoop
    /// Runs after each completion, so that what it started gets under way.
    private let afterWork: () -> Void

    init(threads: NIOThreadPool, eventLoop: any EventLoop, afterWork: @escaping () -> Void) {
        self.threads = threads
        self.eventLoop = eventLoop
        self.afterWork = afterWork
    }

    func run<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void
    ) {
        // Bound to the loop it came from and runs on: the box makes that a checked fact.
        let bound = NIOLoopBound((completion, afterWork), eventLoop: eventLoop)
        let eventLoop = eventLoop
        threads.submit { state in
            // The pool ends with the node, after its connections.
            guard state == .active else { return }
            let outcome = work()
            eventLoop.execute {
                bound.value.0(outcome)
                bound.value.1()
            }
        }
    }
}
