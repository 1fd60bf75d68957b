import CairnBSON

/// The operands of `$in`: values by hash once there are many, and patterns.
struct InSet: Sendable {
    /// In the order of the query, duplicates removed.
    let values: [Value]
    let patterns: [RegexProgram]
    let hasNull: Bool
    /// For each hash, modulo the count of slots or next to it, the place of a value; -1 where there is none. At least half are
    /// free. There may be a million values, so a set of them, which has room for twice as many, would take too much memory.
    private let slots: [Int32]

    /// Values that are looked at one by one.
    private static let fewMax = 8

    init(values given: [Value], patterns: [RegexProgram]) {
        var values: [Value] = []
        values.reserveCapacity(given.count)
        var slots: [Int32] = []
        if given.count > Self.fewMax {
            var count = 32
            while count < given.count * 2 { count *= 2 }
            slots = Array(repeating: -1, count: count)
        }
        for value in given {
            if slots.isEmpty {
                if !values.contains(value) { values.append(value) }
                continue
            }
            let slot = Self.slot(of: value, in: slots, values)
            guard slots[slot] < 0 else { continue }
            slots[slot] = Int32(values.count)
            values.append(value)
        }
        self.values = values
        self.slots = slots
        self.patterns = patterns
        hasNull = values.contains { $0.isNullish }
    }

    func contains(_ value: Value?) throws(QueryError) -> Bool {
        guard let value else { return hasNull }
        if hasNull && value.isNullish { return true }
        if slots.isEmpty {
            for candidate in values where candidate == value { return true }
        } else if slots[Self.slot(of: value, in: slots, values)] >= 0 {
            return true
        }
        for pattern in patterns where try Predicate.regex(pattern).matches(value) { return true }
        return false
    }

    /// Where the value is, or the free slot where it would be.
    private static func slot(of value: Value, in slots: [Int32], _ values: [Value]) -> Int {
        var slot = value.hashValue & (slots.count - 1)
        while slots[slot] >= 0, values[Int(slots[slot])] != value { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }
}
