import CairnSharding
import Glibc
import NIOCore

/// The clocks of a node, read afresh each time, and the timers of one event loop.
final class LoopClock: RouterClock {
    private let eventLoop: any EventLoop
    /// Runs after each timer, so that what the timer started gets under way.
    var afterWork: () -> Void = {}

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    var nanoseconds: UInt64 { Self.monotonicNanoseconds }

    var wallMilliseconds: Int64 { Self.wallMilliseconds }

    /// Milliseconds since 1970 by the wall clock.
    static var wallMilliseconds: Int64 {
        var time = timespec()
        // Safety: `time` lives through the call, which fills it.
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Nanoseconds since some moment in the past. A process that was stopped sees the time that passed meanwhile.
    static var monotonicNanoseconds: UInt64 {
        var time = timespec()
        // Safety: `time` lives through the call, which fills it.
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void) {
        // Bound to the loop it came from and runs on: the box makes that a checked fact.
        let bound = NIOLoopBound((self, work), eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .nanoseconds(Int64(clamping: delay))) {
            bound.value.1()
            bound.value.0.afterWork()
        }
    }
}
