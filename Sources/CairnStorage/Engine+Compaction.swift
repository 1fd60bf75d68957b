import CairnFiles
import Synchronization

extension Engine {
    /// A compaction that this thread has taken, with what it was chosen by.
    private struct TakenCompaction {
        let claim: UInt64
        let compaction: Compaction
        let set: TableSet
        let retained: RetainedVersions
    }

    /// Has the background compact, if there is something that may be compacted now.
    ///
    /// - Parameter goesOn: A compaction asks for the next one, which does not happen after a failure.
    func scheduleCompaction(goesOn: Bool = false) {
        guard !options.disablesAutomaticCompaction, !hasFailed.load(ordering: .acquiring) else { return }
        let schedules = work.withLock { work in
            if !goesOn { work.hasFailedCompaction = false }
            guard !work.hasFailedCompaction else { return false }
            guard !work.isCompactionScheduled, nextCompaction(work) != nil else { return false }
            work.isCompactionScheduled = true
            return true
        }
        guard schedules else { return }
        background.submit(.compaction) { [weak self] in
            guard let self else { return }
            let taken = work.change { work in
                work.isCompactionScheduled = false
                return work.hasFailedCompaction ? nil : takeCompaction(&work)
            }
            guard let taken else { return }
            // Another one may run beside it. Each job does one, so that engines that share the executor take turns.
            scheduleCompaction(goesOn: true)
            do throws(StorageError) {
                try carryOut(taken)
                scheduleCompaction(goesOn: true)
            } catch {
                // `carryOut` has noted it; a later apply or flush tries again.
            }
        }
    }

    /// Does the compaction that is most needed, on the calling thread, and says whether one was.
    ///
    /// For programs that want a tree without arrears: call it until it returns false, which it does only when none runs
    /// elsewhere either.
    public func compactIfNeeded() throws(StorageError) -> Bool { try compactOnce() }

    /// Does the compaction that is most needed, once one may begin; false if none is needed and none runs.
    ///
    /// - Parameter isEnough: Asked after each change, under a lock; when it says so there is no need to go on waiting.
    @discardableResult
    func compactOnce(unless isEnough: () -> Bool = { false }) throws(StorageError) -> Bool {
        try checkWritable()
        let taken = work.wait { work -> Result<TakenCompaction?, StorageError>? in
            if work.isClosing { return .failure(StorageError(.closed, "the engine is closing")) }
            if isEnough() { return .success(nil) }
            if let taken = takeCompaction(&work) { return .success(taken) }
            return work.isCompacting || work.waitingAlone > 0 ? nil : .success(nil)
        }
        guard let taken = try taken.get() else { return false }
        try carryOut(taken)
        scheduleCompaction(goesOn: true)
        return true
    }

    private func takeCompaction(_ work: inout WorkState) -> TakenCompaction? {
        guard let (compaction, set, retained) = nextCompaction(work) else { return nil }
        return TakenCompaction(
            claim: work.claims.take(compaction), compaction: compaction, set: set, retained: retained)
    }

    /// What to compact next, beside what runs.
    ///
    /// Under the lock of `work`, where claims are released after their edits are shown: so no table of the set that is
    /// free by the claims is one that a compaction has replaced already.
    private func nextCompaction(_ work: WorkState) -> (Compaction, TableSet, RetainedVersions)? {
        guard !work.isClosing, !work.isAlone, work.waitingAlone == 0, work.claims.count < options.compactionsMax,
            !hasFailed.load(ordering: .acquiring)
        else { return nil }
        let retained = retainedVersions()
        let set = view.withLock { $0.tables }
        return CompactionPicker(options: options).pick(set, retained: retained, beside: work.claims)
            .map { ($0, set, retained) }
    }

    private func carryOut(_ taken: TakenCompaction) throws(StorageError) {
        do throws(StorageError) {
            try run(taken.compaction, taken.set, taken.retained)
        } catch {
            finishWork(.compaction, error) { work in
                work.claims.release(taken.claim)
                work.hasFailedCompaction = true
            }
            throw error
        }
        finishWork(.compaction, nil) { $0.claims.release(taken.claim) }
    }

    /// Compacts what lies in `from ..< to` down to the last level and forgets there what nobody can see any more, on the
    /// calling thread. Without bounds, everything.
    public func compactRange(from: ArraySlice<UInt8>? = nil, to: ArraySlice<UInt8>? = nil) throws(StorageError) {
        let lower = from.map { Array($0) }
        let upper = to.map { Array($0) }
        try flush()
        try alone(stopsFlushes: false) { () throws(StorageError) in
            do throws(StorageError) { try compactAll(from: lower, to: upper) } catch {
                finishWork(.compaction, error) { _ in }
                throw error
            }
            finishWork(.compaction, nil) { _ in }
        }
    }

