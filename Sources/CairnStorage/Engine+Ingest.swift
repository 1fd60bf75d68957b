import CairnFiles
import Synchronization

extension Engine {
    /// Makes tables that a ``SortedTableWriter`` has written part of the tree, all of them or, on an error or after a power
    /// cut, none.
    ///
    /// It counts as one batch at the tables' version: readers at older versions do not see it, newer ones do, and it comes
    /// after every batch that was applied before. Because what survives a crash is a prefix of the batches, and an ingested
    /// table is durable when this returns, everything applied so far is flushed first, whether it overlaps or not; writers
    /// wait for the last part of that, for one or two syncs. Then each table goes to the deepest level down to which nothing
    /// overlaps it, or to the front of level 0. Waits for a running flush or compaction. Blocks; not for event loops.
    ///
    /// The files are linked into the engine's directory, so both must be on one device.
    ///
    /// - Parameters:
    ///   - tables: At one version, above ``lastVersion`` at the time of the call, and disjoint, range deletions included.
    ///     None is a mistake. Where other threads write by ``write(_:durability:)`` meanwhile, reserve a version well above
    ///     theirs: versions may leap, and theirs go on from it.
    ///   - mark: The owner's position, not below ``Engine/mark``; nil is the mark after the last one.
    ///   - moving: Take the caller's names away in the end. Otherwise the files have two names, and stay the caller's to
    ///     remove.
    /// - Throws: ``StorageError`` with code `invalidArgument` if the tables break these rules or a file is not there;
    ///   `corruption` if a file is not the table that was written; `io`, `outOfSpace`, `closed`. The tree is then as it was,
    ///   and no file is left in the engine's directory. Only with code `failed` is the outcome unknown.
    /// - Complexity: O(tables) beside the flush; the entries are neither read nor written.
    public func ingest(_ tables: [SortedTable], mark: UInt64? = nil, moving: Bool = false) throws(StorageError) {
        try checkWritable()
        let tables = tables.sorted {
            isOrderedBefore($0.description.range.smallest, $1.description.range.smallest)
        }
        let version = try checkRules(of: tables)
        try checkOrder(version, mark, after: lastVersion.rawValue, self.mark)
        var numbers: [UInt64] = []
        /// Segments of the log that tables have replaced.
        var removable: [String] = []
        var failure: StorageError?
        do throws(StorageError) {
            let descriptions = try link(tables, &numbers)
            // Flushes and compactions decide by the tables that they began with.
            try alone(stopsFlushes: true) { () throws(StorageError) in
                // Most of it while writers go on, the rest while they wait.
                writer.withLock { freeze(&$0) }
                while let oldest = view.withLock({ $0.frozen.last }) { try flush(oldest) }
                try locked { writer throws(StorageError) in
                    try flushRest(&writer, &removable)
                    try checkOrder(version, mark, after: writer.version, writer.mark)
                    try place(descriptions, at: version, mark ?? writer.mark + 1, &writer)
                }
            }
        } catch {
            failure = error
        }
        janitor.remove(removable)
        advanceDurableMark(to: flushedMark.load(ordering: .acquiring))
        if let failure {
            unlink(numbers)
            if failure.code == .failed { fail(failure) }
            scheduleFlush()
            throw failure
        }
        if moving { for table in tables { try? fileSystem.remove(table.path) } }
        scheduleCompaction()
    }

    /// Makes one table part of the tree; see ``ingest(_:mark:moving:)-([SortedTable],_,_)``.
    public func ingest(_ table: SortedTable, mark: UInt64? = nil, moving: Bool = false) throws(StorageError) {
        try ingest([table], mark: mark, moving: moving)
    }

    // MARK: - Rules

    private func checkRules(of tables: [SortedTable]) throws(StorageError) -> UInt64 {
        guard let first = tables.first else { throw StorageError(.invalidArgument, "no table to ingest") }
        for (left, right) in zip(tables, tables.dropFirst()) {
            guard left.version == right.version else {
                throw StorageError(
                    .invalidArgument, "tables at versions \(left.version) and \(right.version)", file: right.path)
            }
            guard left.description.range.isBefore(right.description.range) else {
                throw StorageError(.invalidArgument, "it overlaps \(left.path)", file: right.path)
            }
        }
        return first.version.rawValue
    }

