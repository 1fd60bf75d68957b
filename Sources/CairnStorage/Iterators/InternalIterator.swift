/// A walk over entries in the order of the tree: keys ascending, versions of a key descending.
///
/// What an iterator shows (`key`, `version`, `kind`, ``value()``) holds until it moves. One thread at a time.
class InternalIterator {
    final var isValid = false
    final var key: BorrowedBytes = .empty
    final var version: UInt64 = 0
    final var kind: EntryKind = .put

    /// The bytes of the value: a slice of a cached block, or a copy of what a memtable holds.
    func value() -> ArraySlice<UInt8> { preconditionFailure("an iterator without values") }

    /// Calls `body` with the bytes of the value, borrowed.
    func lendValue(_ body: (BorrowedBytes) -> Void) { value().withBorrowedBytes(body) }

    func seekToFirst() throws(StorageError) {}
    func seekToLast() throws(StorageError) {}
    /// Goes to the first entry at or after `key` at `version`.
    func seek(to key: BorrowedBytes, _ version: UInt64) throws(StorageError) {}
    func next() throws(StorageError) {}
    func previous() throws(StorageError) {}

    /// Goes to the last entry before `key` at `version`.
    final func seek(before key: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        try seek(to: key, version)
        if isValid { try previous() } else { try seekToLast() }
    }
}
