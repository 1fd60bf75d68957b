/// Tables to merge, and the level that the result goes to.
struct Compaction {
    /// Each with its level, in the order newest to oldest.
    var inputs: [(level: Int, table: Table)]
    var outputLevel: Int
    /// The table needs no rewriting: nothing lies below it, so it moves by an edit alone.
    var isMove = false

    var takesLevel0: Bool { inputs.contains { $0.level == 0 } }

    var byteCount: UInt64 { inputs.reduce(0) { $0 + $1.table.description.byteCount } }

    var range: KeyRange {
        inputs.dropFirst().reduce(inputs[0].table.range) { $0.union($1.table.range) }
    }
}

/// Decides what to compact next: a pure function of the tables.
///
/// The level that is fullest in proportion gives: level 0 counts tables, because each one costs every read a look, and the
/// others count bytes. When none is full, what can be forgotten is looked for: deletions and superseded versions that the
/// horizon has passed. Tables that a running compaction has taken are left to it (``CompactionClaims``).
struct CompactionPicker {
    let options: EngineOptions

    func bytesMax(of level: Int) -> UInt64 {
        var result = UInt64(options.level1BytesMax)
        for _ in 1..<max(level, 1) { result = result &* UInt64(options.levelSizeRatio) }
        return result
    }

    /// How full the level is, apart from what is on its way down already; from 1 on it has to give.
    func score(of level: Int, in set: TableSet, beside running: CompactionClaims = CompactionClaims()) -> Double {
        let staying = set.levels[level].lazy.filter { !running.isLeaving($0) }
        return level == 0
            ? Double(staying.count) / Double(options.level0Trigger)
            : Double(staying.reduce(0) { $0 + $1.description.byteCount }) / Double(bytesMax(of: level))
    }

    /// The compaction that is most needed of those that may run beside the `running` ones.
    ///
    /// Where level 0 has to give and waits for tables that others hold, those that it waits for are not taken by a less full
    /// level: it would wait for ever.
    func pick(
        _ set: TableSet, retained: RetainedVersions, beside running: CompactionClaims = CompactionClaims()
    ) -> Compaction? {
        var running = running
        var due: [(level: Int, score: Double)] = []
        for level in 0..<(TableSet.levelCount - 1) {
            let score = score(of: level, in: set, beside: running)
            if score >= 1 { due.append((level, score)) }
        }
        // Of equally full ones the upper first.
        due.sort { ($1.score, $0.level) < ($0.score, $1.level) }
        for (level, _) in due {
            if level > 0 {
                if let compaction = cheapest(in: level, set, beside: running) { return compaction }
            } else if !running.takesLevel0 {
                let compaction = compactionOfLevel0(set)
                if running.allow(compaction) { return compaction }
                _ = running.take(compaction)
            }
        }
        return garbageCollection(set, retained, beside: running)
    }

    /// All of level 0 with what it overlaps in level 1.
    func compactionOfLevel0(_ set: TableSet) -> Compaction {
        let upper = set.levels[0]
        let range = upper.dropFirst().reduce(upper[0].range) { $0.union($1.range) }
        let lower = set.tables(in: 1, overlapping: range)
        let isMove = upper.count == 1 && lower.isEmpty && keepsCodec(from: 0) && !Self.isWorthRewriting(upper[0])
        return Compaction(
            inputs: upper.map { (0, $0) } + lower.map { (1, $0) }, outputLevel: 1, isMove: isMove)
    }

    func compaction(of table: Table, at level: Int, _ set: TableSet) -> Compaction {
        let lower = set.tables(in: level + 1, overlapping: table.range)
        return Compaction(
            inputs: [(level, table)] + lower.map { (level + 1, $0) }, outputLevel: level + 1,
            isMove: lower.isEmpty && keepsCodec(from: level) && !Self.isWorthRewriting(table))
    }

    /// Whether tables of the level below are compressed, or not, as those of `level` are. Otherwise what came in the order of
    /// its keys would move down as it is and never be compressed.
    private func keepsCodec(from level: Int) -> Bool {
        options.compression == .none || level + 1 != options.uncompressedLevels
    }

    private static func isWorthRewriting(_ table: Table) -> Bool {
        table.description.rangeTombstones > 0 || table.description.deletions * 4 > table.description.entries
    }

    /// The push that costs least for what it brings: of the table that overlaps least below, by its own size.
    private func cheapest(in level: Int, _ set: TableSet, beside running: CompactionClaims) -> Compaction? {
        func cost(_ table: Table) -> Double {
            let below = set.tables(in: level + 1, overlapping: table.range).reduce(0) { $0 + $1.description.byteCount }
            return Double(below) / Double(max(1, table.description.byteCount))
        }
        let costs = set.levels[level].map(cost)
        // Equal costs in key order, so that the choice repeats.
        for place in costs.indices.sorted(by: { (costs[$0], $0) < (costs[$1], $1) }) {
            let compaction = compaction(of: set.levels[level][place], at: level, set)
            if running.allow(compaction) { return compaction }
        }
        return nil
    }

    /// Something that gets smaller by being rewritten: range deletions, many deletions or old versions that nobody sees.
    private func garbageCollection(
        _ set: TableSet, _ retained: RetainedVersions, beside running: CompactionClaims
    ) -> Compaction? {
        for level in 0..<TableSet.levelCount {
            for table in set.levels[level] {
                let description = table.description
                guard retained.isSeenByAll(description.largestVersion) else { continue }
                let garbage = description.deletions + description.superseded
                guard description.rangeTombstones > 0 || garbage * 2 > description.entries else { continue }
                let compaction =
                    if level == 0 {
                        compactionOfLevel0(set)
                    } else if set.overlaps(table.range, below: level) {
                        compaction(of: table, at: level, set)
                    } else {
                        Compaction(inputs: [(level, table)], outputLevel: level)
                    }
                if running.allow(compaction) { return compaction }
            }
        }
        return nil
    }
}
