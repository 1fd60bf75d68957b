/// What an engine holds and has done; a snapshot.
public struct EngineStatistics: Hashable, Sendable {
    public struct Level: Hashable, Sendable {
        public var tables = 0
        public var bytes: UInt64 = 0
    }

    /// Bytes in the memtable that takes writes.
    public var memtableBytes = 0
    /// Memtables that wait for their flush, and their bytes.
    public var frozenMemtables = 0
    public var frozenBytes = 0
    public var levels: [Level] = []

    public var flushes: UInt64 = 0
    public var flushedBytes: UInt64 = 0
    public var compactions: UInt64 = 0
    public var compactionReadBytes: UInt64 = 0
    public var compactionWrittenBytes: UInt64 = 0
    public var walBytes: UInt64 = 0

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

    /// Why background work is failing at the moment; it is tried again.
    public var backgroundError: StorageError?
}
