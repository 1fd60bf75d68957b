import CairnBSON

/// Which documents of a partition each document's window consists of.
///
/// - Invariant: from one index to the next neither end of the range goes back.
struct WindowFrame {
    private let bounds: WindowBounds
    private let partition: WindowPartition
    /// How far the ends of a range by value have come.
    private var low = 0
    private var high = 0

    /// - Throws: code 5429413 for a window by value over what is no number, 5429513 with a unit over what is no date.
    init(_ bounds: WindowBounds, over partition: WindowPartition) throws(QueryError) {
        self.bounds = bounds
        self.partition = partition
        guard case .range(let lower, let upper, let unit) = bounds else { return }
        if case .unbounded = lower, case .unbounded = upper { return }
        for index in 0..<partition.count {
            let value = partition.sortValue(index)
            if unit != nil {
                guard case .date = value else {
                    throw QueryError(
                        ErrorCode(5_429_513),
                        "Invalid range: Expected the sortBy field to be a Date, but it was \(value.type.alias)")
                }
            } else if !value.isNumber {
                throw QueryError(
                    ErrorCode(5_429_413),
                    "Invalid range: Expected the sortBy field to be a number, but it was \(value.type.alias)")
            }
        }
    }

    /// Whether every window begins with the partition.
    var startsAtFirst: Bool {
        switch bounds {
        case .documents(.unbounded, _), .range(.unbounded, _, _): true
        default: false
        }
    }

    /// Whether every window is the whole partition.
    var isWhole: Bool {
        switch bounds {
        case .documents(.unbounded, .unbounded), .range(.unbounded, .unbounded, _): true
        default: false
        }
    }

    /// The window of the document at `index`; called with ascending indexes.
    mutating func range(at index: Int) throws(QueryError) -> Range<Int> {
        let count = partition.count
        switch bounds {
        case .documents(let lower, let upper):
            let start = Self.place(lower, index, unbounded: 0)
            let end = Self.place(upper, index, unbounded: count - 1)
            let first = min(max(start, 0), count)
            return first..<max(first, min(end, count - 1) + 1)
        case .range(let lower, let upper, let unit):
            let current = partition.sortValue(index)
            if let least = try Self.limit(lower, current, unit) {
                while low < count, Value.compare(partition.sortValue(low), least) < 0 { low += 1 }
            }
            if let greatest = try Self.limit(upper, current, unit) {
                while high < count, Value.compare(partition.sortValue(high), greatest) <= 0 { high += 1 }
            } else {
                high = count
            }
            return low..<max(low, high)
        }
    }

    private static func place(_ bound: WindowBounds.Bound<Int>, _ index: Int, unbounded: Int) -> Int {
        switch bound {
        case .unbounded: unbounded
        case .current: index
        case .distance(let distance): index + distance
        }
    }

    /// The value at a bound; nil without one.
    private static func limit(
        _ bound: WindowBounds.Bound<Value>, _ current: Value, _ unit: DateUnit?
    ) throws(QueryError) -> Value? {
        switch bound {
        case .unbounded: return nil
        case .current: return current
        case .distance(let distance):
            guard let unit, case .date(let moment) = current else { return Numbers.sumOrDouble(current, distance) }
            return .date(milliseconds: try unit.adding(distance.int64Exactly ?? 0, to: moment, zone: .utc))
        }
    }
}
