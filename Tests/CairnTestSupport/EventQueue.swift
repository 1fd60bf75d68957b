import HeapModule

/// Events by time; those of one time in the order in which they were scheduled.
public struct EventQueue<Event> {
    private struct Scheduled: Comparable {
        let time: UInt64
        let order: UInt64
        let event: Event

        static func < (left: Scheduled, right: Scheduled) -> Bool {
            (left.time, left.order) < (right.time, right.order)
        }
        static func == (left: Scheduled, right: Scheduled) -> Bool { left.order == right.order }
    }

    private var heap = Heap<Scheduled>()
    private var scheduled: UInt64 = 0

    public init() {}

    public var isEmpty: Bool { heap.isEmpty }

    /// The time of the next event; nil when there is none.
    public var nextTime: UInt64? { heap.min?.time }

    public mutating func schedule(_ event: Event, at time: UInt64) {
        scheduled += 1
        heap.insert(Scheduled(time: time, order: scheduled, event: event))
    }

    public mutating func next() -> (time: UInt64, event: Event)? {
        heap.popMin().map { ($0.time, $0.event) }
    }
}
