import CairnFiles
import Synchronization

extension Engine {
    /// Makes everything applied so far durable in tables, on the calling thread.
    ///
    /// - Throws: ``StorageError``; what was not flushed stays in memory and in the log, and is tried again.
    public func flush() throws(StorageError) {
        try checkWritable()
        try locked { writer throws(StorageError) in freeze(&writer) }
        try flushFrozen()
    }

    /// Freezes the memtable, if there is anything in it, and flushes it in the background; never waits.
    ///
    /// For an idle engine whose owner wants to forget its own log: ``onDurableMark(_:)`` tells when that may be.
    public func requestFlush() {
        guard !isClosed, !hasFailed.load(ordering: .acquiring) else { return }
        writer.withLock { freeze(&$0) }
        scheduleFlush()
    }

    // MARK: - Freezing

    /// Freezes a full memtable unless too many wait already; then it goes on growing, and the pressure shows.
    func freezeIfRoom(_ writer: inout WriterState) {
        guard view.withLock({ $0.frozen.count }) < options.frozenMemtablesMax else { return }
        freeze(&writer)
        scheduleFlush()
    }

    /// Freezes the memtable in the background, because it is the largest of the engines that share a ``MemoryBudget``.
    ///
    /// Called by writers of any engine, which must not wait for this one's.
    func freezeForOthers() {
        background.submit(.flush) { [weak self, memory] in
            defer { memory.answered() }
            guard let self, !isClosed, !hasFailed.load(ordering: .acquiring) else { return }
            writer.withLock { freezeIfRoom(&$0) }
        }
    }

    func freeze(_ writer: inout WriterState) {
        let last = view.withLock { $0.frozen.first?.mark } ?? flushedMark.load(ordering: .acquiring)
        let isEmpty = writer.active.entryCount == 0 && writer.active.rangeTombstones.isEmpty
        guard !isEmpty || writer.mark > last else { return }
        writer.active.freeze()
        writer.log.endSegment()
        let frozen = FrozenMemtable(
            memtable: writer.active, mark: writer.mark, version: writer.version, sequence: writer.log.sequence,
            segments: writer.activeSegments)
        let fresh = TreeMemtable()
        memory.noteFreeze(writer.active.byteCount)
        writer.active = fresh
        writer.activeSegments = []
        view.withLock { $0 = ReadView(active: fresh, frozen: [frozen] + $0.frozen, tables: $0.tables) }
    }

    // MARK: - Flushing

    func scheduleFlush() {
        let schedules = work.change { work in
            guard !work.isFlushScheduled, !work.isClosing else { return false }
            work.isFlushScheduled = true
            return true
        }
        guard schedules else { return }
        background.submit(.flush) { [weak self] in
            guard let self else { return }
            work.change { $0.isFlushScheduled = false }
            prepareSegment()
            try? flushFrozen()
        }
    }

    /// Flushes the frozen memtables, oldest first. One thread at a time does; others wait for it.
    func flushFrozen() throws(StorageError) {
        while view.withLock({ !$0.frozen.isEmpty }) {
            let mayRun = work.wait { work -> Bool? in
                if work.isClosing { return false }
                if work.isFlushing { return nil }
                work.isFlushing = true
                return true
            }
            guard mayRun else { throw StorageError(.closed, "the engine is closing") }
            var failure: StorageError?
            do throws(StorageError) {
                if let oldest = view.withLock({ $0.frozen.last }) { try flush(oldest) }
            } catch {
                failure = error
            }
            finishWork(.flush, failure) { $0.isFlushing = false }
            if let failure { throw failure }
            // Where every writer is held back, no write finds that more has to go.
            memory.relieve()
        }
        scheduleCompaction()
    }

    /// Notes how background work ended, and lets the next one begin.
    func finishWork(_ kind: BackgroundWork, _ failure: StorageError?, _ change: (inout WorkState) -> Void) {
        if let failure, failure.code == .failed { fail(failure) }
        work.change { work in
            change(&work)
            if failure?.code != .closed { work.errors[kind] = failure }
            needsRetry.store(!work.errors.isEmpty, ordering: .releasing)
        }
    }

