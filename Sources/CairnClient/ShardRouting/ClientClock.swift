import CairnSharding
import NIOCore

#if canImport(Glibc)
    import Glibc
#endif

/// The clocks of a client's event loop.
public final class ClientClock: RouterClock {
    private let eventLoop: any EventLoop

    public init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    public var nanoseconds: UInt64 { NIODeadline.now().uptimeNanoseconds }

    public var wallMilliseconds: Int64 {
        var time = timespec()
        // Safety: `time` lives through the call, which fills it.
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    public func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void) {
        let bound = NIOLoopBound(work, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: .nanoseconds(Int64(clamping: delay))) { bound.value() }
    }
}
