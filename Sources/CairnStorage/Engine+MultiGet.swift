import Synchronization

extension Engine {
    /// The values of `keys` in their order, all as one version sees them; nil where a key has none.
    ///
    /// All keys are looked up in one view, so a batch that comes meanwhile is seen for all of them or for none. They are
    /// looked up in key order, and a block that holds several of them is fetched and decoded once, whatever the cache
    /// holds. A key may be named more than once. The values share the blocks.
    ///
    /// - Parameter version: nil is the latest state.
    /// - Throws: ``StorageError`` with code `versionTooOld`, `corruption` or `io`; then there is no answer for any key.
    /// - Complexity: O(n log n) comparisons to sort, then a lookup each, of which neighbours share blocks. Holds on to at
    ///   most one block of each table until it returns.
    public func multiGet(
        _ keys: [ArraySlice<UInt8>], at version: Version? = nil
    ) throws(StorageError) -> [ArraySlice<UInt8>?] {
        try lookUp(keys, version, missing: nil) { key, version, view, recent, tally throws(StorageError) in
            try Self.find(key, at: version, in: view, recent: recent, &tally)
        }
    }

    /// The values of `keys` as far as memory knows them, in their order, all as one version sees them: what a thread that
    /// must not wait for the disk may ask.
    ///
    /// Each answer is the one of ``multiGet(_:at:)-([ArraySlice<UInt8>],_)`` or "needs disk", never a wrong one. The keys
    /// that need the disk can be asked for by themselves afterwards, at the same version.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld` or `corruption`; then there is no answer for any key.
    /// - Complexity: as `multiGet`, without reads.
    public func multiGetCached(
        _ keys: [ArraySlice<UInt8>], at version: Version? = nil
    ) throws(StorageError) -> [CachedRead] {
        try lookUp(keys, version, missing: .needsDisk) { key, version, view, recent, tally throws(StorageError) in
            do throws(StorageError) {
                return .value(try Self.find(key, at: version, in: view, mode: .cacheOnly, recent: recent, &tally))
            } catch  where error.code == .wouldNeedDisk {
                return .needsDisk
            }
        }
    }

    /// Asks `find` for each key once, in key order, within one view.
    private func lookUp<Answer>(
        _ keys: [ArraySlice<UInt8>], _ version: Version?, missing: Answer,
        _ find: (BorrowedBytes, UInt64, ReadView, RecentBlocks, inout LookupTally) throws(StorageError) -> Answer
    ) throws(StorageError) -> [Answer] {
        let view = try readView(version)
        let version = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        let order = keys.indices.sorted { left, right in
            keys[left].withBorrowedBytes { left in keys[right].withBorrowedBytes { left.compare($0) < 0 } }
        }
        let recent = RecentBlocks()
        var answers = [Answer](repeating: missing, count: keys.count)
        var tally = LookupTally()
        defer { lookups.add(tally) }
        var previous: Int?
        for place in order {
            if let previous, keys[previous] == keys[place] {
                answers[place] = answers[previous]
            } else {
                answers[place] = try keys[place].withBorrowedBytes { key throws(StorageError) in
                    try find(key, version, view, recent, &tally)
                }
            }
            previous = place
        }
        return answers
    }

    /// The values of `keys`; see ``multiGet(_:at:)-([ArraySlice<UInt8>],_)``.
    public func multiGet(_ keys: [[UInt8]], at version: Version? = nil) throws(StorageError) -> [ArraySlice<UInt8>?] {
        try multiGet(keys.map { $0[...] }, at: version)
    }

    /// The values of `keys` as far as memory knows them; see ``multiGetCached(_:at:)-([ArraySlice<UInt8>],_)``.
    public func multiGetCached(_ keys: [[UInt8]], at version: Version? = nil) throws(StorageError) -> [CachedRead] {
        try multiGetCached(keys.map { $0[...] }, at: version)
    }
}

/// The block of each table that the last lookup in it ended in, for a caller whose keys ascend.
///
/// One thread at a time.
final class RecentBlocks {
    private var blocks: [UInt64: (offset: UInt64, block: ArraySlice<UInt8>)] = [:]

    /// - Parameter table: The table's number in the cache.
    func block(of table: UInt64, at offset: UInt64) -> ArraySlice<UInt8>? {
        guard let known = blocks[table], known.offset == offset else { return nil }
        return known.block
    }

    func remember(_ block: ArraySlice<UInt8>, of table: UInt64, at offset: UInt64) {
        blocks[table] = (offset, block)
    }
}