    /// Tries again in the background what failed there, for want of room most likely. Does nothing when nothing has failed.
    ///
    /// Applies do so by themselves every few times. To be called once a second or so by an owner that holds applies back while
    /// the engine is behind, or there would be no end to that.
    public func retryFailedWork() {
        guard needsRetry.load(ordering: .relaxed), !isClosed else { return }
        scheduleFlush()
        scheduleCompaction()
    }

    /// Tries again, every few applies, what failed for want of room.
    func retryBackgroundWork() {
        guard needsRetry.load(ordering: .relaxed) else { return }
        let isDue = work.change { work in
            work.appliesSinceError += 1
            guard work.appliesSinceError >= 32 else { return false }
            work.appliesSinceError = 0
            return true
        }
        guard isDue else { return }
        scheduleFlush()
        scheduleCompaction()
    }

    /// Writes one memtable to tables of level 0, makes them part of the tree, and gives up the log that they replace.
    func flush(_ frozen: FrozenMemtable) throws(StorageError) {
        try writeTables(of: frozen)
        janitor.remove(writer.withLock { settle(frozen, &$0) })
        advanceDurableMark(to: frozen.mark)
    }

    /// Notes that tables have what a memtable had.
    ///
    /// - Returns: segments of the log that can be removed.
    func settle(_ frozen: FrozenMemtable, _ writer: inout WriterState) -> [String] {
        writer.log.noteDurable(frozen.sequence)
        return writer.log.release(frozen.segments)
    }

    /// Writes one memtable to tables of level 0 and makes them part of the tree.
    func writeTables(of frozen: FrozenMemtable) throws(StorageError) {
        try checkWritable()
        var began: [UInt64] = []
        do throws(StorageError) {
            let start = ContinuousClock.now
            let retained = retainedVersions()
            var edit = ManifestEdit()
            var added: [(level: Int, description: TableDescription)] = []
            if frozen.memtable.entryCount > 0 || !frozen.memtable.rangeTombstones.isEmpty {
                let merge = TableMerge(
                    engine: self, retained: retained, bottom: nil, bytesMax: .max, mark: frozen.mark,
                    isCancelled: { false })
                let outputs = try merge.run(
                    frozen.memtable.makeIterator(), tombstones: frozen.memtable.rangeTombstones,
                    began: { began.append($0) })
                try mappingFileErrors { () throws(FileError) in try fileSystem.synchronizeDirectory(directory) }
                added = outputs.map { (0, $0) }
            }
            edit.mark = frozen.mark
            edit.version = frozen.version
            edit.flushedSequence = frozen.sequence
            edit.horizon = retained.horizon
            edit.logNumber = frozen.segments.max().map { $0 + 1 }
            let bytes = added.reduce(0) { $0 + $1.description.byteCount }
            try install(edit, added: added, removed: [], flushed: frozen.memtable)
            work.change { work in
                work.flushes += 1
                work.flushedBytes += bytes
                work.flushTime += ContinuousClock.now - start
            }
        } catch {
            abandon(began)
            throw error
        }
        flushedMark.store(frozen.mark, ordering: .releasing)
    }

    /// Removes the files of tables that were begun and did not become part of the tree, unless an edit of unknown outcome
    /// may name them.
    func abandon(_ numbers: [UInt64]) {
        let undecided = manifest.withLock { $0.undecidedFiles }
        janitor.remove(
            numbers.map { FileName.table($0).path(in: directory) }.filter { !undecided.contains($0) })
    }

