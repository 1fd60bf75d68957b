import CairnFiles
import Synchronization

/// A log-structured merge tree over one directory: sorted keys with values, several versions of each.
///
/// Writes go to a log and a memtable; full memtables become tables in the background; compactions merge tables into
/// levels. Any number of threads may call; writers take turns. See <doc:CairnStorage> for the map.
///
/// - Invariant: a batch is there whole or not at all, for readers and after a crash.
/// - Invariant: what survives a crash is a prefix of the batches in the order of their applying, and reaches at least to
///   ``durableMark``.
public final class Engine: Sendable {
    public let directory: String
    public let options: EngineOptions

    let fileSystem: any FileSystem
    let background: any BackgroundExecutor
    let cache: BlockCache
    /// What the memtables take of the memory that engines share.
    let memory: MemoryAccount

    /// What readers look at; replaced, never changed.
    let view: Mutex<ReadView>
    let writer: Mutex<WriterState>
    /// Whether a thread syncs the log: those who come meanwhile wait and share the next sync.
    let walSync = Monitor(LogSync())
    /// The log's last record that a sync has covered.
    let syncedSequence = Atomic<UInt64>(0)
    /// Held while an edit is made durable and shown to readers.
    let manifest: Mutex<Manifest>
    let lookups = LookupCounts()
    let work = Monitor(WorkState())
    let janitor: FileJanitor
    let retention: Mutex<RetentionState>
    let listeners = Mutex<[@Sendable (UInt64) -> Void]>([])
    let failure = Mutex<StorageError?>(nil)
    /// Seconds that writers still owe for what they wrote under pressure.
    let writeDebt = Mutex(0.0)

    let lastVersionValue: Atomic<UInt64>
    let markValue: Atomic<UInt64>
    let durableMarkValue: Atomic<UInt64>
    /// The last mark that is in tables.
    let flushedMark: Atomic<UInt64>
    let closedFlag = Atomic<Bool>(false)
    let hasFailed = Atomic<Bool>(false)
    /// Something in the background has failed and is to be tried again.
    let needsRetry = Atomic<Bool>(false)
    let nextFileNumber: Atomic<UInt64>
    let lock: any FileLock

    /// What only writers touch.
    struct WriterState {
        var active: any Memtable
        var log: WriteAheadLog
        /// The segments that hold the active memtable's records.
        var activeSegments: [UInt64] = []
        var mark: UInt64
        var version: UInt64
        /// Bytes of all batches that were applied.
        var userBytes: UInt64 = 0
    }

    struct LogSync {
        var isRunning = false
    }

    /// What versions may still be read.
    struct RetentionState {
        var horizon: UInt64
        /// Readers of each pinned version.
        var pins: [UInt64: Int] = [:]
    }

