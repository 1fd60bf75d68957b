import CairnBSON
import CairnDatabase
import CairnDefects
import CairnFiles
import CairnRaft
import CairnReplication
import CairnSharding
import CairnStorage
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// A whole node: its data folder, its event loops, its listeners.
///
/// As a service it runs until it is told to shut down: then it hands its leaderships to other nodes, lets its clients go,
/// and closes its tablets.
public final class Node: Service {
    let shared: NodeShared
    let barrier = PeerBarrier()
    let loops: [NodeLoop]
    private let eventLoops: MultiThreadedEventLoopGroup

    /// - Parameter arguments: the command line, for `getCmdLineOpts`.
    public init(configuration: NodeConfiguration, arguments: [String], logger: Logger) {
        shared = NodeShared(
            configuration: configuration, layout: configuration.layout, arguments: arguments, logger: logger)
        eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: configuration.eventLoops)
        let shared = shared
        loops = eventLoops.makeIterator().enumerated().map { NodeLoop(eventLoop: $1, index: $0, shared: shared) }
    }

    /// Opens the data folder, serves, and returns after a clean shutdown.
    ///
    /// - Throws: what the node cannot start with: a folder in use or of another node, a port that is taken, damage.
    public func run() async throws {
        let configuration = shared.configuration
        let files = FileDescriptorLimit.raise()
        // Two a tablet, a few for tables that are read, and one a connection.
        let wanted = 4 * (configuration.dataGroups + 1) + configuration.connectionsMax + 100
        if files < wanted {
            shared.logger.notice(
                "the process may not open as many files as it might want to; raise its limit of open files",
                metadata: ["limit": "\(files)", "wanted": "\(wanted)"])
        }
        if !configuration.defects.list.isEmpty {
            shared.logger.warning(
                "this node has deliberate bugs and loses data",
                metadata: ["defects": "\(configuration.defects.list.map(\.rawValue).joined(separator: ","))"])
        }
        let storage = try NodeStorage.open(configuration, logger: shared.logger)
        shared.dataKeys.withLock { $0 = storage.dataKeys }
        if let stored = try storage.storedLayout() { _ = shared.adopt(stored) }
        try await storage.prepareTablets(of: shared.layout)
        let peers = PeerNetwork(identity: storage.identity, loops: loops, barrier: barrier, logger: shared.logger)
        peers.adopt(shared.layout)
        for loop in loops {
            await loop.start(siblings: loops) { NodeGateway(loop: $0, node: configuration.node, network: peers) }
            try await loop.host(in: storage, peers: peers)
        }
        let peerListener = try await bind("peer", configuration.address.peer) {
            try await PeerListener(
                node: configuration.node, link: storage.identity.link, acquaintances: storage.acquaintances(),
                inbox: NodeInbox(loops: loops, shared: shared, clusterNumber: storage.identity.link.number),
                barrier: barrier, logger: shared.logger
            ).start(on: $0, group: eventLoops)
        }
        let clientListener = try await bind("client", configuration.address.client) {
            try await ClientListener(
                loops: loops, connectionsMax: configuration.connectionsMax, connectionCount: shared.connectionCount,
                logger: shared.logger
            ).start(on: $0, group: eventLoops)
        }
        shared.logger.info(
            "node is up",
            metadata: [
                "node": "\(configuration.node.rawValue)", "client": "\(configuration.address.client)",
                "data": "\(configuration.dataDirectory)",
            ])
        let admin = AdminEndpoint(node: self).application()
        // It ends by itself when the service group asks for a graceful shutdown.
        try await admin.run()
        shared.logger.info("shutting down", metadata: ["node": "\(configuration.node.rawValue)"])
        try? await clientListener.close()
        shared.topology.beginShutdown()
        for loop in loops { await loop.endTopologyWaits() }
        await drain()
        for loop in loops { await loop.stop() }
        await peers.stop()
        try? await peerListener.close()
        for loop in loops { await loop.closeGroups() }
        // What computes for long there was interrupted, with the commands of this node's clients and with its groups.
        try? await shared.longQueryThreads.shutdownGracefully()
        await storage.close()
        try await eventLoops.shutdownGracefully()
        shared.logger.info("node is down", metadata: ["node": "\(configuration.node.rawValue)"])
    }

    /// Hands leaderships over for up to five seconds: a majority elsewhere takes them, and where there is none nobody can.
    private func drain() async {
        for _ in 0..<100 {
            var isDrained = true
            for loop in loops where await !loop.drain() { isDrained = false }
            if isDrained { return }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    private func bind(
        _ what: String, _ endpoint: SocketEndpoint, _ start: (SocketEndpoint) async throws -> any Channel
    ) async throws -> any Channel {
        do { return try await start(endpoint) } catch {
            throw ConfigurationError(
                key: "cluster.nodes", problem: "the \(what) address \(endpoint) cannot be listened on (\(error))",
                fix: "stop what uses the port, or choose another")
        }
    }

    /// The replicas on this node, in order of their groups.
    func groupStatuses() async -> [ReplicaStatus] {
        var all: [ReplicaStatus] = []
        for loop in loops { all += await loop.groupStatuses() }
        return all.sorted { $0.group.rawValue < $1.group.rawValue }
    }

    /// How much room the disk has.
    func space() async -> DiskSpace? { await loops[0].nodeSpace() }

    /// Groups with a replica here whose leader is not known.
    func leaderlessGroups() async -> [GroupID] {
        await groupStatuses().filter { status in
            if case .follower(nil) = status.role { true } else { false }
        }.map(\.group)
    }
}

extension NodeLoop {
    func groupStatuses() -> [ReplicaStatus] {
        groups.keys.compactMap { host?.status(of: $0) }
    }

    /// How much room the disk has, by this loop's last reading; nil on a router, which has none.
    var space: DiskSpace? { host?.space }

    /// The worst that any loop of the node knows about the disk.
    func nodeSpace() async -> DiskSpace? {
        var worst: DiskSpace?
        for loop in siblings {
            guard let space = await loop.space else { continue }
            if worst.map({ $0.state < space.state }) ?? true { worst = space }
        }
        return worst
    }
}