    /// Makes an edit durable and then shows readers the tree that it makes.
    ///
    /// - Parameter flushed: The memtable that the added tables stand for.
    func install(
        _ edit: ManifestEdit, added: [(level: Int, description: TableDescription)], removed: [Table],
        flushed: (any Memtable)? = nil
    ) throws(StorageError) {
        var edit = edit
        edit.added = added.map { ManifestEdit.Added(level: $0.level, description: $0.description) }
        edit.removed = removed.map(\.description.number)
        let kept = Dictionary(uniqueKeysWithValues: removed.map { ($0.description.number, $0) })
        var thrown: StorageError?
        var isFlushed = false
        let removable = manifest.withLock { manifest -> [String] in
            edit.nextFileNumber = nextFileNumber.load(ordering: .relaxed)
            let outputs = added.filter { kept[$0.description.number] == nil }
                .map { FileName.table($0.description.number).path(in: directory) }
            do throws(FileError) {
                let removable = try manifest.commit(edit, outputs: outputs) { makeFileNumber() }
                view.withLock { view in
                    let tables = added.map { level, description in
                        // A table that only changes its level stays the same, open file and all.
                        let table =
                            kept[description.number]
                            ?? Table(
                                description, directory: directory, fileSystem: fileSystem, cache: cache,
                                janitor: janitor)
                        return (level: level, table: table)
                    }
                    isFlushed = view.frozen.contains { $0.memtable === flushed }
                    view = ReadView(
                        active: view.active,
                        frozen: flushed.map { flushed in view.frozen.filter { $0.memtable !== flushed } }
                            ?? view.frozen,
                        tables: view.tables.applying(
                            removed: Set(edit.removed), added: tables, horizon: edit.horizon ?? 0))
                }
                return removable
            } catch {
                thrown = StorageError(error)
                return []
            }
        }
        if let thrown {
            if thrown.code == .failed { fail(thrown) }
            throw thrown
        }
        if isFlushed, let flushed { memory.noteFlush(flushed.byteCount) }
        let moved = Set(added.map(\.description.number))
        for table in removed where !moved.contains(table.description.number) { table.markObsolete() }
        janitor.remove(removable)
    }

    // MARK: - Pressure

    /// From 0 to 1, how far flushes and compactions are behind; see ``EngineStatistics/writePressure``.
    public var writePressure: Double {
        let view = view.withLock { $0 }
        let frozen = Double(view.frozen.count - 1) / Double(max(1, options.frozenMemtablesMax - 1))
        let overgrown = Double(view.active.byteCount) / Double(options.memtableBytesMax) - 1
        let tables =
            Double(view.tables.levels[0].count - options.level0SlowdownTrigger)
            / Double(options.level0StopTrigger - options.level0SlowdownTrigger)
        return min(1, max(0, frozen, overgrown, tables, options.memoryBudget?.pressure ?? 0))
    }

    /// How long to hold back the next write; see ``EngineStatistics/suggestedDelay``.
    public var suggestedDelay: Duration {
        let pressure = writePressure
        return .microseconds(Int64(20_000 * pressure * pressure))
    }

    /// Bytes a second that writers get at the first sign of pressure; at full pressure none.
    private static let pressedBytesPerSecond = 256.0 * 1024 * 1024

    /// Waits for as long as `bytes` take at the rate that the pressure leaves; at full pressure, until there is room.
    ///
    /// Short waits are put together, because a sleep is never short.
    func holdBack(_ bytes: Int) throws(StorageError) {
        let pressure = writePressure
        guard pressure > 0 else { return }
        if pressure >= 1 { return try noteStall { () throws(StorageError) in try waitForRoom() } }
        let seconds = Double(bytes) / (Self.pressedBytesPerSecond * (1 - pressure) * (1 - pressure))
        let due = writeDebt.withLock { debt -> Double in
            debt += seconds
            guard debt >= 0.001 else { return 0 }
            defer { debt = 0 }
            return debt
        }
        if due > 0 { noteStall { work.wait(seconds: min(due, 0.1)) { $0.isClosing } } }
    }

    private func noteStall<Failure: Error>(_ wait: () throws(Failure) -> Void) throws(Failure) {
        let start = ContinuousClock.now
        defer {
            work.withLock { work in
                work.stalls += 1
                work.stallTime += ContinuousClock.now - start
            }
        }
        try wait()
    }

    /// Helps or waits until flushes and compactions have caught up; for writers that may block.
    func waitForRoom() throws(StorageError) {
        let frozen = view.withLock { $0.frozen.count }
        if frozen >= options.frozenMemtablesMax { try flushFrozen() }
        func hasRoom() -> Bool { view.withLock { $0.tables.levels[0].count < options.level0StopTrigger } }
        if let budget = options.memoryBudget, budget.pressure >= 1 {
            // What is frozen here goes at once; else another engine's flush has to make room, in the background.
            memory.relieve()
            if frozen > 0 { try flushFrozen() } else { work.wait(seconds: 0.01) { $0.isClosing } }
        }
        if !hasRoom() { try compactOnce(unless: hasRoom) }
    }
}
