#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Threads that all engines of a process share: some for flushes, some of low priority for compactions.
///
/// Writers wait for flushes, so those run at the process's own priority and never behind a compaction; requests come
/// before compactions, whose arrears are bounded by the writers' slowing down. Threads start with the first job of their
/// kind and end with ``shutDown()``, which lets running jobs end.
public final class ThreadBackgroundExecutor: BackgroundExecutor {
    private struct State {
        var queues: [[@Sendable () -> Void]] = [[], []]
        var threads = [0, 0]
        var idle = [0, 0]
        var isShutDown = false
    }

    private let monitor = Monitor(State())
    private let threadsMax: [Int]

    /// How many jobs of each kind run at once; at least 1.
    public init(flushThreads: Int, compactionThreads: Int) {
        precondition(flushThreads >= 1 && compactionThreads >= 1, "an executor without threads for all work")
        threadsMax = [flushThreads, compactionThreads]
    }

    deinit { shutDown() }

    public func submit(_ work: BackgroundWork, _ job: @escaping @Sendable () -> Void) {
        let kind = work.rawValue
        let starts = monitor.change { state in
            guard !state.isShutDown else { return false }
            state.queues[kind].append(job)
            guard state.threads[kind] < threadsMax[kind], state.idle[kind] < state.queues[kind].count else {
                return false
            }
            state.threads[kind] += 1
            return true
        }
        if starts { startThread(for: work) }
    }

    /// Takes no more jobs, forgets those that wait, and lets the threads end after the job they are at.
    public func shutDown() {
        monitor.change { state in
            state.isShutDown = true
            state.queues = [[], []]
        }
    }

    private func startThread(for work: BackgroundWork) {
        let worker = Worker(monitor: monitor, work: work)
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
        let work: BackgroundWork

        init(monitor: Monitor<State>, work: BackgroundWork) {
            self.monitor = monitor
            self.work = work
        }

        func run() {
            #if os(Linux)
                // On Linux this is about the calling thread alone.
                if work == .compaction { _ = nice(10) }
            #endif
            while let job = take() { job() }
        }

        /// The next job; nil when it is time to end.
        private func take() -> (@Sendable () -> Void)? {
            let kind = work.rawValue
            monitor.withLock { $0.idle[kind] += 1 }
            return monitor.wait { state -> (@Sendable () -> Void)?? in
                if !state.queues[kind].isEmpty {
                    state.idle[kind] -= 1
                    return .some(state.queues[kind].removeFirst())
                }
                if state.isShutDown {
                    state.idle[kind] -= 1
                    state.threads[kind] -= 1
                    return .some(nil)
                }
                return nil
            }
        }
    }
}
