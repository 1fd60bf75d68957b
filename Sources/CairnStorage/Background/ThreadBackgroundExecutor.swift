#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Threads of low priority that all engines of a process share.
///
/// Flushes go before compactions, and unless there is only one thread, one is always left free of compactions, so that a
/// long one holds up no writer. Threads start with the first job and end with ``shutDown()``, which lets running jobs end.
public final class ThreadBackgroundExecutor: BackgroundExecutor {
    private struct State {
        var flushes: [@Sendable () -> Void] = []
        var compactions: [@Sendable () -> Void] = []
        var runningCompactions = 0
        var threads = 0
        var idle = 0
        var isShutDown = false
    }

    private let monitor = Monitor(State())
    private let threadsMax: Int

    /// - Parameter threads: How many jobs run at once, at least 1.
    public init(threads: Int) {
        precondition(threads >= 1, "an executor of \(threads) threads")
        threadsMax = threads
    }

    deinit { shutDown() }

    public func submit(_ work: BackgroundWork, _ job: @escaping @Sendable () -> Void) {
        let starts = monitor.change { state in
            guard !state.isShutDown else { return false }
            switch work {
            case .flush: state.flushes.append(job)
            case .compaction: state.compactions.append(job)
            }
            guard state.threads < threadsMax, state.idle < state.flushes.count + state.compactions.count else {
                return false
            }
            state.threads += 1
            return true
        }
        if starts { startThread() }
    }

    /// Takes no more jobs, forgets those that wait, and lets the threads end after the job they are at.
    public func shutDown() {
        monitor.change { state in
            state.isShutDown = true
            state.flushes = []
            state.compactions = []
        }
    }

    private func startThread() {
        let worker = Worker(monitor: monitor, compactionsMax: max(1, threadsMax - 1))
        let context = unsafe Unmanaged.passRetained(worker).toOpaque()
        var thread = pthread_t()
        // Safety: the thread takes over the retained worker.
        let status = unsafe pthread_create(
            &thread, nil,
            { context in
                #if os(Linux)
                    unsafe Unmanaged<Worker>.fromOpaque(context!).takeRetainedValue().run()
                #else
                    unsafe Unmanaged<Worker>.fromOpaque(context).takeRetainedValue().run()
                #endif
                return nil
            }, context)
        precondition(status == 0, "pthread_create: \(status)")
        pthread_detach(thread)
    }

    private final class Worker {
        let monitor: Monitor<State>
        let compactionsMax: Int

        init(monitor: Monitor<State>, compactionsMax: Int) {
            self.monitor = monitor
            self.compactionsMax = compactionsMax
        }

        func run() {
            #if os(Linux)
                // On Linux this is about the calling thread: requests come before background work.
                _ = nice(10)
            #endif
            while let (job, isCompaction) = take() {
                job()
                if isCompaction { monitor.change { $0.runningCompactions -= 1 } }
            }
        }

        /// The next job; nil when it is time to end.
        private func take() -> (job: @Sendable () -> Void, isCompaction: Bool)? {
            monitor.withLock { $0.idle += 1 }
            return monitor.wait { state -> (job: @Sendable () -> Void, isCompaction: Bool)?? in
                if !state.flushes.isEmpty {
                    state.idle -= 1
                    return .some((state.flushes.removeFirst(), false))
                }
                if !state.compactions.isEmpty, state.runningCompactions < compactionsMax {
                    state.idle -= 1
                    state.runningCompactions += 1
                    return .some((state.compactions.removeFirst(), true))
                }
                if state.isShutDown {
                    state.idle -= 1
                    state.threads -= 1
                    return .some(nil)
                }
                return nil
            }
        }
    }
}
