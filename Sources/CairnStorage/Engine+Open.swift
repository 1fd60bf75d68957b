import CairnFiles
import Synchronization

extension Engine {
    /// Opens the engine in `directory`, making one if there is none and the options allow it.
    ///
    /// - Throws: ``StorageError``: `locked` while another engine has it open, `unsupportedFormat` and `corruption` with
    ///   nothing touched, `io`, `outOfSpace`.
    public static func open(
        directory: String, fileSystem: any FileSystem, options: EngineOptions, background: any BackgroundExecutor
    ) throws(StorageError) -> Engine {
        let options = try options.validated()
        return try mappingNested {
            try fileSystem.createDirectory(directory)
            let lock = try fileSystem.lock(FileName.lock.path(in: directory))
            let names = try fileSystem.list(directory).compactMap { FileName($0) }
            let segments = names.compactMap { if case .wal(let number) = $0 { number } else { nil } }.sorted()
            return try Engine(
                directory, fileSystem, options, background, lock: lock, segments: segments)
        }
    }

    /// Runs `body`, which throws errors of the file system or of the engine.
    static func mappingNested<Result>(_ body: () throws -> Result) throws(StorageError) -> Result {
        do {
            return try body()
        } catch let error as FileError {
            throw StorageError(error)
        } catch let error as StorageError {
            throw error
        } catch {
            preconditionFailure("an error from nowhere: \(error)")
        }
    }

    /// Ends all use: background work is joined, the log synced, the lock given back. Iterators throw from now on.
    public func close() throws(StorageError) {
        guard !closedFlag.exchange(true, ordering: .acquiringAndReleasing) else { return }
        defer { lock.release() }
        let files = writer.withLock { writer in
            let files = writer.log.filesToSync
            return files
        }
        try mappingFileErrors { () throws(FileError) in for file in files { try file.synchronizeData() } }
        writer.withLock { $0.log.close() }
    }

    /// Makes everything applied so far durable in tables, on the calling thread.
    public func flush() throws(StorageError) {
        throw StorageError(.io, "tables are not built yet")
    }

    /// Freezes the memtable and flushes it in the background: ``onDurableMark(_:)`` tells when that is done.
    public func requestFlush() {}

    /// Compacts what lies in `from ..< to` down to the last level, on the calling thread.
    public func compactRange(from: ArraySlice<UInt8>? = nil, to: ArraySlice<UInt8>? = nil) throws(StorageError) {
        throw StorageError(.io, "tables are not built yet")
    }

    /// Makes a consistent copy in `target`, which must not exist, and returns its mark. The copy shares the tables by hard
    /// links and can be opened like any engine.
    public func checkpoint(into target: String) throws(StorageError) -> UInt64 {
        throw StorageError(.io, "tables are not built yet")
    }

    public var statistics: EngineStatistics {
        var result = EngineStatistics()
        result.memtableBytes = view.withLock { $0 }.active.byteCount
        return result
    }
}
