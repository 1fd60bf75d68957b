import CairnFiles

/// How an engine behaves and how much it may use. Sizes are in bytes.
public struct EngineOptions: Sendable {
    /// Whether an apply is logged, so that it survives the end of the process and, once synced, a power cut.
    public enum WAL: Hashable, Sendable {
        case enabled
        /// Only flushed data survives: for owners that can repeat what was lost after ``Engine/durableMark``.
        case disabled
    }

    /// Which versions stay readable while nobody retains them.
    public enum History: Hashable, Sendable {
        /// Those from ``Engine/setHistoryHorizon(_:)`` on: all of them until it is called.
        case fromHorizon
        /// The last one only: for programs that read what is there now. Iterators still see the version they were made at.
        case latest
    }

    /// Make a new engine where there is none.
    public var createIfMissing = true
    public var wal = WAL.enabled
    public var history = History.fromHorizon
    /// Of the log's records; those that do not shrink by an eighth are stored as they are.
    public var walCompression = BlockCodec.Compression.none

    /// A memtable that has grown to this is frozen and flushed.
    public var memtableBytesMax = 32 << 20
    /// Frozen memtables that wait for their flush before writers are slowed down fully.
    public var frozenMemtablesMax = 3

    /// Where a data block ends: larger blocks compress better, smaller ones cost less to bring in.
    public var blockBytes = 16 << 10
    /// Every how many entries a block repeats a whole key.
    public var restartInterval = 8
    public var compression = BlockCodec.Compression.snappy
    /// How many levels, from level 0 on, are not compressed: compactions soon write their tables again, and compressing them
    /// each time costs more than all else that a write does. What they hold is bounded, see ``level1BytesMax``.
    public var uncompressedLevels = 2
    /// 10 bits a key give 1 % of lookups that read a table in vain; 0 builds no filter.
    public var bloomBitsPerKey = 10
    /// The same for tables of level 0, of which a lookup asks all: 20 bits make it one in a thousand.
    public var level0BloomBitsPerKey = 20

    /// How many first bytes of keys the filters of new tables hold beside the whole keys (0 to 64; 0: none).
    ///
    /// An iterator whose bounds lie within one such beginning leaves out tables that have no key with it. It costs the bits of
    /// one more key for each beginning in a table. Tables remember the length that they were written with.
    public var prefixFilterBytes = 0

    /// Write tables past the system's page cache where that can be done: less work for the writer of much, but the first
    /// reader of a block has to wait for the disk.
    public var tablesPassPageCache = false

    /// Where a table of level 1 and below ends.
    public var tableBytesMax = 32 << 20
    /// Tables of level 0 that start a compaction. What level 1 holds is written again each time, so that level 0 should
    /// bring about as much as that; a read asks each table's filter.
    public var level0Trigger = 8
    /// Tables of level 0 at which writers begin to be slowed down, and at which they are slowed down fully.
    public var level0SlowdownTrigger = 20
    public var level0StopTrigger = 36
    /// What level 1 may hold; each level below holds ``levelSizeRatio`` times as much.
    public var level1BytesMax = 256 << 20
    public var levelSizeRatio = 10
    /// Do not compact unless ``Engine/compactRange(from:to:)`` asks for it.
    public var disablesAutomaticCompaction = false

    /// Compactions that may run at once in this engine, as far as the executor has threads for them.
    ///
    /// They share no table and no key range of a level, so more of them help where several levels are behind.
    public var compactionsMax = 2

    /// Holds compactions back, over all engines that share it; nil does not.
    public var compactionRate: RateLimit?

    /// Decoded blocks, shared by all engines of a process; nil makes a small one of the engine's own.
    public var blockCache: BlockCache?

    /// Bounds the memtables of all engines that share it; nil leaves each to its own ``memtableBytesMax``.
    public var memoryBudget: MemoryBudget?

    public init() {}

    /// The options, unless two of them contradict each other or one makes no sense.
    public func validated() throws(StorageError) -> EngineOptions {
        func require(_ holds: Bool, _ what: String) throws(StorageError) {
            guard holds else { throw StorageError(.invalidArgument, "engine options: \(what)") }
        }
        try require(memtableBytesMax >= 1 << 10, "memtableBytesMax is at least 1024")
        try require(frozenMemtablesMax >= 1, "frozenMemtablesMax is at least 1")
        try require((64...(4 << 20)).contains(blockBytes), "blockBytes is between 64 and 4 Mi")
        try require((1...1024).contains(restartInterval), "restartInterval is between 1 and 1024")
        try require((0...64).contains(bloomBitsPerKey), "bloomBitsPerKey is between 0 and 64")
        try require((0...64).contains(level0BloomBitsPerKey), "level0BloomBitsPerKey is between 0 and 64")
        try require((0...64).contains(prefixFilterBytes), "prefixFilterBytes is between 0 and 64")
        try require(tableBytesMax >= blockBytes, "tableBytesMax is at least blockBytes")
        try require(level0Trigger >= 1, "level0Trigger is at least 1")
        try require(
            level0Trigger <= level0SlowdownTrigger && level0SlowdownTrigger < level0StopTrigger,
            "level0Trigger <= level0SlowdownTrigger < level0StopTrigger")
        try require(levelSizeRatio >= 2, "levelSizeRatio is at least 2")
        try require(
            (0...TableSet.levelCount).contains(uncompressedLevels),
            "uncompressedLevels is between 0 and \(TableSet.levelCount)")
        try require((1...64).contains(compactionsMax), "compactionsMax is between 1 and 64")
        return self
    }
}

/// Where a read may look.
public enum ReadMode: Hashable, Sendable {
    /// In memory and on the disk.
    case any
    /// In memory only: memtables, open tables, and blocks that are in the ``BlockCache``. A read that needs more throws
    /// ``StorageError`` with code `wouldNeedDisk`, so a thread that must not wait for a disk may try it.
    case cacheOnly
}

/// What an iterator may use.
public struct IteratorOptions: Hashable, Sendable {
    /// With ``ReadMode/cacheOnly`` a move that would read the disk throws `wouldNeedDisk`. The iterator then stands nowhere
    /// that can be relied on: drop it, and make another where the disk may be waited for.
    public var mode = ReadMode.any

    /// Keep the blocks that are read; a long scan that should not push others out turns it off.
    public var fillsCache = true

    public init() {}
}

/// What is sure when an apply returns.
public enum Durability: Hashable, Sendable {
    /// The batch is with the kernel: it survives the end of the process, and a power cut once it is flushed.
    case buffered
    /// The batch is on the disk. Applies of several threads share a sync.
    case synced
}
