import CairnFiles
import Synchronization

/// A table of the tree: what the manifest says about it, and the open file once someone has read from it.
///
/// Views and iterators share it. When a compaction has replaced it and the last of them lets go, its file is removed.
final class Table: Sendable {
    let description: TableDescription
    private let opened = Mutex<TableReader?>(nil)
    private let isObsolete = Atomic<Bool>(false)
    private let path: String
    private let fileSystem: any FileSystem
    private let cache: BlockCache
    private let janitor: FileJanitor

    init(
        _ description: TableDescription, directory: String, fileSystem: any FileSystem, cache: BlockCache,
        janitor: FileJanitor
    ) {
        self.description = description
        self.fileSystem = fileSystem
        self.cache = cache
        self.janitor = janitor
        path = FileName.table(description.number).path(in: directory)
    }

    deinit {
        if isObsolete.load(ordering: .acquiring) { janitor.remove([path]) }
    }

    var range: KeyRange { description.range }

    /// No manifest that could still count names it: its file goes with the last reader.
    func markObsolete() { isObsolete.store(true, ordering: .releasing) }

    /// The open table. Opening it reads the disk, which `mode` may forbid.
    func reader(_ mode: ReadMode = .any) throws(StorageError) -> TableReader {
        if let reader = opened.withLock({ $0 }) { return reader }
        if mode == .cacheOnly { throw StorageError(.wouldNeedDisk, "the table is not open", file: path) }
        // Two threads may open it at once; one of the readers is then dropped.
        let fresh = try TableReader(description, path: path, fileSystem: fileSystem, cache: cache)
        return opened.withLock { opened in
            if let opened { return opened }
            opened = fresh
            return fresh
        }
    }
}