    init(
        _ directory: String, _ fileSystem: any FileSystem, _ options: EngineOptions,
        _ background: any BackgroundExecutor,
        lock: any FileLock, state: ManifestState, nextFileNumber: UInt64
    ) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        self.background = background
        self.lock = lock
        let cache = options.blockCache ?? BlockCache(capacityBytes: 8 << 20)
        let janitor = FileJanitor(fileSystem: fileSystem, background: background)
        self.cache = cache
        memory = MemoryAccount(options.memoryBudget, frozenMax: options.frozenMemtablesMax)
        self.janitor = janitor
        let levels = state.levels.map { level in
            level.map {
                Table($0, directory: directory, fileSystem: fileSystem, cache: cache, janitor: janitor)
            }
        }
        .enumerated().map { number, tables in
            number == 0 ? tables : tables.sorted { isOrderedBefore($0.range.smallest, $1.range.smallest) }
        }
        let tables = TableSet(levels: levels, horizon: state.horizon)
        tables.checkInvariants()
        let active = TreeMemtable()
        lastVersionValue = Atomic(state.version)
        markValue = Atomic(state.mark)
        durableMarkValue = Atomic(state.mark)
        flushedMark = Atomic(state.mark)
        self.nextFileNumber = Atomic(nextFileNumber)
        view = Mutex(ReadView(active: active, frozen: [], tables: tables))
        retention = Mutex(RetentionState(horizon: state.horizon))
        manifest = Mutex(Manifest(fileSystem: fileSystem, directory: directory, state: state))
        writer = Mutex(
            WriterState(
                active: active,
                log: WriteAheadLog(
                    fileSystem: fileSystem, directory: directory, compression: options.walCompression,
                    sequence: state.flushedSequence),
                mark: state.mark, version: state.version))
    }

    deinit { memory.close() }

    // MARK: - State of the world

    /// The mark of the last batch that was applied; after opening, of the last one that recovery found.
    public var mark: UInt64 { markValue.load(ordering: .acquiring) }

    /// Every batch up to this mark survives a power cut: it is in tables that the manifest names, or in the synced log.
    public var durableMark: UInt64 { durableMarkValue.load(ordering: .acquiring) }

    /// The version of the last batch that was applied.
    public var lastVersion: Version { Version(lastVersionValue.load(ordering: .acquiring)) }

    var isClosed: Bool { closedFlag.load(ordering: .acquiring) }

    /// Calls `notify` whenever ``durableMark`` has advanced, on the thread that made it so and without locks held.
    public func onDurableMark(_ notify: @escaping @Sendable (UInt64) -> Void) {
        listeners.withLock { $0.append(notify) }
    }

    func advanceDurableMark(to mark: UInt64) {
        let change = durableMarkValue.max(mark, ordering: .acquiringAndReleasing)
        guard change.newValue > change.oldValue else { return }
        for notify in listeners.withLock({ $0 }) { notify(change.newValue) }
    }

    func checkOpen() throws(StorageError) {
        guard !isClosed else { throw StorageError(.closed, "the engine was closed", file: directory) }
    }

    func checkWritable() throws(StorageError) {
        try checkOpen()
        guard !hasFailed.load(ordering: .acquiring) else {
            let cause = failure.withLock { $0 }
            throw StorageError(
                .failed, "a sync failed earlier: \(cause?.description ?? "")", file: cause?.file, offset: cause?.offset)
        }
    }

    /// After a failed sync nothing may be written or promised any more.
    func fail(_ cause: StorageError) {
        failure.withLock { if $0 == nil { $0 = cause } }
        hasFailed.store(true, ordering: .releasing)
    }

    func makeFileNumber() -> UInt64 { nextFileNumber.add(1, ordering: .relaxed).oldValue }
}

/// What a read needs, as it was at one moment.
final class ReadView: Sendable {
    let active: any Memtable
    /// Newest first.
    let frozen: [FrozenMemtable]
    let tables: TableSet

    init(active: any Memtable, frozen: [FrozenMemtable], tables: TableSet) {
        self.active = active
        self.frozen = frozen
        self.tables = tables
    }
}

/// A memtable that waits for its flush, and how far it reaches.
struct FrozenMemtable: Sendable {
    let memtable: any Memtable
    /// Of the last batch in it.
    let mark: UInt64
    let version: UInt64
    let sequence: UInt64
    /// The segments of the log that hold its batches and no later ones.
    let segments: [UInt64]
}

/// What the background is doing.
struct WorkState {
    var isFlushScheduled = false
    var isFlushing = false
    var isCompactionScheduled = false
    /// What the compactions that run have taken.
    var claims = CompactionClaims()
    /// Something runs that no compaction may run beside, and how many wait for their turn to.
    var isAlone = false
    /// A compaction has failed, so the background begins none until something else asks for one: else those that are due
    /// beside each other would retry each other without end.
    var hasFailedCompaction = false
    var waitingAlone = 0
    /// The log's next segment is being made.
    var isPreparing = false
    var isClosing = false
    /// Why the last work of a kind failed, until one succeeds.
    var errors: [BackgroundWork: StorageError] = [:]
    var appliesSinceError = 0

    var flushes: UInt64 = 0
    var flushedBytes: UInt64 = 0
    var compactions: UInt64 = 0
    var compactionReadBytes: UInt64 = 0
    var compactionWrittenBytes: UInt64 = 0
    var flushTime = Duration.zero
    var compactionTime = Duration.zero
    /// Times that a writer was held back, and how long.
    var stalls: UInt64 = 0
    var stallTime = Duration.zero

    var isCompacting: Bool { isAlone || !claims.isEmpty }
}