    private func compactAll(from lower: [UInt8]?, to upper: [UInt8]?) throws(StorageError) {
        let picker = CompactionPicker(options: options)
        var set = view.withLock { $0.tables }
        let deepest = set.deepestLevel
        if set.levels[0].contains(where: { $0.range.overlaps(lower: lower, upper: upper) }) {
            try run(picker.compactionOfLevel0(set), set, retainedVersions())
        }
        for level in 1..<deepest {
            while true {
                set = view.withLock { $0.tables }
                guard let table = set.levels[level].first(where: { $0.range.overlaps(lower: lower, upper: upper) })
                else { break }
                try run(picker.compaction(of: table, at: level, set), set, retainedVersions())
            }
        }
        // What was there already may have become forgettable.
        let retained = retainedVersions()
        set = view.withLock { $0.tables }
        for table in set.levels[deepest] where table.range.overlaps(lower: lower, upper: upper) {
            let description = table.description
            guard description.deletions + description.superseded + description.rangeTombstones > 0 else { continue }
            try run(Compaction(inputs: [(deepest, table)], outputLevel: deepest), set, retained)
            set = view.withLock { $0.tables }
        }
    }

    /// Runs `body` while no compaction runs, nor, with `stopsFlushes`, a flush. Those that wait to begin let it go first.
    func alone(
        stopsFlushes: Bool, _ body: () throws(StorageError) -> Void
    ) throws(StorageError) {
        try checkWritable()
        work.withLock { $0.waitingAlone += 1 }
        let mayRun = work.wait { work -> Bool? in
            if !work.isClosing {
                if work.isCompacting || (stopsFlushes && work.isFlushing) { return nil }
                work.isAlone = true
                if stopsFlushes { work.isFlushing = true }
            }
            work.waitingAlone -= 1
            return !work.isClosing
        }
        guard mayRun else { throw StorageError(.closed, "the engine is closing") }
        defer {
            work.change { work in
                work.isAlone = false
                if stopsFlushes { work.isFlushing = false }
            }
            scheduleCompaction()
        }
        try body()
    }

    /// Carries out one compaction; on an error the tree is as it was.
    func run(
        _ compaction: Compaction, _ set: TableSet, _ retained: RetainedVersions
    ) throws(StorageError) {
        let start = ContinuousClock.now
        let inputs = compaction.inputs.map(\.table)
        if compaction.isMove {
            try install(
                ManifestEdit(), added: inputs.map { (compaction.outputLevel, $0.description) }, removed: inputs)
            work.change { $0.compactions += 1 }
            return
        }
        var children: [InternalIterator] = []
        var tombstones: [RangeTombstone] = []
        for (level, tables) in Dictionary(grouping: compaction.inputs, by: \.level).sorted(by: { $0.key < $1.key }) {
            let tables = tables.map(\.table)
            for table in tables where table.description.rangeTombstones > 0 {
                tombstones += try table.reader().tombstones.tombstones
            }
            if level == 0 {
                for table in tables { children.append(try table.reader().makeIterator(fillsCache: false)) }
            } else {
                children.append(LevelIterator(tables, fillsCache: false))
            }
        }
        var began: [UInt64] = []
        do throws(StorageError) {
            let merge = TableMerge(
                engine: self, retained: retained, bottom: (compaction.outputLevel, set),
                bytesMax: UInt64(options.tableBytesMax), mark: inputs.map(\.description.mark).max() ?? 0,
                isCancelled: { self.work.withLock { $0.isClosing } })
            let outputs = try merge.run(
                MergingIterator(children), tombstones: RangeTombstones(tombstones), began: { began.append($0) })
            // Else a block of an input is not what its table's description says, and the tables would overlap others.
            let range = compaction.range
            guard outputs.allSatisfy({ range.union($0.range) == range }) else {
                throw StorageError(
                    .corruption, "a table of the compaction has keys beyond its range", file: directory)
            }
            if !outputs.isEmpty {
                try mappingFileErrors { () throws(FileError) in try fileSystem.synchronizeDirectory(directory) }
            }
            var edit = ManifestEdit()
            edit.horizon = retained.horizon
            try install(edit, added: outputs.map { (compaction.outputLevel, $0) }, removed: inputs)
            work.change { work in
                work.compactions += 1
                work.compactionReadBytes += compaction.byteCount
                work.compactionWrittenBytes += outputs.reduce(0) { $0 + $1.byteCount }
                work.compactionTime += ContinuousClock.now - start
            }
        } catch {
            abandon(began)
            throw error
        }
    }
}
