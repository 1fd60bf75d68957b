/// Tables to merge, and the level that the result goes to.
struct Compaction {
    /// Each with its level, in the order newest to oldest.
    var inputs: [(level: Int, table: Table)]
    var outputLevel: Int
    /// The table needs no rewriting: nothing lies below it, so it moves by an edit alone.
    var isMove = false

    var byteCount: UInt64 { inputs.reduce(0) { $0 + $1.table.description.byteCount } }

    var range: KeyRange {
        inputs.dropFirst().reduce(inputs[0].table.range) { $0.union($1.table.range) }
    }
}

/// Decides what to compact next: a pure function of the tables.
///
/// The level that is fullest in proportion gives: level 0 counts tables, because each one costs every read a look, and the
/// others count bytes. When none is full, what can be forgotten is looked for: deletions and superseded versions that the
/// horizon has passed.
struct CompactionPicker {
    let options: EngineOptions

    func bytesMax(of level: Int) -> UInt64 {
        var result = UInt64(options.level1BytesMax)
        for _ in 1..<max(level, 1) { result = result &* UInt64(options.levelSizeRatio) }
        return result
    }

    func score(of level: Int, in set: TableSet) -> Double {
        level == 0
            ? Double(set.levels[0].count) / Double(options.level0Trigger)
            : Double(set.byteCount(of: level)) / Double(bytesMax(of: level))
    }

    func pick(_ set: TableSet, retained: RetainedVersions) -> Compaction? {
        var best = (level: -1, score: 1.0)
        for level in 0..<(TableSet.levelCount - 1) {
            let score = score(of: level, in: set)
            if score >= best.score, best.level < 0 || score > best.score { best = (level, score) }
        }
        if best.level == 0 { return compactionOfLevel0(set) }
        if best.level > 0 { return compaction(of: cheapest(in: best.level, set), at: best.level, set) }
        return garbageCollection(set, retained)
    }

    /// All of level 0 with what it overlaps in level 1.
    func compactionOfLevel0(_ set: TableSet) -> Compaction {
        let upper = set.levels[0]
        let range = upper.dropFirst().reduce(upper[0].range) { $0.union($1.range) }
        let lower = set.tables(in: 1, overlapping: range)
        let isMove = upper.count == 1 && lower.isEmpty && !Self.isWorthRewriting(upper[0])
        return Compaction(
            inputs: upper.map { (0, $0) } + lower.map { (1, $0) }, outputLevel: 1, isMove: isMove)
    }

    func compaction(of table: Table, at level: Int, _ set: TableSet) -> Compaction {
        let lower = set.tables(in: level + 1, overlapping: table.range)
        return Compaction(
            inputs: [(level, table)] + lower.map { (level + 1, $0) }, outputLevel: level + 1,
            isMove: lower.isEmpty && !Self.isWorthRewriting(table))
    }

    private static func isWorthRewriting(_ table: Table) -> Bool {
        table.description.rangeTombstones > 0 || table.description.deletions * 4 > table.description.entries
    }

    /// The table whose push costs least for what it brings: the one that overlaps least below, by its own size.
    private func cheapest(in level: Int, _ set: TableSet) -> Table {
        func cost(_ table: Table) -> Double {
            let below = set.tables(in: level + 1, overlapping: table.range).reduce(0) { $0 + $1.description.byteCount }
            return Double(below) / Double(max(1, table.description.byteCount))
        }
        return set.levels[level].map { (table: $0, cost: cost($0)) }.min { $0.cost < $1.cost }!.table
    }

    /// Something that gets smaller by being rewritten: range deletions, many deletions or old versions that nobody sees.
    private func garbageCollection(_ set: TableSet, _ retained: RetainedVersions) -> Compaction? {
        for level in 0..<TableSet.levelCount {
            for table in set.levels[level] {
                let description = table.description
                guard retained.isSeenByAll(description.largestVersion) else { continue }
                let garbage = description.deletions + description.superseded
                guard description.rangeTombstones > 0 || garbage * 2 > description.entries else { continue }
                if level == 0 { return compactionOfLevel0(set) }
                if set.overlaps(table.range, below: level) {
                    return compaction(of: table, at: level, set)
                }
                return Compaction(inputs: [(level, table)], outputLevel: level)
            }
        }
        return nil
    }
}
