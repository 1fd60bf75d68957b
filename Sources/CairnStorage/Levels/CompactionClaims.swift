/// The compactions that run beside each other in one engine, and what each has taken for itself.
///
/// Two may run at once if they share no table and do not write into the same keys of the same level. That is enough for
/// what a merge decides by the tree that it began with. A compaction takes every table of its output level that overlaps it,
/// so no other one brings keys of its range to a deeper level meanwhile, and what it took for the oldest of a key stays so.
/// Of level 0 all tables are taken at once, because the order between them is that of their versions.
struct CompactionClaims {
    struct Claim {
        let id: UInt64
        /// The inputs by their numbers: tables that came later are nobody's.
        let tables: Set<UInt64>
        /// Those of the inputs that leave their level.
        let leaving: Set<UInt64>
        let range: KeyRange
        let outputLevel: Int
        let takesLevel0: Bool
    }

    private var claims: [Claim] = []
    private var lastID: UInt64 = 0

    var isEmpty: Bool { claims.isEmpty }
    var count: Int { claims.count }
    var takesLevel0: Bool { claims.contains(where: \.takesLevel0) }

    /// Whether `compaction` may run beside all others.
    func allow(_ compaction: Compaction) -> Bool {
        let range = compaction.range
        let isOfLevel0 = compaction.takesLevel0
        return claims.allSatisfy { claim in
            !(isOfLevel0 && claim.takesLevel0)
                && !(claim.outputLevel == compaction.outputLevel && claim.range.overlaps(range))
                && !compaction.inputs.contains { claim.tables.contains($0.table.description.number) }
        }
    }

    /// Whether the table is on its way to another level, so that its own has to bear it no longer.
    func isLeaving(_ table: Table) -> Bool {
        claims.contains { $0.leaving.contains(table.description.number) }
    }

    /// Takes what `compaction` needs, until ``release(_:)``.
    mutating func take(_ compaction: Compaction) -> UInt64 {
        lastID += 1
        let leaving = compaction.inputs.lazy.filter { $0.level != compaction.outputLevel }
        claims.append(
            Claim(
                id: lastID, tables: Set(compaction.inputs.map(\.table.description.number)),
                leaving: Set(leaving.map(\.table.description.number)), range: compaction.range,
                outputLevel: compaction.outputLevel, takesLevel0: compaction.takesLevel0))
        return lastID
    }

    mutating func release(_ id: UInt64) {
        claims.removeAll { $0.id == id }
    }
}
