import CairnFiles

/// Writes a table outside the tree, for ``Engine/ingest(_:mark:moving:)-([SortedTable],_,_)``: how data that is sorted
/// already comes in without the log, the memtable and the compactions.
///
/// Every entry bears the one version that the writer is given. Entries carry their version inside the blocks, so it has to
/// be known beforehand: the caller reserves a version above all that the engine will have when the table is ingested, and
/// ingesting checks it. The entries of a table win over its range deletions, in whatever order they were added: a range
/// deletion takes away what is older, so "replace all of this range" is one ``deleteRange(from:to:)`` and the new entries.
///
/// The file is synced by ``finish()``, its name is not; the caller owns it. A writer that failed, or is dropped before
/// ``finish()``, removes its file. One thread at a time.
///
/// - Complexity: O(bytes). Memory: one block, half a MiB of output, and 8 bytes a key for the filter.
public final class SortedTableWriter {
    /// Where the table is written.
    public let path: String
    /// The version of all that is in it.
    public let version: Version

    private let fileSystem: any FileSystem
    /// nil once finished or failed.
    private var builder: TableBuilder?
    private var lastKey: [UInt8]?
    private var ranges: [RangeTombstone] = []

    /// Makes the file at `path`, which must not exist, on the device of the engine that will take it.
    ///
    /// - Parameters:
    ///   - version: Of every entry and range deletion; above zero.
    ///   - options: Those of the engine: block size, compression and filter are taken from them.
    /// - Throws: ``StorageError`` with code `invalidArgument`, `io` (also where the name is taken) or `outOfSpace`.
    public init(
        path: String, version: Version, fileSystem: any FileSystem, options: EngineOptions = EngineOptions()
    ) throws(StorageError) {
        let options = try options.validated()
        guard version > .zero else { throw StorageError(.invalidArgument, "no entry is at version 0", file: path) }
        self.path = path
        self.version = version
        self.fileSystem = fileSystem
        builder = try mappingFileErrors { () throws(FileError) in
            // It goes as deep as it can, so it is written like the tables there.
            try TableBuilder(
                number: 0, level: TableSet.levelCount - 1, directory: "", path: path, fileSystem: fileSystem,
                options: options)
        }
    }

    deinit { abandon() }

    /// Sets `key` to `value`.
    ///
    /// - Throws: ``StorageError`` with code `invalidArgument`, and no effect, if the key is not after the one before or
    ///   something is too long (``WriteBatch/keyBytesMax``, ``WriteBatch/valueBytesMax``); `io`, `outOfSpace` or `failed`,
    ///   after which the file is gone.
    public func put(_ key: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) throws(StorageError) {
        try add(.put, key, value)
    }

    /// Sets `key` to `value`; see ``put(_:_:)-(ArraySlice<UInt8>,_)``.
    public func put(_ key: [UInt8], _ value: [UInt8]) throws(StorageError) { try add(.put, key[...], value[...]) }

    /// Deletes `key`, whether it exists or not.
    ///
    /// - Throws: as ``put(_:_:)-(ArraySlice<UInt8>,_)``.
    public func delete(_ key: ArraySlice<UInt8>) throws(StorageError) { try add(.delete, key, []) }

    /// Deletes `key`; see ``delete(_:)-(ArraySlice<UInt8>)``.
    public func delete(_ key: [UInt8]) throws(StorageError) { try add(.delete, key[...], []) }

    /// Deletes what is in the tree from `from` up to, not including, `to`, and leaves the table's own entries. An empty
    /// range adds nothing. Ranges may come in any order and overlap.
    ///
    /// - Throws: ``StorageError`` with code `invalidArgument` if a key is too long.
    public func deleteRange(from: ArraySlice<UInt8>, to: ArraySlice<UInt8>) throws(StorageError) {
        try checkOpen()
        guard max(from.count, to.count) <= WriteBatch.keyBytesMax else {
            throw StorageError(.invalidArgument, "a key of \(max(from.count, to.count)) bytes is too long", file: path)
        }
        guard from.lexicographicallyPrecedes(to) else { return }
        ranges.append(RangeTombstone(from: Array(from), to: Array(to), version: version.rawValue))
    }

    private func add(
        _ kind: EntryKind, _ key: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>
    ) throws(StorageError) {
        try checkOpen()
        guard key.count <= WriteBatch.keyBytesMax, value.count <= WriteBatch.valueBytesMax else {
            throw StorageError(
                .invalidArgument, "a key of \(key.count) or a value of \(value.count) bytes is too long", file: path)
        }
        if let lastKey, !lastKey.lexicographicallyPrecedes(key) {
            throw StorageError(.invalidArgument, "a key that does not come after the one before", file: path)
        }
        do throws(FileError) {
            try key.withBorrowedBytes { key throws(FileError) in
                try value.withBorrowedBytes { value throws(FileError) in
                    try builder!.add(key, version.rawValue, kind, value, isSuperseded: false)
                }
            }
        } catch {
            abandon()
            throw StorageError(error)
        }
        lastKey = Array(key)
    }

    /// Writes the rest, syncs the file, and returns the table. The writer takes no more.
    ///
    /// - Throws: ``StorageError`` with code `invalidArgument` if nothing was added, `io`, `outOfSpace` or `failed`; the file
    ///   is then gone.
    public func finish() throws(StorageError) -> SortedTable {
        try checkOpen()
        guard lastKey != nil || !ranges.isEmpty else {
            abandon()
            throw StorageError(.invalidArgument, "a table of nothing", file: path)
        }
        do throws(FileError) {
            let description = try builder!.finish(tombstones: RangeTombstones(ranges), mark: 0)
            builder = nil
            return SortedTable(path: path, version: version, description: description)
        } catch {
            abandon()
            throw StorageError(error)
        }
    }

    private func checkOpen() throws(StorageError) {
        guard builder != nil else { throw StorageError(.closed, "the writer of this table is done", file: path) }
    }

    private func abandon() {
        guard builder != nil else { return }
        builder = nil
        try? fileSystem.remove(path)
    }
}

/// A finished table outside the tree. Its file belongs to the caller, who must not change it.
public struct SortedTable: Sendable {
    /// Where its file is.
    public let path: String
    /// The version of all that is in it.
    public let version: Version
    let description: TableDescription

    /// The size of the file.
    public var byteCount: UInt64 { description.byteCount }

    /// Puts and deletions of single keys.
    public var entryCount: UInt64 { description.entries }
}
