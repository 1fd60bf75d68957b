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

    /// What readers look at; replaced, never changed.
    let view: Mutex<ReadView>
    let writer: Mutex<WriterState>
    /// Held while a thread syncs the log, so that those who come meanwhile share the next sync.
    let walSync = Mutex<Void>(())
    let retention: Mutex<RetentionState>
    let listeners = Mutex<[@Sendable (UInt64) -> Void]>([])
    let failure = Mutex<StorageError?>(nil)

    let lastVersionValue: Atomic<UInt64>
    let markValue: Atomic<UInt64>
    let durableMarkValue: Atomic<UInt64>
    let closedFlag = Atomic<Bool>(false)
    let hasFailed = Atomic<Bool>(false)
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
        lock: any FileLock, segments: [UInt64]
    ) throws(StorageError) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        self.background = background
        self.lock = lock
        cache = options.blockCache ?? BlockCache(capacityBytes: 8 << 20)
        let active = TreeMemtable()
        var mark: UInt64 = 0
        var version: UInt64 = 0
        let sequence = try WALRecovery(fileSystem: fileSystem, directory: directory).replay(segments, after: 0) {
            record in
            Self.insert(record.batch, record.version, into: active)
            mark = record.mark
            version = record.version
        }
        lastVersionValue = Atomic(version)
        markValue = Atomic(mark)
        durableMarkValue = Atomic(0)
        nextFileNumber = Atomic((segments.max() ?? 0) + 1)
        view = Mutex(ReadView(active: active, frozen: []))
        retention = Mutex(RetentionState(horizon: 0))
        writer = Mutex(
            WriterState(
                active: active,
                log: WriteAheadLog(fileSystem: fileSystem, directory: directory, sequence: sequence),
                activeSegments: segments, mark: mark, version: version))
    }

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
    let frozen: [any Memtable]

    init(active: any Memtable, frozen: [any Memtable]) {
        self.active = active
        self.frozen = frozen
    }
}
