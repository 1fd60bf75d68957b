import CairnFiles
public import CairnRaft
public import CairnReplication
import CairnSharding
import CairnStorage

/// Making one survivor the whole cluster, when so many nodes are lost for good that the groups have no majority any more.
///
/// What it looks at and what it does are two steps, so that an operator sees what may be lost before it is. The node must be
/// down. Three things are changed, in this order, each of them durable before the next:
///
/// 1. `NODE_ID` says that the cluster begins another life (``ClusterLife``): from here on nodes of the one before are turned
///    away.
/// 2. `layout` has this node alone.
/// 3. The log of each group ends with a configuration of which this node is the only voter.
///
/// After a crash in between some groups have no leader yet; the same command finishes the work.
public struct NodeRecovery {
    /// One group of the cluster, as this node has it.
    public struct Replica: Sendable {
        public let group: GroupID
        /// Nodes besides this one that had a replica.
        public let others: [NodeID]
        /// The last entry here; nil when this node has no replica of the group.
        public let last: LogPosition?
        /// The highest index that this node knows to be committed.
        public let committed: LogIndex?
        /// Why the group cannot be recovered from this folder; nil when it can.
        public let problem: String?
    }

    public let node: NodeID
    public let cluster: String
    /// Every group of the cluster, in ascending order.
    public let replicas: [Replica]
    /// The nodes that would be given up.
    public let lost: [NodeID]

    private let configuration: NodeConfiguration
    private let identity: NodeIdentity
    private let layout: ClusterLayout
    private let lock: any FileLock
    private let fileSystem: PosixFileSystem

    private var directory: String { configuration.dataDirectory }

    /// Looks at the folder of a survivor, without changing anything, and keeps its node from starting meanwhile.
    ///
    /// - Parameter configuration: what the node is started with.
    /// - Throws: ``ConfigurationError`` when the folder is not that node's, is in use, or cannot be opened; what the log
    ///   says when it cannot be read at all.
    public init(_ configuration: NodeConfiguration) throws {
        let plain = PosixFileSystem()
        let directory = configuration.dataDirectory
        guard let identity = try NodeIdentity.read(in: directory, plain) else {
            throw ConfigurationError(
                key: "node.data", problem: "\(directory) is not the folder of a node", fix: "name the survivor's folder"
            )
        }
        lock = try NodeStorage.lock(directory, on: plain)
        try identity.check(against: NodeIdentity(configuration), directory)
        self.configuration = configuration
        self.identity = identity
        node = identity.node
        cluster = identity.cluster
        fileSystem = PosixFileSystem(keyring: try NodeStorage.openKeyring(directory, for: configuration, on: plain))
        let layout = try StoredLayout.read(in: directory, plain) ?? configuration.layout
        self.layout = layout
        lost = layout.nodes.map(\.id).filter { $0 != identity.node }
        let logs = Dictionary(
            uniqueKeysWithValues: try SharedLog.summaries(in: "\(directory)/raft", fileSystem: fileSystem)
                .map { ($0.group, $0) })
        replicas = try layout.groups.map { group in
            let others = Set(group.voters + group.founders).subtracting([identity.node]).sorted()
            let folder = "\(directory)/groups/\(group.id.rawValue)"
            let isHere = try plain.exists(folder)
            let log = isHere ? logs[group.id] : nil
            var problem = log?.damage
            if isHere, let damage = try DataGroup.notedDamage(in: folder, plain) {
                problem = "its tablet is damaged: \(damage)"
            } else if group.id == .meta, !isHere {
                problem = "the meta group has no replica here, and without it no collection can be found"
            }
            return Replica(
                group: group.id, others: others, last: isHere ? log?.last ?? .zero : nil,
                committed: isHere ? log?.committed ?? .zero : nil, problem: problem)
        }
    }

    /// Whether the layout has a node besides this one; a node that is alone has nothing to recover from.
    public var isAlone: Bool { lost.isEmpty && layout.groups.allSatisfy { $0.voters == [node] } }

    /// Begins the cluster's next life on this node alone. Groups without a replica here begin empty.
    ///
    /// - Throws: ``ConfigurationError`` when a group cannot be recovered from this folder, before anything is changed; what
    ///   the file system and the log say.
    public func carryOut() throws {
        if let replica = replicas.first(where: { $0.problem != nil }) {
            throw ConfigurationError(
                key: "node.data",
                problem: "group \(replica.group.rawValue) cannot be recovered from \(directory): \(replica.problem!)",
                fix: "recover another survivor")
        }
        guard let alone = layout.recovered(on: node) else {
            throw ConfigurationError(
                key: "node.data", problem: "node \(node.rawValue) was removed from the cluster",
                fix: "recover another survivor")
        }
        let applied = try openTablets()
        var identity = identity
        identity.life = identity.life.next(mark: UInt64.random(in: 1 ... .max))
        identity.acquaintances = [:]
        try identity.write(in: directory, fileSystem)
        try StoredLayout.write(alone, in: directory, fileSystem)
        let log = try SharedLog.open(directory: "\(directory)/raft", fileSystem: fileSystem)
        for replica in replicas {
            try log.makeSoleVoter(
                node, of: replica.group, applied: applied[replica.group] ?? .zero, mayBeginEmpty: replica.last == nil)
        }
        try log.close()
        lock.release()
    }

    /// Opens the tablet of each group, which makes those that are not here, and says what it has applied.
    private func openTablets() throws -> [GroupID: LogPosition] {
        let background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        var options = EngineOptions()
        options.wal = configuration.tabletsHaveWAL ? .enabled : .disabled
        let settled = options
        let fileSystem = fileSystem
        var applied: [GroupID: LogPosition] = [:]
        for replica in replicas {
            let tablet = try DataGroup(
                group: replica.group, node: node, directory: "\(directory)/groups/\(replica.group.rawValue)",
                fileSystem: fileSystem, clock: StoppedClock(),
                openEngine: {
                    try Engine.open(directory: $0, fileSystem: fileSystem, options: settled, background: background)
                })
            if let damage = tablet.damage {
                throw ConfigurationError(
                    key: "node.data",
                    problem:
                        "group \(replica.group.rawValue) cannot be recovered from \(directory): its tablet is damaged: \(damage)",
                    fix: "recover another survivor")
            }
            applied[replica.group] = LogPosition(term: tablet.appliedTerm, index: tablet.appliedIndex)
            try tablet.close()
        }
        return applied
    }
}

/// The time of somebody who waits for nothing.
private final class StoppedClock: RouterClock {
    let nanoseconds: UInt64 = 0
    let wallMilliseconds: Int64 = 0
    func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void) {}
}
