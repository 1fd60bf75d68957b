import CairnRaft
import Logging
import NIOCore
import NIOPosix

/// What a node does with what its peers send. Called on the event loop of the connection.
protocol PeerInbox: Sendable {
    /// Whether the cluster has a node of that number, as far as is known here.
    func isMember(_ node: NodeID) -> Bool
    /// A frame of Raft messages or a piece of a snapshot.
    func receive(_ bytes: ArraySlice<UInt8>, from peer: NodeID, over purpose: LinkHello.Purpose, on loop: any EventLoop)
    /// A forwarded request; `answer` may be called later, on any thread, at most once.
    func execute(
        _ request: ArraySlice<UInt8>, from peer: NodeID, answer: @escaping @Sendable ([UInt8]) -> Void,
        on loop: any EventLoop)
}

/// Accepts the connections of peers.
struct PeerListener: Sendable {
    let node: NodeID
    let link: LinkName
    let acquaintances: PeerAcquaintances
    let inbox: any PeerInbox
    let barrier: PeerBarrier
    let logger: Logger

    /// Binds the peer port.
    func start(on endpoint: SocketEndpoint, group: any EventLoopGroup) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 256)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    let caller = IncomingPeer(listener: self, channel: channel)
                    try channel.pipeline.syncOperations.addHandler(
                        LinkFrameHandler(
                            onFrame: { frame, _ in try caller.receive(frame) },
                            onClose: { error in caller.closed(error) }))
                }
            }
            .bind(host: endpoint.host, port: endpoint.port).get()
    }
}

/// One accepted connection: first it says who it is, then its frames are handed on.
private final class IncomingPeer {
    private let listener: PeerListener
    private let channel: any Channel
    private var caller: (node: NodeID, purpose: LinkHello.Purpose)?

    init(listener: PeerListener, channel: any Channel) {
        self.listener = listener
        self.channel = channel
    }

    /// Takes a hello's word for who calls, or tells the caller why not.
    private func admit(_ frame: LinkFrame) throws(LinkRefusal) {
        do throws(LinkRefusal) {
            guard frame.kind == .hello else { throw LinkRefusal(reason: "its first frame is not a hello") }
            let hello = try LinkHello(parsing: frame.payload)
            if let refusal = listener.link.refusal(of: LinkName(parsing: hello.cluster)) { throw refusal }
            guard hello.receiver == listener.node.rawValue else {
                throw LinkRefusal(
                    reason: "it looks for node \(hello.receiver), and this is node \(listener.node.rawValue)")
            }
            let node = NodeID(rawValue: hello.sender)
            try listener.acquaintances.admit(
                node, folder: hello.folder, isMember: listener.inbox.isMember(node))
            caller = (node, hello.purpose)
        } catch {
            var buffer = channel.allocator.buffer(capacity: LinkFrame.headerByteCount + error.encoded.count)
            LinkFrame.append(kind: .refusal, payload: error.encoded, to: &buffer)
            channel.writeAndFlush(buffer, promise: nil)
            throw error
        }
    }

    func receive(_ frame: LinkFrame) throws {
        guard let caller else { return try admit(frame) }
        guard !listener.barrier.stopsReceiving(from: caller.node) else { return }
        switch frame.kind {
        case .raft, .bulk:
            listener.inbox.receive(
                Array(frame.payload.readableBytesView)[...], from: caller.node, over: caller.purpose,
                on: channel.eventLoop)
        case .request:
            var payload = frame.payload
            guard let number = payload.readInteger(endianness: .little, as: UInt64.self) else {
                throw LinkRefusal(reason: "a request without a number")
            }
            let (channel, barrier, node) = (channel, listener.barrier, caller.node)
            listener.inbox.execute(
                Array(payload.readableBytesView)[...], from: node,
                answer: { reply in
                    guard !barrier.stopsSending(to: node) else { return }
                    var prefixed: [UInt8] = []
                    prefixed.reserveCapacity(8 + reply.count)
                    unsafe withUnsafeBytes(of: number.littleEndian) { unsafe prefixed.append(contentsOf: $0) }
                    prefixed.append(contentsOf: reply)
                    var buffer = channel.allocator.buffer(capacity: LinkFrame.headerByteCount + prefixed.count)
                    LinkFrame.append(kind: .response, payload: prefixed, to: &buffer)
                    channel.writeAndFlush(buffer, promise: nil)
                }, on: channel.eventLoop)
        case .ping:
            guard !listener.barrier.stopsSending(to: caller.node) else { return }
            var buffer = channel.allocator.buffer(capacity: LinkFrame.headerByteCount)
            LinkFrame.append(kind: .pong, payload: [], to: &buffer)
            channel.writeAndFlush(buffer, promise: nil)
        case .hello, .response, .pong, .refusal: throw LinkRefusal(reason: "an unexpected frame")
        }
    }

    func closed(_ error: (any Error)?) {
        guard let error else { return }
        listener.logger.warning(
            "peer connection refused or broken",
            metadata: [
                "peer": "\(caller.map { "\($0.node.rawValue)" } ?? channel.remoteAddress?.description ?? "unknown")",
                "reason": "\((error as? LinkRefusal)?.reason ?? "\(error)")",
            ])
    }
}
