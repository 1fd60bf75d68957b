import CairnSharding
import Glibc
import NIOCore
import NIOPosix

/// The node's reader threads as one event loop sees them.
final class LoopReaderPool: ReaderPool {
    private let threads: NIOThreadPool
    /// For what takes long; those of `threads` where there are none.
    private let longThreads: NIOThreadPool
    private let eventLoop: any EventLoop
    /// Runs after each completion, so that what it started gets under way.
    private let afterWork: () -> Void

    init(
        threads: NIOThreadPool, longThreads: NIOThreadPool, eventLoop: any EventLoop,
        afterWork: @escaping () -> Void
    ) {
        self.threads = threads
        self.longThreads = longThreads
        self.eventLoop = eventLoop
        self.afterWork = afterWork
    }

    func run<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void
    ) {
        submit(to: threads, work, then: completion)
    }

    func runLong<Outcome: Sendable>(
        _ work: @escaping @Sendable () -> Outcome, then completion: @escaping (Outcome) -> Void
    ) {
        submit(
            to: longThreads,
            {
                Self.yieldToOthers()
                return work()
            }, then: completion)
    }

    var monotonicClock: @Sendable () -> UInt64 { { LoopClock.monotonicNanoseconds } }

    /// Lowers the priority of the calling thread, so that loops and short reads get a core when they need one.
    private static func yieldToOthers() {
        // On Linux it is the thread's own. A thread that may not be told so does its work all the same.
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    }

    private func submit<Outcome: Sendable>(
        to threads: NIOThreadPool, _ work: @escaping @Sendable () -> Outcome,
        then completion: @escaping (Outcome) -> Void
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
