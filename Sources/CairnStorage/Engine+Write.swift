import CairnFiles
import Synchronization

extension Engine {
    /// Applies `batch` at `version`, whole or not at all.
    ///
    /// One write call to the log, then the memtable; with `.buffered` no sync and no waiting, so an event loop may call it.
    /// A batch without operations is fine: it moves the mark.
    ///
    /// - Parameters:
    ///   - version: Not below ``lastVersion``, and above it for a batch with range deletions. A second batch at the same
    ///     version replaces what the first one wrote, also for readers who look already.
    ///   - mark: The owner's position (an applied index); not below ``mark``.
    /// - Throws: ``StorageError``; the batch then was not applied and will not appear after a restart. Only with `.synced`
    ///   and code `failed` is the outcome unknown.
    public func apply(
        _ batch: WriteBatch, at version: Version, mark: UInt64, durability: Durability = .buffered
    ) throws(StorageError) {
        try checkWritable()
        let sequence = try locked { writer throws(StorageError) in
            try apply(batch, version, mark, &writer)
            return writer.log.sequence
        }
        memory.relieve()
        retryBackgroundWork()
        if durability == .synced {
            try synchronizeLog(through: sequence)
            // The batch is on the disk, so what keeps room from being made is no failure of this call: the pressure and
            // the statistics show it, and a failed sync the next call.
            try? waitForRoom()
        }
    }

    /// Applies `batch` at the version and mark after the last ones, for programs that have no clock of their own.
    ///
    /// Unlike ``apply(_:at:mark:durability:)`` it holds the caller back while flushes and compactions are behind: a little
    /// at first, and until there is room once memory or level 0 is full.
    ///
    /// - Returns: the version of the batch.
    /// - Throws: as ``apply(_:at:mark:durability:)``.
    @discardableResult
    public func write(_ batch: WriteBatch, durability: Durability = .buffered) throws(StorageError) -> Version {
        try checkWritable()
        try holdBack(batch.byteCount)
        let (version, sequence) = try locked { writer throws(StorageError) in
            let version = Version(writer.version + 1)
            try apply(batch, version, writer.mark + 1, &writer)
            return (version, writer.log.sequence)
        }
        memory.relieve()
        retryBackgroundWork()
        if durability == .synced { try synchronizeLog(through: sequence) }
        return version
    }

    private func apply(
        _ batch: WriteBatch, _ version: Version, _ mark: UInt64, _ writer: inout WriterState
    ) throws(StorageError) {
        guard version.rawValue >= writer.version, version > .zero, mark >= writer.mark else {
            throw StorageError(
                .invalidArgument,
                "batch at version \(version.rawValue) and mark \(mark) after \(writer.version) and \(writer.mark)")
        }
        guard batch.rangeDeletions == 0 || version.rawValue > writer.version else {
            throw StorageError(
                .invalidArgument, "a range deletion needs a version of its own, above \(writer.version)")
        }
        if options.wal == .enabled {
            try append(batch, version, mark, &writer)
        }
        Self.insert(batch, version.rawValue, into: writer.active)
        writer.mark = mark
        writer.version = version.rawValue
        writer.userBytes += UInt64(batch.byteCount)
        lastVersionValue.store(version.rawValue, ordering: .releasing)
        markValue.store(mark, ordering: .releasing)
        let bytes = writer.active.byteCount
        memory.setActive(bytes)
        if bytes >= options.memtableBytesMax { freezeIfRoom(&writer) }
    }

    /// Runs `body` as the only writer.
    func locked<Result>(
        _ body: (inout WriterState) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        var result: Swift.Result<Result, StorageError>?
        writer.withLock { writer in
            do throws(StorageError) { result = .success(try body(&writer)) } catch { result = .failure(error) }
        }
        return try result!.get()
    }

