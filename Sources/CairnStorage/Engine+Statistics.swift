import Synchronization

extension Engine {
    /// What the engine holds and has done. Cheap enough for every second, not for every write.
    public var statistics: EngineStatistics {
        let view = view.withLock { $0 }
        var result = EngineStatistics()
        result.memtableBytes = view.active.byteCount
        result.frozenMemtables = view.frozen.count
        result.frozenBytes = view.frozen.reduce(0) { $0 + $1.memtable.byteCount }
        result.levels = view.tables.levels.map { level in
            EngineStatistics.Level(
                tables: level.count, bytes: level.reduce(0) { $0 + $1.description.byteCount })
        }
        work.withLock { work in
            result.flushes = work.flushes
            result.flushedBytes = work.flushedBytes
            result.compactions = work.compactions
            result.compactionReadBytes = work.compactionReadBytes
            result.compactionWrittenBytes = work.compactionWrittenBytes
            result.flushTime = work.flushTime
            result.compactionTime = work.compactionTime
            result.compactionsRunning = work.claims.count
            result.stalls = work.stalls
            result.stallTime = work.stallTime
            result.backgroundError = work.errors[.flush] ?? work.errors[.compaction]
        }
        (result.userBytes, result.walBytes) = writer.withLock { ($0.userBytes, $0.log.writtenBytes) }
        let lookups = lookups.sums
        result.lookups = lookups.lookups
        result.lookupTables = lookups.tables
        result.filterRejections = lookups.filtered
        result.filterFalsePositives = lookups.falsePositives
        result.lookupBlockReads = lookups.blockReads
        result.writePressure = writePressure
        result.suggestedDelay = suggestedDelay
        result.cacheHits = cache.hits
        result.cacheMisses = cache.misses
        result.cacheBytes = cache.usedBytes
        result.cachePinnedBytes = cache.pinnedBytes
        if let budget = options.memoryBudget {
            result.sharedMemtableBytes = budget.memtableBytes
            result.sharedMemtableBytesMax = budget.memtableBytesMax
        }
        return result
    }

    /// Why background work is failing at the moment, as ``EngineStatistics/backgroundError``.
    public var backgroundError: StorageError? { work.withLock { $0.errors[.flush] ?? $0.errors[.compaction] } }

    /// Reads every block of every table and checks its order: what a scrub does.
    ///
    /// - Throws: ``StorageError`` with code `corruption` and the place of the first damage.
    public func verify() throws(StorageError) {
        try checkOpen()
        for table in view.withLock({ $0.tables.all }) { try table.reader().verify() }
    }
}
