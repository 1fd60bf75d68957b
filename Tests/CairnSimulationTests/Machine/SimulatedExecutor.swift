import Synchronization

/// Runs the jobs of tasks one after the other, when it is told to, on the thread that tells.
///
/// Tasks that prefer it, and their children, run nowhere else, so that what a router awaits happens in simulated time and in an
/// order that the seed determines.
final class SimulatedExecutor: TaskExecutor {
    private let jobs = Mutex<[UnownedJob]>([])

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
    }

    /// Runs what waits, and what that makes wait, until nothing does.
    func drain() {
        while true {
            let batch = jobs.withLock { jobs in
                defer { jobs = [] }
                return jobs
            }
            if batch.isEmpty { return }
            for job in batch { job.runSynchronously(on: asUnownedTaskExecutor()) }
        }
    }

    /// Starts a task here; it runs at the next ``drain()``.
    ///
    /// What the work takes with it belongs to one simulation, which is one thread's: nothing of it is shared with another.
    func start(_ work: @escaping () async -> Void) {
        // Safety: the job runs in `drain`, on the simulation's own thread, and so does all that it resumes to.
        nonisolated(unsafe) let work = work
        Task(executorPreference: self) { await work() }
    }
}