    private func checkOrder(
        _ version: UInt64, _ mark: UInt64?, after lastVersion: UInt64, _ lastMark: UInt64
    ) throws(StorageError) {
        guard version > lastVersion, mark ?? .max >= lastMark else {
            let position = mark.map { " and mark \($0)" } ?? ""
            throw StorageError(
                .invalidArgument, "a table at version \(version)\(position) after \(lastVersion) and \(lastMark)")
        }
    }

    // MARK: - Files

    /// Gives the files names in the directory, for good, and looks whether they are what their writers say.
    ///
    /// - Parameter numbers: What ``unlink(_:)`` has to be given on an error.
    private func link(
        _ tables: [SortedTable], _ numbers: inout [UInt64]
    ) throws(StorageError) -> [TableDescription] {
        var descriptions: [TableDescription] = []
        for table in tables {
            guard try mappingFileErrors({ () throws(FileError) in try fileSystem.exists(table.path) }) else {
                throw StorageError(.invalidArgument, "the table is not there", file: table.path)
            }
            var description = table.description
            description.number = makeFileNumber()
            let path = FileName.table(description.number).path(in: directory)
            numbers.append(description.number)
            try mappingFileErrors { () throws(FileError) in try fileSystem.link(table.path, to: path) }
            let size = try mappingFileErrors { () throws(FileError) in try fileSystem.size(of: path) }
            guard size == description.byteCount else {
                throw StorageError(
                    .corruption, "a table of \(description.byteCount) bytes has \(size)", file: table.path)
            }
            _ = try TableReader(description, path: path, fileSystem: fileSystem, cache: cache)
            descriptions.append(description)
        }
        try mappingFileErrors { () throws(FileError) in try fileSystem.synchronizeDirectory(directory) }
        return descriptions
    }

    /// Takes the names away again, unless an edit of unknown outcome may name them. What cannot be removed now is removed
    /// by the next opening.
    private func unlink(_ numbers: [UInt64]) {
        let undecided = manifest.withLock { $0.undecidedFiles }
        for path in numbers.map({ FileName.table($0).path(in: directory) }) where !undecided.contains(path) {
            try? fileSystem.remove(path)
        }
    }

    // MARK: - The tree

    /// Flushes what writers have brought since the last flush, and leaves an empty memtable.
    private func flushRest(_ writer: inout WriterState, _ removable: inout [String]) throws(StorageError) {
        freeze(&writer)
        while let oldest = view.withLock({ $0.frozen.last }) {
            try writeTables(of: oldest)
            removable += settle(oldest, &writer)
        }
    }

    /// The edit that makes the tables part of the tree, and the writer's next position.
    private func place(
        _ descriptions: [TableDescription], at version: UInt64, _ mark: UInt64, _ writer: inout WriterState
    ) throws(StorageError) {
        let set = view.withLock { $0.tables }
        let added = descriptions.map { description in
            var description = description
            description.mark = mark
            return (level: Self.ingestLevel(of: description.range, in: set), description: description)
        }
        var edit = ManifestEdit()
        edit.mark = mark
        edit.version = version
        try install(edit, added: added, removed: [])
        writer.mark = mark
        writer.version = version
        lastVersionValue.store(version, ordering: .releasing)
        markValue.store(mark, ordering: .releasing)
        flushedMark.store(mark, ordering: .releasing)
    }

    /// The deepest level such that neither it nor one above has anything of `range`; 0 if there is none.
    ///
    /// What an ingested table overlaps is older, so it must lie below it, or behind it in level 0.
    static func ingestLevel(of range: KeyRange, in set: TableSet) -> Int {
        let first = set.levels.firstIndex { level in level.contains { $0.range.overlaps(range) } }
        return max(0, (first ?? TableSet.levelCount) - 1)
    }
}
