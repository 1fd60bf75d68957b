import CairnFiles
import Synchronization

extension Engine {
    /// Opens the engine in `directory`, making one if there is none and the options allow it.
    ///
    /// What the log holds beyond the tables is flushed before this returns, so that what is shown once stays.
    ///
    /// - Throws: ``StorageError``: `locked` while another engine has it open, `unsupportedFormat` and `corruption` with
    ///   nothing touched, `io`, `outOfSpace`, `failed`.
    public static func open(
        directory: String, fileSystem: any FileSystem, options: EngineOptions = EngineOptions(),
        background: any BackgroundExecutor
    ) throws(StorageError) -> Engine {
        let options = try options.validated()
        if !options.createIfMissing {
            let current = FileName.current.path(in: directory)
            guard try mappingFileErrors({ () throws(FileError) in try fileSystem.exists(current) }) else {
                throw StorageError(.notFound, "there is no engine", file: directory)
            }
        }
        try mappingFileErrors { () throws(FileError) in try fileSystem.createDirectory(directory) }
        let lock = try mappingFileErrors { () throws(FileError) in
            try fileSystem.lock(FileName.lock.path(in: directory))
        }
        do throws(StorageError) {
            return try open(directory, fileSystem, options, background, lock)
        } catch {
            lock.release()
            throw error
        }
    }

    private static func open(
        _ directory: String, _ fileSystem: any FileSystem, _ options: EngineOptions,
        _ background: any BackgroundExecutor,
        _ lock: any FileLock
    ) throws(StorageError) -> Engine {
        let names = try mappingFileErrors { () throws(FileError) in try fileSystem.list(directory) }
        let files = names.compactMap { FileName($0) }
        let read = try Manifest.read(in: directory, fileSystem: fileSystem)
        if read == nil {
            // CURRENT is the first file of an engine to become durable. Where data is without it, it was lost.
            let data = files.first { if case .table = $0 { true } else if case .wal = $0 { true } else { false } }
            if let data {
                throw StorageError(.corruption, "CURRENT is missing beside \(data.name)", file: directory)
            }
        }
        let state = read?.state ?? ManifestState()
        let present = Set(files)
        for description in state.levels.flatMap({ $0 }) {
            let file = FileName.table(description.number)
            let path = file.path(in: directory)
            guard present.contains(file) else {
                throw StorageError(.corruption, "a table that the manifest names is missing", file: path)
            }
            let size = try mappingFileErrors { () throws(FileError) in try fileSystem.size(of: path) }
            guard size == description.byteCount else {
                throw StorageError(.corruption, "a table of \(description.byteCount) bytes has \(size)", file: path)
            }
        }
        var next = state.nextFileNumber
        var segments: [UInt64] = []
        for file in files {
            switch file {
            case .wal(let number):
                next = max(next, number + 1)
                if number >= state.logNumber { segments.append(number) }
            case .table(let number), .manifest(let number): next = max(next, number + 1)
            case .current, .lock: break
            }
        }
        let engine = Engine(
            directory, fileSystem, options, background, lock: lock, state: state, nextFileNumber: next)
        try engine.recover(segments.sorted(), after: state)
        engine.removeOrphans(names)
        engine.memory.open { [weak engine] in engine?.freezeForOthers() }
        engine.prepareSegment()
        engine.scheduleCompaction()
        return engine
    }

    /// Brings what the log has beyond the tables into tables, and starts a manifest of its own.
    private func recover(_ segments: [UInt64], after state: ManifestState) throws(StorageError) {
        var memtable = TreeMemtable()
        var mark = state.mark
        var version = state.version
        var sequence = state.flushedSequence
        let last = try WALRecovery(fileSystem: fileSystem, directory: directory)
            .replay(segments, after: state.flushedSequence) { record throws(StorageError) in
                if memtable.byteCount >= options.memtableBytesMax {
                    memtable.freeze()
                    try flush(
                        FrozenMemtable(
                            memtable: memtable, mark: mark, version: version, sequence: sequence, segments: []))
                    memtable = TreeMemtable()
                }
                Self.insert(record.batch, record.version, into: memtable)
                mark = record.mark
                version = record.version
                sequence = record.sequence
            }
        memtable.freeze()
        // Also when there is nothing to flush: the edit writes the log's segments off, and no number is used twice.
        try flush(
            FrozenMemtable(memtable: memtable, mark: mark, version: version, sequence: last, segments: segments))
        writer.withLock { writer in
            writer.mark = mark
            writer.version = version
            writer.log.restart(after: last)
        }
        lastVersionValue.store(version, ordering: .releasing)
        markValue.store(mark, ordering: .releasing)
        advanceDurableMark(to: mark)
    }

    /// Removes what an earlier life left behind: files that the manifest does not name.
    private func removeOrphans(_ names: [String]) {
        let (state, current) = manifest.withLock { ($0.state, $0.number) }
        let tables = Set(state.levels.flatMap { $0.map(\.number) })
        var orphans: [String] = []
        for name in names {
            switch FileName(name) {
            case .table(let number)? where !tables.contains(number): orphans.append(name)
            case .wal?: orphans.append(name)
            case .manifest(let number)? where number != current: orphans.append(name)
            case nil where name.hasSuffix(".new"): orphans.append(name)
            default: break
            }
        }
        let spares = Set(writer.withLock { $0.log.spares })
        for name in orphans where !spares.contains(directory + "/" + name) {
            try? fileSystem.remove(directory + "/" + name)
        }
    }

    /// Ends all use: background work is joined, the log synced, the lock given back. Iterators throw from now on.
    ///
    /// - Throws: ``StorageError`` if what was applied could not be made durable; closed it is all the same.
    public func close() throws(StorageError) {
        guard !isClosed else { return }
        var failure: StorageError?
        if options.wal == .disabled, !hasFailed.load(ordering: .acquiring) {
            do throws(StorageError) { try flush() } catch { failure = error }
        }
        guard !closedFlag.exchange(true, ordering: .acquiringAndReleasing) else { return }
        work.change { $0.isClosing = true }
        work.wait { $0.isFlushing || $0.isCompacting || $0.isPreparing ? nil : () }
        let files = writer.withLock { $0.log.syncPoint.files }
        if hasFailed.load(ordering: .acquiring) {
            if durableMark < mark { failure = self.failure.withLock { $0 } }
        } else {
            do throws(FileError) {
                for file in files { try file.synchronizeData() }
            } catch {
                failure = failure ?? StorageError(error)
            }
        }
        // What is kept to be used again is of no use to a closed engine.
        janitor.remove(writer.withLock { $0.log.close() })
        manifest.withLock { $0.close() }
        janitor.close()
        memory.close()
        lock.release()
        if let failure { throw failure }
    }
}
