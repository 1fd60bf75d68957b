import CairnFiles
import Synchronization

extension Engine {
    func scheduleCompaction() {
        guard !options.disablesAutomaticCompaction, !hasFailed.load(ordering: .acquiring) else { return }
        let set = view.withLock { $0.tables }
        guard CompactionPicker(options: options).pick(set, retained: retainedVersions()) != nil else { return }
        let schedules = work.change { work in
            guard !work.isCompactionScheduled, !work.isClosing else { return false }
            work.isCompactionScheduled = true
            return true
        }
        guard schedules else { return }
        background.submit(.compaction) { [weak self] in
            guard let self else { return }
            work.change { $0.isCompactionScheduled = false }
            // One at a time, so that engines that share the executor take turns.
            do throws(StorageError) {
                if try compactOnce() { scheduleCompaction() }
            } catch {
                // `compactOnce` has noted it; a later apply or flush tries again.
            }
        }
    }

    /// Does the compaction that is most needed, on the calling thread, and says whether one was.
    ///
    /// For programs that want a tree without arrears: call it until it returns false.
    public func compactIfNeeded() throws(StorageError) -> Bool { try compactOnce() }

    /// Does the compaction that is most needed; false if none is. One thread at a time does; others wait for it.
    @discardableResult
    func compactOnce() throws(StorageError) -> Bool {
        try asCompactor { () throws(StorageError) in
            let retained = retainedVersions()
            let set = view.withLock { $0.tables }
            guard let compaction = CompactionPicker(options: options).pick(set, retained: retained) else {
                return false
            }
            try run(compaction, set, retained)
            return true
        }
    }

    /// Compacts what lies in `from ..< to` down to the last level and forgets there what nobody can see any more, on the
    /// calling thread. Without bounds, everything.
    public func compactRange(from: ArraySlice<UInt8>? = nil, to: ArraySlice<UInt8>? = nil) throws(StorageError) {
        let lower = from.map { Array($0) }
        let upper = to.map { Array($0) }
        try flush()
        let picker = CompactionPicker(options: options)
        try asCompactor { () throws(StorageError) in
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
    }

    func asCompactor<Result>(_ body: () throws(StorageError) -> Result) throws(StorageError) -> Result {
        try checkWritable()
        let mayRun = work.wait { work -> Bool? in
            if work.isClosing { return false }
            if work.isCompacting { return nil }
            work.isCompacting = true
            return true
        }
        guard mayRun else { throw StorageError(.closed, "the engine is closing") }
        do throws(StorageError) {
            let result = try body()
            finishWork(nil) { $0.isCompacting = false }
            return result
        } catch {
            finishWork(error) { $0.isCompacting = false }
            throw error
        }
    }

    /// Carries out one compaction; on an error the tree is as it was.
    func run(
        _ compaction: Compaction, _ set: TableSet, _ retained: RetainedVersions
    ) throws(StorageError) {
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
            }
        } catch {
            abandon(began)
            throw error
        }
    }
}
