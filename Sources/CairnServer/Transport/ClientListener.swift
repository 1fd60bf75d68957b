import CairnWire
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Accepts clients and hands their messages to the node loop that owns the connection's event loop.
struct ClientListener: Sendable {
    let loops: [NodeLoop]
    let connectionsMax: Int
    let connectionCount: ConnectionCount
    let logger: Logger

    /// Binds the client port.
    func start(on endpoint: SocketEndpoint, group: any EventLoopGroup) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard connectionCount.open(limit: connectionsMax) else { throw TooManyConnections() }
                    channel.closeFuture.whenComplete { [connectionCount] _ in connectionCount.close() }
                    guard let loop = loops.first(where: { $0.eventLoop === channel.eventLoop }) else {
                        preconditionFailure("a client channel is on a loop of another group")
                    }
                    try channel.pipeline.syncOperations.addHandler(ClientChannelHandler(loop: loop, logger: logger))
                }
            }
            .bind(host: endpoint.host, port: endpoint.port).get()
    }
}

/// More clients than the configuration allows; the connection is closed at once.
struct TooManyConnections: Error {}

/// How many clients are connected now, and were in all.
final class ConnectionCount: Sendable {
    private let current = Atomic(0)
    private let total = Atomic(0)

    /// Counts a new connection unless there are `limit` already.
    func open(limit: Int) -> Bool {
        if current.wrappingAdd(1, ordering: .relaxed).newValue > limit {
            current.wrappingSubtract(1, ordering: .relaxed)
            return false
        }
        total.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    func close() { current.wrappingSubtract(1, ordering: .relaxed) }

    var open: Int { current.load(ordering: .relaxed) }
    var everOpened: Int { total.load(ordering: .relaxed) }
}

/// The socket's end of a client connection: cuts bytes into messages, nothing else.
final class ClientChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let loop: NodeLoop
    private let logger: Logger
    private var decoder = FrameDecoder()
    private var connection: ConnectionID?

    init(loop: NodeLoop, logger: Logger) {
        self.loop = loop
        self.logger = logger
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        connection = loop.assumeIsolated { $0.open(channel) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let connection else { return }
        let buffer = unwrapInboundIn(data)
        unsafe buffer.withUnsafeReadableBytes { unsafe decoder.feed($0) }
        do {
            while let message = try decoder.next() { loop.assumeIsolated { $0.receive(message, on: connection) } }
        } catch {
            logger.warning("client sent what is no message", metadata: ["reason": "\(error)"])
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelInactive(context: ChannelHandlerContext) {
        if let connection { loop.assumeIsolated { $0.close(connection) } }
        connection = nil
        context.fireChannelInactive()
    }
}
