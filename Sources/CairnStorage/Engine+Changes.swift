import Synchronization

extension Engine {
    /// An iterator over what changed after `since`, among the keys from `lower` up to, not including, `upper`, as `version`
    /// sees it.
    ///
    /// For a copy that has the state at `since` and wants the one at `version`; what is shown, and what is not, is said at
    /// ``ChangeIterator``. The history since `since` has to be there: keep the horizon at it, or retain it.
    ///
    /// - Parameters:
    ///   - since: What was written at it or before is not shown. ``Version/zero`` shows everything.
    ///   - version: Not below `since`; nil is the latest.
    ///   - options: Whether blocks are kept in the cache, and whether the disk may be read.
    /// - Throws: ``StorageError`` with code `versionTooOld` if either version is below the history horizon and not retained,
    ///   `invalidArgument` if the versions are in the wrong order, `corruption`, `io`, `closed`, `wouldNeedDisk`.
    /// - Complexity: O(tables). A walk passes every entry, within the bounds, of the tables that have anything newer than
    ///   `since`, and skips the others whole.
    public func makeChangeIterator(
        since: Version, lower: ArraySlice<UInt8>? = nil, upper: ArraySlice<UInt8>? = nil, at version: Version? = nil,
        options: IteratorOptions = IteratorOptions()
    ) throws(StorageError) -> ChangeIterator {
        let view = try readView(version)
        try checkReadable(since, in: view)
        let at = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        guard since.rawValue <= at else {
            throw StorageError(.invalidArgument, "changes since version \(since.rawValue), up to \(at)")
        }
        let lower = lower.map { Array($0) }
        let upper = upper.map { Array($0) }
        let (children, tombstones) = try sources(in: view, lower, upper, options) { table in
            table.largestVersion > since.rawValue && table.smallestVersion <= at
        }
        return ChangeIterator(
            engine: self, view: view, children: children, tombstones: RangeTombstones(tombstones), lower: lower,
            upper: upper, since: since.rawValue, at: at)
    }
}
