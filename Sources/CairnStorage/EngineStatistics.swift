/// What an engine holds and has done; a snapshot.
public struct EngineStatistics: Hashable, Sendable {
    public struct Level: Hashable, Sendable {
        public var tables = 0
        public var bytes: UInt64 = 0

        public init(tables: Int = 0, bytes: UInt64 = 0) {
            self.tables = tables
            self.bytes = bytes
        }
    }

    /// Those of an engine that has done nothing yet.
    public init() {}

    /// Bytes in the memtable that takes writes.
    public var memtableBytes = 0
    /// Memtables that wait for their flush, and their bytes.
    public var frozenMemtables = 0
    public var frozenBytes = 0
    public var levels: [Level] = []

    /// Bytes of the batches that were applied, and of the records that the log was given for them, uncompressed.
    public var userBytes: UInt64 = 0
    public var walBytes: UInt64 = 0
    /// Flushes that are done, the bytes of their tables, and the time they took.
    public var flushes: UInt64 = 0
    public var flushedBytes: UInt64 = 0
    public var flushTime = Duration.zero
    /// Compactions that are done, the bytes of the tables that went in and came out, and the time they took; tables that
    /// changed their level unread are counted without bytes and time.
    public var compactions: UInt64 = 0
    public var compactionReadBytes: UInt64 = 0
    public var compactionWrittenBytes: UInt64 = 0
    public var compactionTime = Duration.zero
    /// Compactions that are at work.
    public var compactionsRunning = 0

    /// Times that ``Engine/write(_:durability:)`` was held back because flushes or compactions were behind, and how long.
    public var stalls: UInt64 = 0
    public var stallTime = Duration.zero

    /// Keys that were looked up one by one, not by iterators.
    public var lookups: UInt64 = 0
    /// Tables that these lookups asked.
    public var lookupTables: UInt64 = 0
    /// Of those, the ones that a filter ruled out, and those that it let pass though they had nothing to say: not the key,
    /// or only versions of it that are too new.
    public var filterRejections: UInt64 = 0
    public var filterFalsePositives: UInt64 = 0
    /// Blocks that lookups fetched because the cache had them not.
    public var lookupBlockReads: UInt64 = 0

    /// From 0, writes may go on at full speed, to 1, flushes and compactions are hopelessly behind.
    ///
    /// `apply` with `.buffered` never waits for them, because it may run on an event loop; whoever calls it is expected to
    /// hold writes back by ``suggestedDelay``. `apply` with `.synced` waits by itself.
    public var writePressure = 0.0
    /// How long to hold back the next write batch.
    public var suggestedDelay = Duration.zero

    /// Blocks found in, and missing from, the (shared) cache; bytes that it holds.
    public var cacheHits: UInt64 = 0
    public var cacheMisses: UInt64 = 0
    public var cacheBytes = 0
    /// Of those, what open tables hold on to: indexes, filters and range deletions.
    public var cachePinnedBytes = 0
    /// Bytes of the memtables of all engines that share the ``MemoryBudget``, and how many they may be; 0 without one.
    public var sharedMemtableBytes = 0
    public var sharedMemtableBytesMax = 0

    /// Bytes written to the disk for each byte that was applied; 0 before the first.
    public var writeAmplification: Double {
        userBytes == 0 ? 0 : Double(walBytes + flushedBytes + compactionWrittenBytes) / Double(userBytes)
    }

    /// Why background work is failing at the moment; it is tried again.
    public var backgroundError: StorageError?
}
