/// The tables of the tree at one moment; never changed, only replaced.
///
/// - Invariant: level 0 stands newest first and may overlap; every other level is sorted by key and disjoint.
/// - Invariant: of one key, a lower-numbered level, and in level 0 an earlier table, has the newer versions.
final class TableSet: Sendable {
    static let levelCount = 7

    let levels: [[Table]]
    /// The highest horizon that a merge went by: below it only retained versions are whole.
    let horizon: UInt64

    init(levels: [[Table]], horizon: UInt64) {
        self.levels = levels
        self.horizon = horizon
    }

    static let empty = TableSet(levels: Array(repeating: [], count: levelCount), horizon: 0)

    var all: [Table] { levels.flatMap { $0 } }

    /// The set after an edit. Tables that the edit adds are in `added`.
    func applying(removed: Set<UInt64>, added: [(level: Int, table: Table)], horizon: UInt64) -> TableSet {
        var levels = levels
        for level in levels.indices where levels[level].contains(where: { removed.contains($0.description.number) }) {
            levels[level].removeAll { removed.contains($0.description.number) }
        }
        for (level, table) in added {
            if level == 0 { levels[0].insert(table, at: 0) } else { levels[level].append(table) }
        }
        for level in Set(added.map(\.level)) where level > 0 {
            levels[level].sort { isOrderedBefore($0.range.smallest, $1.range.smallest) }
        }
        let result = TableSet(levels: levels, horizon: max(self.horizon, horizon))
        result.checkInvariants()
        return result
    }

    /// Traps unless the tables of each level below the first are sorted and disjoint, which point reads rely on. O(tables).
    func checkInvariants() {
        for (number, level) in levels.enumerated().dropFirst() {
            for (left, right) in zip(level, level.dropFirst()) {
                precondition(
                    left.range.isBefore(right.range),
                    "level \(number): \(left.description.range) is not before \(right.description.range)")
            }
        }
    }

    /// The table of a sorted level that may hold `key`.
    @inline(__always)
    static func table(over key: BorrowedBytes, in level: [Table]) -> Table? {
        let place = firstTable(notBefore: key, in: level)
        guard place < level.count, !level[place].range.isAfter(key) else { return nil }
        return level[place]
    }

    /// The first table of a sorted level that does not lie before `key` as a whole.
    static func firstTable(notBefore key: BorrowedBytes, in level: [Table]) -> Int {
        var low = 0
        var high = level.count
        while low < high {
            let middle = (low &+ high) >> 1
            if level[middle].range.isBefore(key) { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// The tables of `level` that have anything of `range`.
    func tables(in level: Int, overlapping range: KeyRange) -> [Table] {
        let tables = levels[level]
        if level == 0 { return tables.filter { $0.range.overlaps(range) } }
        let first = range.smallest.withBorrowedBytes { Self.firstTable(notBefore: $0, in: tables) }
        return Array(tables[first...].prefix { !range.isBefore($0.range) })
    }

    /// Whether a level below `level` may hold `key`.
    func hasKey(_ key: BorrowedBytes, below level: Int) -> Bool {
        for lower in levels.dropFirst(level + 1) where Self.table(over: key, in: lower) != nil { return true }
        return false
    }

    func overlaps(_ range: KeyRange, below level: Int) -> Bool {
        levels.dropFirst(level + 1).contains { $0.contains { $0.range.overlaps(range) } }
    }

    func byteCount(of level: Int) -> UInt64 { levels[level].reduce(0) { $0 + $1.description.byteCount } }

    /// The last level that has a table, at least 1.
    var deepestLevel: Int { max(1, levels.lastIndex { !$0.isEmpty } ?? 1) }
}
