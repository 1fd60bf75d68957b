/// A range of keys that was deleted as a whole.
public struct DeletedRange: Hashable, Sendable {
    /// The first key of it.
    public let from: [UInt8]
    /// The key that it ends before.
    public let to: [UInt8]
    /// The newest deletion of the range that the iterator's version sees.
    public let version: Version
}

/// A walk over what changed after one version up to another: the keys that were written, in ascending order, each with its
/// newest entry, and the ranges that were deleted.
///
/// Whoever has the state at `since` gets the state at `version` by deleting ``deletedRanges`` and then doing to each shown
/// key what is shown. So:
/// - A key whose newest entry is hidden by a newer range deletion is not shown: the range says it.
/// - A put after a range deletion is shown, and not undone by the range.
/// - A deletion of a key that had no value at `since` may be shown or not, because compactions forget deletions with
///   nothing to hide. What a key had between the two versions is not shown either.
///
/// Tables with nothing newer than `since` are skipped whole; of the others every entry in the bounds is passed. It holds on
/// to the memtables and tables that it was made from, as ``EngineIterator`` does, and like it stands on nothing until it is
/// positioned, and cannot be used after an error or after ``Engine/close()``. One thread at a time.
public final class ChangeIterator {
    /// The ranges deleted after `since`, within the bounds: in key order, disjoint, each with its newest deletion.
    public let deletedRanges: [DeletedRange]

    /// Whether it stands on a key.
    public private(set) var isValid = false

    private let engine: Engine
    private let view: ReadView
    private let merged: MergingIterator
    private let tombstones: RangeTombstones
    private let lower: [UInt8]?
    private let upper: [UInt8]?
    private let since: UInt64
    private let at: UInt64
    /// The key whose newest entry was seen: its older ones are passed.
    private let savedKey = KeyBuffer()

    /// After so many entries of one key that are passed, a search is cheaper than another step.
    private static let stepsMax = 8

    init(
        engine: Engine, view: ReadView, children: [InternalIterator], tombstones: RangeTombstones, lower: [UInt8]?,
        upper: [UInt8]?, since: UInt64, at: UInt64
    ) {
        self.engine = engine
        self.view = view
        merged = MergingIterator(children)
        self.tombstones = tombstones
        self.lower = lower
        self.upper = upper
        self.since = since
        self.at = at
        deletedRanges = Self.ranges(tombstones.clipped(from: lower, to: upper), since: since, at: at)
    }

    /// Fragments that touch and were last deleted at the same version are one range again.
    private static func ranges(_ tombstones: RangeTombstones, since: UInt64, at: UInt64) -> [DeletedRange] {
        var result: [DeletedRange] = []
        for fragment in tombstones.fragments {
            guard let newest = fragment.versions.first(where: { $0 <= at }), newest > since else { continue }
            var from = fragment.from
            if let last = result.last, last.to == from, last.version.rawValue == newest {
                from = last.from
                result.removeLast()
            }
            result.append(DeletedRange(from: from, to: fragment.to, version: Version(newest)))
        }
        return result
    }

    // MARK: - The key it stands on

    /// The key.
    public var key: ArraySlice<UInt8> {
        precondition(isValid, "the iterator stands on nothing")
        return merged.key.copied()[...]
    }

    /// When it was written: above `since`, and not above the version of the iterator.
    public var version: Version {
        precondition(isValid, "the iterator stands on nothing")
        return Version(merged.version)
    }

    /// What was put, sharing the block that holds it; nil if the key was deleted.
    public var value: ArraySlice<UInt8>? {
        precondition(isValid, "the iterator stands on nothing")
        return merged.kind == .put ? merged.value() : nil
    }

    // MARK: - Moving

    /// Goes to the first changed key.
    ///
    /// - Throws: ``StorageError`` with code `corruption`, `io` or `closed`; `wouldNeedDisk` if the options forbid the disk.
    public func seekToFirst() throws(StorageError) {
        try begin()
        if let lower {
            try lower.withBorrowedBytes { key throws(StorageError) in try merged.seek(to: key, at) }
        } else {
            try merged.seekToFirst()
        }
        try findChange(passingSaved: false)
    }

    /// Goes to the first changed key that is `target` or after it: how a walk that was interrupted goes on.
    ///
    /// - Throws: as ``seekToFirst()``.
    public func seek(to target: ArraySlice<UInt8>) throws(StorageError) {
        if let lower, target.lexicographicallyPrecedes(lower) { return try seekToFirst() }
        try begin()
        try target.withBorrowedBytes { key throws(StorageError) in try merged.seek(to: key, at) }
        try findChange(passingSaved: false)
    }

    /// Goes to the next changed key.
    ///
    /// - Throws: as ``seekToFirst()``.
    public func next() throws(StorageError) {
        precondition(isValid, "the iterator stands on nothing")
        try begin()
        savedKey.replace(keeping: 0, with: merged.key)
        try merged.next()
        try findChange(passingSaved: true)
    }

    private func begin() throws(StorageError) {
        isValid = false
        guard !engine.isClosed else { throw StorageError(.closed, "the engine of this iterator was closed") }
    }

    /// Passes entries until one is its key's newest that the version sees, is newer than `since`, and is not deleted.
    private func findChange(passingSaved: Bool) throws(StorageError) {
        var isPassing = passingSaved
        var steps = 0
        while merged.isValid {
            if let upper, upper.withBorrowedBytes({ merged.key.compare($0) >= 0 }) { return }
            let isPassed = isPassing && merged.key.isEqual(to: savedKey.view)
            if isPassed || merged.version > at {
                steps += 1
                if steps <= Self.stepsMax {
                    try merged.next()
                } else {
                    // Behind all entries of a key that is done, or to the newest one that the version sees.
                    steps = 0
                    if !isPassed { savedKey.replace(keeping: 0, with: merged.key) }
                    try merged.seek(to: savedKey.view, isPassed ? 0 : at)
                    isPassing = isPassed
                }
                continue
            }
            if merged.version > since, tombstones.newest(over: merged.key, at: at) <= merged.version {
                isValid = true
                return
            }
            savedKey.replace(keeping: 0, with: merged.key)
            isPassing = true
            steps = 0
            try merged.next()
        }
    }
}
