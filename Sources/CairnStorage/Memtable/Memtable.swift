/// The newest writes, sorted in memory: filled by one writer at a time, read by anyone, frozen when full and then flushed.
protocol Memtable: AnyObject, Sendable {
    /// Adds an entry; the same key and version again replaces its value. Traps once frozen.
    func insert(_ kind: EntryKind, _ key: BorrowedBytes, _ value: BorrowedBytes, version: UInt64)

    /// Adds a range deletion.
    func insert(_ tombstone: RangeTombstone)

    /// The newest entry of `key` that is not newer than `version`, and the newest range deletion over it that is not
    /// newer either (0: none).
    func find(_ key: BorrowedBytes, at version: UInt64) -> (entry: FoundEntry?, deletedAt: UInt64)

    /// An iterator that stays usable while entries are added, and shows those that it has not passed yet.
    func makeIterator() -> InternalIterator

    var rangeTombstones: RangeTombstones { get }

    /// No more inserts: from here on nothing needs a lock.
    func freeze()

    /// Bytes of memory in use.
    var byteCount: Int { get }
    /// Bytes of memory taken from the system.
    var reservedBytes: Int { get }
    var entryCount: Int { get }
}

/// What a point lookup found.
struct FoundEntry {
    var version: UInt64
    /// nil is a deletion.
    var value: ArraySlice<UInt8>?
}
