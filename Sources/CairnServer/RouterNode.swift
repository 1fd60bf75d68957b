import CairnClient
import CairnReplication
import CairnSharding
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// A router without data: the same commands and the same router as on a node, in front of a cluster elsewhere.
public final class RouterNode: Service {
    private let address: ConnectionString
    private let endpoint: SocketEndpoint
    private let configuration: NodeConfiguration
    private let arguments: [String]
    private let logger: Logger

    /// - Parameters:
    ///   - address: nodes of the cluster; the first that answers tells of the others.
    ///   - endpoint: where clients connect.
    public init(
        cluster address: ConnectionString, listening endpoint: SocketEndpoint, arguments: [String], logger: Logger
    ) {
        self.address = address
        self.endpoint = endpoint
        self.arguments = arguments
        self.logger = logger
        configuration = NodeConfiguration(standaloneIn: "", port: endpoint.port)
    }

    /// Serves until it is told to shut down.
    ///
    /// - Throws: ``ClientError`` when no node of the cluster answers, and what keeps the port from being listened on.
    public func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.eventLoops)
        let layout = try await ClusterDiscovery.layout(from: address, on: group.next())
        let shared = NodeShared(configuration: configuration, layout: layout, arguments: arguments, logger: logger)
        let loops = group.makeIterator().enumerated().map { NodeLoop(eventLoop: $1, index: $0, shared: shared) }
        for loop in loops {
            await loop.start(siblings: loops) { ClusterGateway(layout: layout, eventLoop: $0.eventLoop) }
        }
        let listener = try await ClientListener(
            loops: loops, connectionsMax: configuration.connectionsMax, connectionCount: shared.connectionCount,
            logger: logger
        ).start(on: endpoint, group: group)
        logger.info("router is up", metadata: ["client": "\(endpoint)", "nodes": "\(layout.nodes.count)"])
        let following = Task { await follow(layout, shared: shared, loops: loops, on: group.next()) }
        try await gracefulShutdown()
        following.cancel()
        shared.topology.beginShutdown()
        for loop in loops { await loop.endTopologyWaits() }
        try? await listener.close()
        for loop in loops { await loop.stop() }
        try? await shared.longQueryThreads.shutdownGracefully()
        try await group.shutdownGracefully()
    }

    /// Asks every few seconds whether nodes have come or gone.
    private func follow(
        _ first: ClusterLayout, shared: NodeShared, loops: [NodeLoop], on eventLoop: any EventLoop
    ) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(2))
            for node in shared.layout.nodes {
                guard let address = try? ConnectionString(node.clientAddress),
                    let layout = try? await ClusterDiscovery.layout(from: address, on: eventLoop)
                else { continue }
                if shared.adopt(layout) {
                    for loop in loops { await loop.adopt(layout) }
                }
                break
            }
        }
    }
}
