import Synchronization

/// What one call's point lookups had to do; added to the engine's sums once, when the call is done.
struct LookupTally {
    /// Keys that were looked up.
    var lookups: UInt64 = 0
    /// Tables whose range has the key: each a question to a filter.
    var tables: UInt64 = 0
    /// Of those, the ones that the filter ruled out.
    var filtered: UInt64 = 0
    /// Those that the filter let pass and that had nothing of the key at the version.
    var falsePositives: UInt64 = 0
    /// Blocks that were not in the cache.
    var blockReads: UInt64 = 0
}

/// The sums of an engine's lookups. Relaxed atomics: no count orders anything.
///
/// What nearly every lookup changes is packed into one word, because an atomic addition costs as much as a filter's answer:
/// lookups in 16 bits, tables and filtered ones in 24 each. Whoever finds a field half full brings it to the sums.
struct LookupCounts: ~Copyable, Sendable {
    private let packed = Atomic<UInt64>(0)
    private let lookups = Atomic<UInt64>(0)
    private let tables = Atomic<UInt64>(0)
    private let filtered = Atomic<UInt64>(0)
    private let falsePositives = Atomic<UInt64>(0)
    private let blockReads = Atomic<UInt64>(0)

    private static let halfFull: UInt64 = 1 << 15 | 1 << 39 | 1 << 63
    /// More than this at once goes to the sums, so that threads that add meanwhile overflow no field.
    private static let packedMax: UInt64 = 1 << 10

    @inline(__always)
    func add(_ tally: LookupTally) {
        if tally.lookups < Self.packedMax, tally.tables < Self.packedMax {
            let added = tally.lookups | tally.tables << 16 | tally.filtered << 40
            let result = packed.wrappingAdd(added, ordering: .relaxed).newValue
            if result & Self.halfFull != 0 { addToSums(Self.unpacked(packed.exchange(0, ordering: .relaxed))) }
        } else {
            addToSums(tally)
        }
        if tally.falsePositives > 0 { falsePositives.wrappingAdd(tally.falsePositives, ordering: .relaxed) }
        if tally.blockReads > 0 { blockReads.wrappingAdd(tally.blockReads, ordering: .relaxed) }
    }

    private func addToSums(_ tally: LookupTally) {
        lookups.wrappingAdd(tally.lookups, ordering: .relaxed)
        tables.wrappingAdd(tally.tables, ordering: .relaxed)
        filtered.wrappingAdd(tally.filtered, ordering: .relaxed)
    }

    private static func unpacked(_ word: UInt64) -> LookupTally {
        LookupTally(lookups: word & 0xFFFF, tables: word >> 16 & 0xFF_FFFF, filtered: word >> 40)
    }

    /// What was added so far; beside threads that add it may miss their last few.
    var sums: LookupTally {
        let recent = Self.unpacked(packed.load(ordering: .relaxed))
        return LookupTally(
            lookups: lookups.load(ordering: .relaxed) + recent.lookups,
            tables: tables.load(ordering: .relaxed) + recent.tables,
            filtered: filtered.load(ordering: .relaxed) + recent.filtered,
            falsePositives: falsePositives.load(ordering: .relaxed),
            blockReads: blockReads.load(ordering: .relaxed))
    }
}
