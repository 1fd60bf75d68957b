package import NIOCore

/// Runs a task's jobs on one event loop also where they belong to no actor.
///
/// A continuation that is resumed goes to the task's preferred executor before it goes back to its actor, and without a
/// preference that is the global pool: two changes of threads for each wait, which costs more than most of what we do
/// between two waits. Tasks that work for a loop therefore prefer this one. Its jobs run as isolated to the loop, which
/// they are, so that the way back to the loop's actors is none.
package final class EventLoopTaskExecutor: TaskExecutor {
    private let eventLoop: any EventLoop

    package init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        eventLoop.execute { [self] in
            // Safety: the job is run here, once, on the thread of the loop whose executor is named.
            unsafe job.runSynchronously(
                isolatedTo: eventLoop.executor.asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        }
    }
}
