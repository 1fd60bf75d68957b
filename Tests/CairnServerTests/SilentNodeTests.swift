import CairnBSON
import CairnClient
import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSharding
import CairnWire
import NIOCore
import NIOPosix
import Testing

/// A process that was stopped keeps its connections: it takes whatever is sent and answers nothing.
@Suite struct SilentNodeTests {
    @Test func aClientPassesOverAHostThatAnswersNothing() async throws {
        let silent = try await FakeNode.start { _ in nil }
        let layout = ClusterLayout.spread(
            nodes: [description(of: silent.address)], dataGroups: 1, replicas: 1)
        let other = try await FakeNode.start { command in
            guard command["cairnLayout"] != nil else { return nil }
            var reply = layout.document
            reply.set("ok", .double(1))
            return reply
        }
        let client = try await CairnClient.connect(to: "\(silent.address),\(other.address)")
        #expect(try await client.nodeAddresses() == [silent.address])
        await client.close()
        try await silent.stop()
        try await other.stop()
    }

    @Test func aCallToANodeThatFallsSilentEndsLongBeforeItsDeadline() async throws {
        let silent = try await FakeNode.start { _ in nil }
        let began = NIODeadline.now()
        let answer = try await call(silent.address, within: .seconds(60))
        #expect(answer.contains("unavailable"))
        #expect(NIODeadline.now() - began < .seconds(20))
        try await silent.stop()
    }

    @Test func aCallThatTakesLongIsWaitedForWhileItsNodeGivesSignsOfLife() async throws {
        let slow = try await FakeNode.start { command in command["ping"] != nil ? ["ok": 1.0] : nil }
        let began = NIODeadline.now()
        let answer = try await call(slow.address, within: .seconds(5))
        #expect(answer.contains("given up"))
        #expect(NIODeadline.now() - began >= .seconds(5))
        try await slow.stop()
    }

    @Test func aGatewayThatIsClosedWhileItConnectsAnswersItsCallers() async throws {
        let silent = try await FakeNode.start { _ in nil }
        let answer = try await call(silent.address, within: .seconds(60)) { $0.close() }
        #expect(answer.contains("unavailable"))
        try await silent.stop()
    }

    /// Asks the node's only data group for something, and tells what became of it.
    private func call(
        _ address: String, within timeout: TimeAmount, then act: @escaping @Sendable (ClusterGateway) -> Void = { _ in }
    ) async throws -> String {
        let layout = ClusterLayout.spread(nodes: [description(of: address)], dataGroups: 1, replicas: 1)
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        return try await eventLoop.flatSubmit {
            let promise = eventLoop.makePromise(of: String.self)
            let gateway = ClusterGateway(layout: layout, eventLoop: eventLoop)
            gateway.call(
                GroupRequest(.find, collection: CollectionID(rawValue: 7)), to: layout.groups[1].id,
                at: layout.nodes[0].id, deadline: (NIODeadline.now() + timeout).uptimeNanoseconds
            ) {
                promise.succeed("\($0)")
                gateway.close()
            }
            act(gateway)
            return promise.futureResult
        }.get()
    }

    private func description(of address: String) -> NodeDescription {
        NodeDescription(
            id: NodeID(rawValue: 1), clientAddress: address, peerAddress: "127.0.0.1:1", httpAddress: "127.0.0.1:2")
    }
}

/// Takes connections, and answers what `reply` answers.
private struct FakeNode {
    let address: String
    private let channel: any Channel

    static func start(_ reply: @escaping @Sendable (Document) -> Document?) async throws -> FakeNode {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Answerer(reply))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return FakeNode(address: "127.0.0.1:\(channel.localAddress?.port ?? 0)", channel: channel)
    }

    func stop() async throws { try await channel.close() }
}

private final class Answerer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let reply: (Document) -> Document?
    private var decoder = FrameDecoder()

    init(_ reply: @escaping (Document) -> Document?) { self.reply = reply }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unwrapInboundIn(data).withUnsafeReadableBytes { decoder.feed($0) }
        do {
            while let frame = try decoder.next() {
                let header = try MessageHeader(parsing: frame)
                guard let answer = reply(try OpMsg(parsing: frame).body) else { continue }
                let bytes = OpMsg(body: answer).encoded(requestID: 1, responseTo: header.requestID)
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
            }
        } catch {
            Issue.record(error)
        }
    }
}
