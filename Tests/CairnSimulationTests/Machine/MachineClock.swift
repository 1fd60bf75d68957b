import CairnSharding

/// The clocks of one machine: a monotonic one that may run fast or slow, and a wall clock that may jump.
struct MachineClock {
    /// What the monotonic clock shows for a thousand nanoseconds.
    private(set) var permille: UInt64 = 1000
    private var base: (true: UInt64, shown: UInt64)
    /// How far the wall clock is off.
    var wallOffsetMilliseconds: Int64 = 0

    init(startingAt shown: UInt64) { base = (0, shown) }

    func monotonic(_ now: UInt64) -> UInt64 { base.shown + (now - base.true) / 1000 * permille }

    func wallMilliseconds(_ now: UInt64) -> Int64 {
        1_700_000_000_000 + Int64(now / 1_000_000) + wallOffsetMilliseconds
    }

    /// True nanoseconds in which the monotonic clock advances by `shown`.
    func trueDuration(_ shown: UInt64) -> UInt64 { shown / permille * 1000 + 1000 }

    mutating func setRate(permille: UInt64, now: UInt64) {
        base = (now, monotonic(now))
        self.permille = permille
    }
}

/// A process' view of its machine's clocks.
///
/// When the process ends, everything is late and every timer goes off: so whatever waits in a task comes to its end, as
/// it would not in a process that is killed, and no task outlives its run.
final class ProcessClock: RouterClock {
    private weak var process: SimulatedProcess?
    private var timers: [UInt64: () -> Void] = [:]
    private var nextTimer: UInt64 = 0

    init(process: SimulatedProcess) { self.process = process }

    var nanoseconds: UInt64 {
        guard let process, !process.hasEnded else { return 1 << 62 }
        return process.machine.monotonicNow
    }

    var wallMilliseconds: Int64 { process?.machine.wallNow ?? 0 }

    func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void) {
        let number = nextTimer
        nextTimer += 1
        timers[number] = work
        // In a process that has ended it goes off with the others.
        guard let process, !process.hasEnded else { return }
        process.schedule(after: process.machine.clock.trueDuration(delay)) { [weak self] in
            self?.timers.removeValue(forKey: number)?()
        }
    }

    /// Lets all timers go off. True if there were any.
    func fireAll() -> Bool {
        let due = timers.sorted { $0.key < $1.key }
        timers = [:]
        for (_, work) in due { work() }
        return !due.isEmpty
    }
}
