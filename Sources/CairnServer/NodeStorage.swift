import CairnBSON
import CairnDatabase
import CairnFiles
import CairnRaft
import CairnReplication
import CairnSharding
import CairnStorage
import Logging
import NIOCore
import NIOPosix

/// A node's data folder, open: the shared log, and what the tablets of all groups share.
///
/// ```
/// LOCK            held while the node runs
/// NODE_ID         which node of which cluster the folder belongs to
/// layout          the cluster's nodes and where replicas belong, once that changed since the beginning
/// keyring         the data keys, where data is encrypted
/// raft/           segments of the log of all groups
/// groups/GROUP/   a replica: its tablet, and snapshots on their way in or out
/// groups/GROUP.left  what a replica that moved away had promised
/// ```
final class NodeStorage: Sendable {
    private let configuration: NodeConfiguration
    private let fileSystem: any FileSystem
    /// Whose folder it is.
    let identity: NodeIdentity
    /// Nil where data is in the clear.
    let dataKeys: DataKeyUpkeep?
    private let folders: ReplicaFolders
    private let lock: any FileLock
    private let log: SharedLog
    private let writer: LogWriter
    private let background: ThreadBackgroundExecutor
    private let cache: BlockCache
    private let memory: MemoryBudget
    private let compactionRate: RateLimit?
    private let prepared = PreparedTablets()
    /// Where reads go that are not answered from memory.
    private let readers: NIOThreadPool
    /// Where queries put what does not fit into memory.
    let spill: SpillFolder
    private let logger: Logger

