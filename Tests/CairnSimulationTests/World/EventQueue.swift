/// What is to happen, by time; of one time in the order in which it was scheduled.
struct EventQueue {
    private var heap: [(time: UInt64, order: UInt64, work: () -> Void)] = []
    private var scheduled: UInt64 = 0

    mutating func schedule(at time: UInt64, _ work: @escaping () -> Void) {
        scheduled += 1
        heap.append((time, scheduled, work))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(child, parent) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    var nextTime: UInt64? { heap.first?.time }

    mutating func next() -> (time: UInt64, work: () -> Void)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var child = 2 * parent + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, precedes(child + 1, child) { child += 1 }
                guard precedes(child, parent) else { break }
                heap.swapAt(child, parent)
                parent = child
            }
        }
        return (first.time, first.work)
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        heap[left].time != heap[right].time
            ? heap[left].time < heap[right].time : heap[left].order < heap[right].order
    }
}
