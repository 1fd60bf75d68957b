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
/// keyring         the data keys, where data is encrypted
/// raft/           segments of the log of all groups
/// groups/GROUP/   a replica: its tablet, and snapshots on their way in or out
/// ```
final class NodeStorage: Sendable {
    private let configuration: NodeConfiguration
    private let fileSystem: any FileSystem
    /// Nil where data is in the clear.
    let keyring: Keyring?
    private let lock: any FileLock
    private let log: SharedLog
    private let writer: LogWriter
    private let background: ThreadBackgroundExecutor
    private let cache: BlockCache
    private let compactionRate: RateLimit?
    /// Where reads go that are not answered from memory.
    private let readers: NIOThreadPool
    private let logger: Logger

    private init(
        configuration: NodeConfiguration, fileSystem: any FileSystem, lock: any FileLock, log: SharedLog, logger: Logger
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        keyring = fileSystem.keyring
        self.lock = lock
        self.log = log
        self.logger = logger
        writer = LogWriter(log)
        background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        cache = BlockCache(capacityBytes: configuration.cacheBytesMax)
        let rate = configuration.compactionBytesPerSecond
        compactionRate = rate > 0 ? RateLimit(bytesPerSecond: rate) : nil
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
        try claim(directory, for: configuration, on: plain)
        let fileSystem = PosixFileSystem(keyring: try openKeyring(directory, for: configuration, on: plain))
        let log = try SharedLog.open(
            directory: "\(directory)/raft", fileSystem: fileSystem, options: SharedLogOptions())
        return NodeStorage(
            configuration: configuration, fileSystem: fileSystem, lock: lock, log: log, logger: logger)
    }

    private static func lock(_ directory: String, on fileSystem: PosixFileSystem) throws -> any FileLock {
        do { return try fileSystem.lock("\(directory)/LOCK") } catch {
            guard error.code == .locked else { throw error }
            throw ConfigurationError(
                key: "node.data", problem: "another process uses \(directory)", fix: "stop it, or name another folder")
        }
    }

    /// The data keys, opened with the master key that the configuration leads to.
    private static func openKeyring(
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

    /// Writes who the folder belongs to, or refuses when it is someone else's: a replica under a wrong number would break
    /// the promises that its group rests on.
    private static func claim(
        _ directory: String, for configuration: NodeConfiguration, on fileSystem: PosixFileSystem
    ) throws {
        let identity: Document = [
            "cluster": .string(BSONString(configuration.clusterName)),
            "node": .int64(Int64(configuration.node.rawValue)),
            "groups": .int64(Int64(configuration.dataGroups)), "replicas": .int64(Int64(configuration.replicas)),
            "nodes": .array(BSONArray(configuration.nodes.map { .int64(Int64($0.id.rawValue)) })),
        ]
        let file = "\(directory)/NODE_ID"
        guard try fileSystem.exists(file) else {
            try fileSystem.replace(file, with: Array(ExtendedJSON.string(from: identity).utf8) + [10])
            return
        }
        let text = String(decoding: try fileSystem.contents(of: file, limit: 1 << 20), as: UTF8.self)
        guard let known = try? ExtendedJSON.document(from: text) else {
            throw ConfigurationError(key: "node.data", problem: "\(file) cannot be read", fix: "restore it from a copy")
        }
        for name in ["cluster", "node", "groups", "replicas", "nodes"] where known[name] != identity[name] {
            throw ConfigurationError(
                key: "node.data",
                problem:
                    "\(directory) was made with \(name) \(known[name].map { "\($0)" } ?? "missing"), not \(identity[name].map { "\($0)" } ?? "")",
                fix: "name the folder of this node, or set the configuration back")
        }
    }

    /// The host of the replicas that live on `loop`, with their tablets open.
    func makeHost(on loop: isolated NodeLoop, peers: PeerNetwork) throws -> (GroupHost, [DataGroup]) {
        var options = GroupHostOptions()
        options.cluster = configuration.clusterNumber
        options.raft.heartbeatInterval = .milliseconds(configuration.heartbeatMilliseconds)
        options.raft.electionTimeout = .milliseconds(configuration.electionTimeoutMilliseconds / 2)
        options.logBytesKept = UInt64(configuration.logBytesMax) / 2
        options.logEntriesKept = UInt64(configuration.logEntriesMax) / 2
        options.logBytesHeldForFollowers = UInt64(configuration.logBytesMax)
        options.logBytesBeforeFlush = UInt64(configuration.logBytesMax)
        let host = try GroupHost(
            node: configuration.node, log: log, sink: LoopLogSink(writer: writer, loop: loop, logger: logger),
            transport: peers.transport(for: loop), fileSystem: fileSystem,
            directory: "\(configuration.dataDirectory)/groups",
            options: options, seed: UInt64.random(in: 1 ... .max), now: loop.clock.nanoseconds)
        let readers = LoopReaderPool(threads: readers, eventLoop: loop.eventLoop, afterWork: loop.clock.afterWork)
        var groups: [DataGroup] = []
        for description in loop.shared.layout.groups
        where description.voters.contains(configuration.node) && loop.loop(of: description.id) === loop {
            let group = try DataGroup(
                group: description.id, node: configuration.node,
                directory: "\(configuration.dataDirectory)/groups/\(description.id.rawValue)", fileSystem: fileSystem,
                clock: loop.clock, readers: readers, databaseOptions: databaseOptions(), openEngine: openEngine)
            try host.add(
                group: description.id, voters: description.voters, preferredLeader: description.preferredLeader,
                stateMachine: group)
            group.attach(host)
            groups.append(group)
        }
        return (host, groups)
    }

    private func databaseOptions() -> GroupDatabaseOptions {
        var options = GroupDatabaseOptions()
        options.cursorSeed = UInt64.random(in: 1 ... .max)
        return options
    }

    private var openEngine: @Sendable (String) throws -> Engine {
        let (fileSystem, background) = (fileSystem, background)
        var options = EngineOptions()
        options.memtableBytesMax = configuration.memtableBytesMax
        options.blockCache = cache
        // Bulk loads are faster that way; reads right after them wait for the disk.
        options.tablesPassPageCache = true
        options.compactionRate = compactionRate
        options.wal = configuration.tabletsHaveWAL ? .enabled : .disabled
        let settled = options
        return { directory in
            try Engine.open(directory: directory, fileSystem: fileSystem, options: settled, background: background)
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
