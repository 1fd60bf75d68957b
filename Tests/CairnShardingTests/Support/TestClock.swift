import CairnSharding

/// Time that stands still until a test moves it.
final class TestClock: RouterClock {
    private(set) var nanoseconds: UInt64 = 1_000_000_000
    private var timers: [(at: UInt64, order: Int, work: () -> Void)] = []
    private var order = 0

    /// How far the wall clock was set.
    var wallOffsetMilliseconds: Int64 = 0

    var wallMilliseconds: Int64 { 1_700_000_000_000 + wallOffsetMilliseconds + Int64(nanoseconds / 1_000_000) }

    func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void) {
        order += 1
        timers.append((nanoseconds + delay, order, work))
    }

    /// Moves to the next timer and runs it; false when there is none.
    func advanceToNextTimer() -> Bool {
        guard
            let index = timers.indices.min(by: { (timers[$0].at, timers[$0].order) < (timers[$1].at, timers[$1].order) }
            )
        else { return false }
        let timer = timers.remove(at: index)
        nanoseconds = max(nanoseconds, timer.at)
        timer.work()
        return true
    }

    func advance(nanoseconds delay: UInt64) {
        nanoseconds += delay
    }
}