    private init(
        configuration: NodeConfiguration, identity: NodeIdentity, fileSystem: any FileSystem, lock: any FileLock,
        log: SharedLog, logger: Logger
    ) throws(FileError) {
        self.configuration = configuration
        self.identity = identity
        self.fileSystem = fileSystem
        folders = ReplicaFolders(in: "\(configuration.dataDirectory)/groups", fileSystem)
        dataKeys = fileSystem.keyring.map {
            DataKeyUpkeep(
                $0, directory: configuration.dataDirectory, fileSystem: fileSystem, log: log, logger: logger)
        }
        self.lock = lock
        self.log = log
        self.logger = logger
        writer = LogWriter(log)
        // Half of the cores at most are left to compactions, which run at low priority.
        background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: max(1, System.coreCount / 2))
        cache = BlockCache(capacityBytes: configuration.cacheBytesMax)
        memory = MemoryBudget(bytesMax: configuration.memoryBytes, cache: cache)
        let rate = configuration.compactionBytesPerSecond
        compactionRate = rate > 0 ? RateLimit(bytesPerSecond: rate) : nil
        spill = try SpillFolder(in: "\(configuration.dataDirectory)/spill", fileSystem)
        readers = NIOThreadPool(numberOfThreads: configuration.readerThreads)
        readers.start()
    }

    /// Opens the folder, or makes it.
    ///
    /// - Throws: ``ConfigurationError`` when another process uses the folder or it belongs to another node; what the log says
    ///   when it is damaged.
    static func open(_ configuration: NodeConfiguration, logger: Logger) throws -> NodeStorage {
        let plain = PosixFileSystem()
        let directory = configuration.dataDirectory
        try plain.createDirectory(directory)
        let lock = try lock(directory, on: plain)
        let identity = try NodeIdentity(configuration).claim(directory, plain)
        try ReplicaFolders(in: "\(directory)/groups", plain).removeUnfinished()
        let fileSystem = PosixFileSystem(keyring: try openKeyring(directory, for: configuration, on: plain))
        var logOptions = SharedLogOptions()
        logOptions.spaceReserveBytes = UInt64(configuration.spaceReserveBytes)
        logOptions.defects = configuration.defects
        let log = try SharedLog.open(directory: "\(directory)/raft", fileSystem: fileSystem, options: logOptions)
        try ReplicaFolders(in: "\(directory)/groups", fileSystem).finishLeaving(log)
        let storage = try NodeStorage(
            configuration: configuration, identity: identity, fileSystem: fileSystem, lock: lock, log: log,
            logger: logger)
        do { try storage.dataKeys?.dropUnused() } catch {
            logger.warning("unused data keys cannot be dropped", metadata: ["reason": "\(error)"])
        }
        return storage
    }

    /// Keeps every other process out of the folder.
    ///
    /// - Throws: ``ConfigurationError`` when one has it.
    static func lock(_ directory: String, on fileSystem: PosixFileSystem) throws -> any FileLock {
        do { return try fileSystem.lock("\(directory)/LOCK") } catch {
            guard error.code == .locked else { throw error }
            throw ConfigurationError(
                key: "node.data", problem: "another process uses \(directory)", fix: "stop it, or name another folder")
        }
    }

    /// The data keys, opened with the master key that the configuration leads to.
    static func openKeyring(
        _ directory: String, for configuration: NodeConfiguration, on fileSystem: PosixFileSystem
    ) throws -> Keyring? {
        let path = "\(directory)/keyring"
        guard let source = configuration.encryption else {
            guard try !fileSystem.exists(path) else {
                throw ConfigurationError(
                    key: "encryption", problem: "\(directory) is encrypted, and no master key was given",
                    fix: "set encryption.key-file")
            }
            return nil
        }
        do {
            return try Keyring.open(path, master: try source.masterKey(), in: fileSystem)
        } catch let error as FileError where error.code == .wrongKey {
            throw ConfigurationError(
                key: "encryption", problem: "\(error)", fix: "give the master key that the folder was made with")
        }
    }

    /// A host for the replicas that live on `loop`, still without any.
    func makeHost(on loop: isolated NodeLoop, transport: NodeTransport) throws -> GroupHost {
        var options = GroupHostOptions()
        options.cluster = identity.link.number
        options.raft.heartbeatInterval = .milliseconds(configuration.heartbeatMilliseconds)
        options.raft.electionTimeout = .milliseconds(configuration.electionTimeoutMilliseconds / 2)
        options.raft.quietAfter = .milliseconds(configuration.quietAfterMilliseconds)
        options.raft.quietHeartbeatInterval = max(.seconds(30), options.raft.electionTimeout)
        options.spaceReserveBytes = UInt64(configuration.spaceReserveBytes)
        options.logBytesKept = UInt64(configuration.logBytesMax) / 2
        options.logEntriesKept = UInt64(configuration.logEntriesMax) / 2
        options.logBytesHeldForFollowers = UInt64(configuration.logBytesMax)
        options.logBytesBeforeFlush = UInt64(configuration.logBytesMax)
        options.raft.defects = configuration.defects
        options.defects = configuration.defects
        let host = try GroupHost(
            node: configuration.node, log: log, sink: LoopLogSink(writer: writer, loop: loop, logger: logger),
            transport: transport, fileSystem: fileSystem, directory: folders.directory, options: options,
            seed: UInt64.random(in: 1 ... .max), now: loop.clock.nanoseconds)
        host.learnPeers(loop.shared.layout.nodes.map(\.id))
        return host
    }

    /// Opens the replica of a group, or makes it.
    ///
    /// - Parameter isNew: whether a replica that is made joins a group that exists already.
    /// - Returns: the replica, and whether it joined.
    func openGroup(
        _ group: GroupID, isNew: Bool, on loop: isolated NodeLoop
    ) throws -> (DataGroup, isNewcomer: Bool) {
        let isNewcomer = try folders.prepare(group, isNew: isNew)
        var options = DataGroupOptions()
        options.defects = configuration.defects
        options.expirySleepMilliseconds = Int64(configuration.expirySleepSeconds) * 1_000
        let replica = try DataGroup(
            group: group, node: configuration.node, directory: folders.path(of: group), fileSystem: fileSystem,
            clock: loop.clock,
            readers: LoopReaderPool(
                threads: readers, longThreads: loop.shared.longQueryThreads, eventLoop: loop.eventLoop,
                afterWork: loop.clock.afterWork),
            options: options, databaseOptions: databaseOptions(loop.shared), openEngine: openEngine)
        return (replica, isNewcomer)
    }

    /// Opens the tablets of the replicas that a layout has here, or that were left here, before the loops ask for them.
    func prepareTablets(of layout: ClusterLayout) async throws {
        var directories: [String] = []
        for description in layout.groups where try !folders.rejoins(description.id) {
            let isFounder = layout.version == 0 && description.voters.contains(configuration.node)
            if try isFounder || hasReplica(of: description.id) { directories.append(folders.path(of: description.id)) }
        }
        try fileSystem.createDirectory(folders.directory)
        await prepared.prepare(directories, in: fileSystem, open: openEngine)
    }

    /// Whether the folder holds a replica of the group.
    func hasReplica(of group: GroupID) throws -> Bool { try folders.hasReplica(of: group) }

    /// Deletes the files of a replica, which must be closed, and which the log has forgotten.
    func removeReplica(of group: GroupID) throws { try folders.remove(group) }

    /// Which folders the peers came with.
    func acquaintances() -> PeerAcquaintances {
        PeerAcquaintances(identity, in: configuration.dataDirectory, fileSystem)
    }

    // MARK: Layout

    /// The newest layout that this node had heard of; nil when it never heard of any but the configuration's.
    func storedLayout() throws -> ClusterLayout? { try StoredLayout.read(in: configuration.dataDirectory, fileSystem) }

    /// Remembers a layout for the next start, when the meta group may not be within reach.
    func store(_ layout: ClusterLayout) throws {
        try StoredLayout.write(layout, in: configuration.dataDirectory, fileSystem)
    }

    private func databaseOptions(_ shared: NodeShared) -> GroupDatabaseOptions {
        var options = GroupDatabaseOptions()
        options.cursorSeed = UInt64.random(in: 1 ... .max)
        options.defects = configuration.defects
        options.spill = spill
        options.queryMemory = shared.queryMemory
        options.stageMemory = shared.stageMemory
        return options
    }

    private var openEngine: @Sendable (String) throws -> Engine {
        let (fileSystem, background, prepared) = (fileSystem, background, prepared)
        var options = EngineOptions()
        options.memtableBytesMax = configuration.memtableBytesMax
        options.blockCache = cache
        options.memoryBudget = memory
        // Bulk loads are faster that way; reads right after them wait for the disk.
        options.tablesPassPageCache = true
        options.compactionRate = compactionRate
        options.wal = configuration.tabletsHaveWAL ? .enabled : .disabled
        let settled = options
        return { directory in
            if let engine = prepared.take(directory) { return engine }
            return try Engine.open(
                directory: directory, fileSystem: fileSystem, options: settled, background: background)
        }
    }

    /// Ends the node's threads; the tablets must be closed already.
    func close() async {
        // Readers that are at work end by themselves; there is nothing to do about one that does not.
        try? await readers.shutdownGracefully()
        writer.stop()
        lock.release()
    }
}

/// Leaves a loop's batches with the log thread, and tells the loop when they are on the disk.
private final class LoopLogSink: LogSink {
    private let writer: LogWriter
    private unowned let loop: NodeLoop
    private let logger: Logger

    init(writer: LogWriter, loop: NodeLoop, logger: Logger) {
        self.writer = writer
        self.loop = loop
        self.logger = logger
    }

    func submit(_ batch: LogBatch) {
        let (id, loop, logger) = (batch.id, loop, logger)
        writer.submit(batch) { result in
            switch result {
            case .success: loop.eventLoop.execute { loop.assumeIsolated { $0.logPersisted(id) } }
            case .failure(let error) where error.code == .closed: break
            case .failure(let error):
                // What a failed sync left on the disk is unknown; only a fresh start reads what is really there.
                logger.critical("the log cannot be written, the node ends", metadata: ["reason": "\(error)"])
                fatalExit()
            }
        }
    }
}