    private func append(
        _ batch: WriteBatch, _ version: Version, _ mark: UInt64, _ writer: inout WriterState
    ) throws(StorageError) {
        do throws(FileError) {
            if writer.log.needsSegment {
                try writer.log.beginSegment { makeFileNumber() }
                writer.activeSegments.append(writer.log.segmentNumber)
            }
            try writer.log.append(batch.encodedSlice, version: version.rawValue, mark: mark)
        } catch {
            let failure = StorageError(error)
            if failure.code == .failed { fail(failure) }
            throw failure
        }
    }

    /// Makes the log's next segment ahead of its use, because that syncs and writers should not wait for it.
    func prepareSegment() {
        guard options.wal == .enabled, !hasFailed.load(ordering: .acquiring) else { return }
        let mayRun = work.withLock { work in
            guard !work.isClosing, !work.isPreparing else { return false }
            work.isPreparing = true
            return true
        }
        guard mayRun else { return }
        defer { work.change { $0.isPreparing = false } }
        // The number is drawn with the lock held, so that no later segment gets a lower one unnoticed.
        let wanted = writer.withLock { writer -> (number: UInt64, spare: String?)? in
            writer.log.wantsSegment ? (makeFileNumber(), writer.log.takeSpare()) : nil
        }
        guard let (number, spare) = wanted else { return }
        do throws(FileError) {
            let segment = try WriteAheadLog.makeSegment(
                number, recycling: spare, options.walCompression, in: directory, fileSystem)
            if !writer.withLock({ $0.log.offer(segment, number: number) }) {
                janitor.remove([FileName.wal(number).path(in: directory)])
            }
        } catch {
            // The next writer makes one itself, and reports what is wrong.
            let failure = StorageError(error)
            if failure.code == .failed { fail(failure) }
        }
    }

    /// Puts the operations of `batch` into `memtable`.
    ///
    /// A range deletion at a version covers what is older than the version. What the same batch put before the deletion is
    /// as new, so it is turned into a deletion here.
    static func insert(_ batch: WriteBatch, _ version: UInt64, into memtable: any Memtable) {
        guard batch.rangeDeletions > 0 else {
            batch.forEachBorrowed { _, kind, key, value in memtable.insert(kind, key, value, version: version) }
            return
        }
        var ranges: [(position: Int, from: [UInt8], to: [UInt8])] = []
        batch.forEachBorrowed { position, kind, from, to in
            guard kind == .deleteRange else { return }
            ranges.append((position, from.copied(), to.copied()))
            memtable.insert(RangeTombstone(from: from.copied(), to: to.copied(), version: version))
        }
        batch.forEachBorrowed { position, kind, key, value in
            guard kind != .deleteRange else { return }
            let isDeletedLater = ranges.contains { range in
                range.position > position && range.from.withBorrowedBytes { $0.compare(key) <= 0 }
                    && range.to.withBorrowedBytes { key.compare($0) < 0 }
            }
            memtable.insert(
                isDeletedLater ? .delete : kind, key, isDeletedLater ? .empty : value, version: version)
        }
    }

    /// Returns once the records up to `sequence` are on the disk. Threads that come while one syncs share the next sync.
    func synchronizeLog(through sequence: UInt64) throws(StorageError) {
        guard options.wal == .enabled else { return }
        let leads = walSync.wait { sync -> Bool? in
            if syncedSequence.load(ordering: .acquiring) >= sequence { return false }
            if sync.isRunning { return nil }
            sync.isRunning = true
            return true
        }
        guard leads else { return }
        defer { walSync.change { $0.isRunning = false } }
        try checkWritable()
        let (point, mark) = writer.withLock { writer in
            writer.log.reserveForSyncs()
            return (writer.log.syncPoint, writer.mark)
        }
        do throws(FileError) {
            for file in point.files { try file.synchronizeData() }
        } catch {
            let failure = StorageError(error)
            fail(failure)
            throw failure
        }
        writer.withLock { $0.log.noteSynced(point) }
        syncedSequence.store(point.sequence, ordering: .releasing)
        advanceDurableMark(to: mark)
    }
}
