/// A walk over entries in the order of the tree: keys ascending, versions of a key descending.
///
/// What an iterator shows (`key`, `version`, `kind`, `lentValue`) holds until it moves. One thread at a time.
class InternalIterator {
    final var isValid = false
    final var key: BorrowedBytes = .empty
    final var version: UInt64 = 0
    final var kind: EntryKind = .put
    /// The bytes of the value, empty for a deletion.
    final var lentValue: BorrowedBytes = .empty

    /// The bytes of the value: a slice of a cached block, or a copy of what a memtable holds.
    func value() -> ArraySlice<UInt8> { preconditionFailure("an iterator without values") }

    /// Shows what `other` shows.
    @inline(__always)
    final func show(_ other: InternalIterator) {
        key = other.key
        version = other.version
        kind = other.kind
        lentValue = other.lentValue
        isValid = other.isValid
    }

    func seekToFirst() throws(StorageError) {}
    func seekToLast() throws(StorageError) {}
    /// Goes to the first entry at or after `key` at `version`.
    func seek(to key: BorrowedBytes, _ version: UInt64) throws(StorageError) {}
    func next() throws(StorageError) {}
    func previous() throws(StorageError) {}

    /// Lets moves from now on read the disk, whatever mode the iterator was made with.
    func allowDisk() {}

    /// Goes to the last entry before `key` at `version`.
    final func seek(before key: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        try seek(to: key, version)
        if isValid { try previous() } else { try seekToLast() }
    }
}
