import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The log thread: takes batches from any number of loops, writes all that wait as one append, syncs once, and reports.
///
/// A shell that decides nothing; a simulation calls ``SharedLog`` itself. While the disk is full (``SharedLog/isOutOfSpace``)
/// it keeps what waits and tries again, so that nothing is lost; every other error is reported to all and is final.
public final class LogWriter: Sendable {
    /// Called on the log thread, in the order of submission; hops to where it is wanted.
    public typealias Completion = @Sendable (Result<Void, SharedLogError>) -> Void

    private struct Waiting: Sendable {
        var batches: [LogBatch] = []
        var completions: [Completion] = []
        var isStopping = false
        var isSleeping = false
        var hasEnded = false
    }

    /// How long nothing must have come for the log to be marked as synced.
    private static let idleMilliseconds = 250
    /// How often a full disk is tried; a ring makes it sooner.
    private static let retryMicroseconds: UInt32 = 250_000

    private let log: SharedLog
    private let waiting = Mutex(Waiting())
    private let bell = Bell()
    private let ended = Bell()

    /// Starts the thread.
    public init(_ log: SharedLog) {
        self.log = log
        let box = unsafe Unmanaged.passRetained(self)
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { context in
                // Safety: the one reference that `passRetained` made is the one taken here.
                let writer = unsafe Unmanaged<LogWriter>.fromOpaque(context!).takeRetainedValue()
                writer.run()
                return nil
            }, box.toOpaque())
        precondition(result == 0, "no thread for the log: error \(result)")
        pthread_detach(thread)
    }

    /// Hands `batch` to the log thread; `completion` is called there once it is durable, after those of earlier batches.
    public func submit(_ batch: LogBatch, completion: @escaping Completion) {
        let (accepted, wake) = waiting.withLock { waiting in
            guard !waiting.isStopping else { return (false, false) }
            waiting.batches.append(batch)
            waiting.completions.append(completion)
            defer { waiting.isSleeping = false }
            return (true, waiting.isSleeping)
        }
        guard accepted else { return completion(.failure(SharedLogError(.closed))) }
        if wake { bell.ring() }
    }

    /// Writes what waits, closes the log, ends the thread, and returns when that is done.
    public func stop() {
        waiting.withLock { $0.isStopping = true }
        bell.ring()
        while !waiting.withLock({ $0.hasEnded }) { ended.wait() }
        // For whoever else waits here.
        ended.ring()
    }

    private func run() {
        while let (batches, completions) = next() {
            let result = write(batches)
            for completion in completions { completion(result) }
        }
        try? log.close()
        waiting.withLock { $0.hasEnded = true }
        ended.ring()
    }

    /// Everything that waits; sleeps while nothing does. Nil when there will be no more.
    private func next() -> ([LogBatch], [Completion])? {
        var hasIdleWork = true
        var isMarked = false
        while true {
            let idle = hasIdleWork
            let (taken, ends) = waiting.withLock { waiting -> (([LogBatch], [Completion])?, Bool) in
                guard waiting.batches.isEmpty else {
                    let taken = (waiting.batches, waiting.completions)
                    waiting.batches = []
                    waiting.completions = []
                    return (taken, false)
                }
                waiting.isSleeping = !idle
                return (nil, waiting.isStopping)
            }
            if let taken { return taken }
            if ends { return nil }
            if idle {
                hasIdleWork = log.prepareSpare()
            } else if isMarked {
                bell.wait()
            } else if !bell.wait(milliseconds: Self.idleMilliseconds) {
                // What goes wrong here goes wrong again with the next batch, whose owner hears of it.
                try? log.markSynced()
                isMarked = true
            }
        }
    }

    private func write(_ batches: [LogBatch]) -> Result<Void, SharedLogError> {
        while true {
            do throws(SharedLogError) {
                try log.append(batches)
                try log.synchronize()
                return .success(())
            } catch {
                guard error.code == .outOfSpace else { return .failure(error) }
                // Nobody was told that it is durable, and the log can be opened again as it is.
                if waiting.withLock({ $0.isStopping }) { return .failure(SharedLogError(.closed, error.cause)) }
                // Not until a point of time: the clock may be set back meanwhile.
                usleep(Self.retryMicroseconds)
            }
        }
    }
}

/// What a thread sleeps on: a semaphore, so that a ring is one system call and the woken thread waits for no lock.
///
/// A ring while nobody sleeps is kept for the next one.
@safe
private final class Bell: Sendable {
    // Safety: made once here and only handed to the semaphore's functions, which are made for use by many threads. It goes
    // with the last reference, so nobody rings or waits any more.
    private nonisolated(unsafe) let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() {
        unsafe sem_init(semaphore, 0, 0)
    }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func ring() {
        unsafe sem_post(semaphore)
    }

    /// Returns after a ring; at times for no reason.
    func wait() {
        unsafe sem_wait(semaphore)
    }

    /// Returns true after a ring, at times for no reason, and false when so much time has passed without one. Where the wall
    /// clock is set meanwhile, that is sooner or later than said.
    func wait(milliseconds: Int) -> Bool {
        var until = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &until)
        until.tv_nsec += milliseconds % 1000 * 1_000_000
        until.tv_sec += milliseconds / 1000 + until.tv_nsec / 1_000_000_000
        until.tv_nsec %= 1_000_000_000
        return unsafe sem_timedwait(semaphore, &until) == 0 || errno != ETIMEDOUT
    }
}
