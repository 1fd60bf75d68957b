import CairnFiles

/// Writes the entries of several sources to new tables, without what nobody can see any more: flush and compaction.
///
/// What is dropped:
/// - an entry that is superseded, by a newer one of its key or by a range deletion, if no reader can look from between;
/// - a deletion with nothing left below it to hide: no older entry of its key is kept here and no deeper level has the key;
/// - a range deletion that all readers see, where no deeper level has anything of its range.
struct TableMerge {
    let engine: Engine
    let retained: RetainedVersions
    /// The level that the tables go to, and the tables as they are; nil in a flush, which is never at the bottom.
    let bottom: (level: Int, set: TableSet)?
    let bytesMax: UInt64
    /// The highest mark in the sources.
    let mark: UInt64
    /// Asked now and then; the merge stops with an error when it says so.
    let isCancelled: () -> Bool

    /// - Returns: the new tables, in key order. On an error the files that were begun are left to the caller, whom
    ///   `began` told their numbers.
    func run(
        _ source: InternalIterator, tombstones all: RangeTombstones, began: (UInt64) -> Void
    ) throws(StorageError) -> [TableDescription] {
        var outputs: [TableDescription] = []
        var builder: TableBuilder?
        /// Where the current output begins: what lies before belongs to the ones before.
        var cutFrom: [UInt8]?
        let kept = keptTombstones(all)

        func makeBuilder() throws(StorageError) -> TableBuilder {
            let number = engine.makeFileNumber()
            began(number)
            return try mappingFileErrors { () throws(FileError) in
                try TableBuilder(
                    number: number, level: bottom?.level ?? 0, directory: engine.directory,
                    fileSystem: engine.fileSystem, options: engine.options)
            }
        }
        func finish(before cutTo: [UInt8]?) throws(StorageError) {
            let ranges = kept.clipped(from: cutFrom, to: cutTo)
            if builder == nil, !ranges.isEmpty { builder = try makeBuilder() }
            guard var finished = builder else { return }
            builder = nil
            cutFrom = cutTo
            outputs.append(
                try mappingFileErrors { () throws(FileError) in
                    try finished.finish(tombstones: ranges, mark: mark)
                })
        }
        func emit(
            _ key: BorrowedBytes, _ version: UInt64, _ kind: EntryKind, isSuperseded: Bool,
            _ value: BorrowedBytes
        ) throws(StorageError) {
            if builder == nil { builder = try makeBuilder() }
            do throws(FileError) {
                try builder!.add(key, version, kind, value, isSuperseded: isSuperseded)
            } catch { throw StorageError(error) }
        }

        let key = KeyBuffer()
        var hasKey = false
        /// When the entry that comes next was superseded by an entry of its key.
        var supersededAt: UInt64?
        /// Deletions of the current key that go unless something older follows.
        var pending: [(version: UInt64, isSuperseded: Bool)] = []
        var isBottom = false
        var steps = 0

        try source.seekToFirst()
        while source.isValid {
            steps &+= 1
            if steps & 0xFFF == 0, isCancelled() { throw StorageError(.closed, "the engine is closing") }
            let order = hasKey ? key.view.compare(source.key) : -1
            guard order <= 0 else {
                throw StorageError(.corruption, "entries of a table out of order", file: engine.directory)
            }
            if order < 0 {
                pending.removeAll(keepingCapacity: true)
                supersededAt = nil
                if let built = builder, built.byteCount >= bytesMax {
                    try finish(before: source.key.copied())
                }
                key.replace(keeping: 0, with: source.key)
                hasKey = true
                isBottom = bottom.map { !$0.set.hasKey(source.key, below: $0.level) } ?? false
            }
            let version = source.version
            let isRepeated = supersededAt == version
            var end = supersededAt
            if let deleted = all.oldest(over: source.key, after: version) { end = min(end ?? .max, deleted) }
            if !isRepeated, end.map({ retained.isNeeded(version, supersededAt: $0) }) ?? true {
                if source.kind == .delete, isBottom {
                    pending.append((version, end != nil))
                } else {
                    for deletion in pending {
                        try emit(key.view, deletion.version, .delete, isSuperseded: deletion.isSuperseded, .empty)
                    }
                    pending.removeAll(keepingCapacity: true)
                    try emit(key.view, version, source.kind, isSuperseded: end != nil, source.lentValue)
                }
            }
            supersededAt = version
            try source.next()
        }
        try finish(before: nil)
        return outputs
    }

    private func keptTombstones(_ all: RangeTombstones) -> RangeTombstones {
        guard let bottom else { return all }
        return all.removing { tombstone in
            retained.isSeenByAll(tombstone.version)
                && !bottom.set.overlaps(
                    KeyRange(smallest: tombstone.from, largest: tombstone.to, largestIsExclusive: true),
                    below: bottom.level)
        }
    }
}
