import CairnRaft
import CairnReplication
import Logging
import NIOCore

/// A node's outgoing connections: to each peer one for Raft and one for snapshots, shared by all loops, and one for
/// requests from each loop.
final class PeerNetwork: Sendable {
    private let node: NodeID
    private let raft: [NodeID: PeerConnection]
    private let bulk: [NodeID: PeerConnection]
    private let requests: [ObjectIdentifier: [NodeID: PeerConnection]]

    init(configuration: NodeConfiguration, loops: [NodeLoop], barrier: PeerBarrier, logger: Logger) {
        node = configuration.node
        func connections(on loop: NodeLoop, for purpose: LinkHello.Purpose) -> [NodeID: PeerConnection] {
            var made: [NodeID: PeerConnection] = [:]
            for peer in configuration.nodes where peer.id != configuration.node {
                made[peer.id] = PeerConnection(
                    eventLoop: loop.eventLoop, peer: peer.id, endpoint: peer.peer,
                    hello: LinkHello(
                        purpose: purpose, sender: configuration.node.rawValue, receiver: peer.id.rawValue,
                        cluster: configuration.clusterName),
                    barrier: barrier, logger: logger,
                    onDisconnect: { peer in
                        guard purpose == .raft else { return }
                        for loop in loops { loop.onLoop { $0.peerDisconnected(peer) } }
                    })
            }
            return made
        }
        raft = connections(on: loops[0], for: .raft)
        bulk = connections(on: loops[0], for: .bulk)
        requests = Dictionary(
            uniqueKeysWithValues: loops.map { (ObjectIdentifier($0), connections(on: $0, for: .requests)) })
    }

    /// The way of one loop's router to every replica.
    func gateway(for loop: isolated NodeLoop) -> NodeGateway {
        NodeGateway(loop: loop, node: node, peers: requests[ObjectIdentifier(loop)] ?? [:])
    }

    /// The way of one loop's group host to its peers.
    func transport(for loop: isolated NodeLoop) -> NodeTransport {
        NodeTransport(eventLoop: loop.eventLoop, raft: raft, bulk: bulk)
    }

    private var all: [PeerConnection] {
        Array(raft.values) + Array(bulk.values) + requests.values.flatMap { $0.values }
    }

    func start() async { for connection in all { await connection.start() } }
    func stop() async { for connection in all { await connection.close() } }
}

/// Hands what peers send to the loops whose groups it concerns.
struct NodeInbox: PeerInbox {
    let loops: [NodeLoop]
    let shared: NodeShared

    func receive(
        _ bytes: ArraySlice<UInt8>, from peer: NodeID, over purpose: LinkHello.Purpose, on eventLoop: any EventLoop
    ) {
        let channel: PeerChannel = purpose == .bulk ? .bulk : .raft
        if loops.count == 1 {
            loops[0].onLoop { $0.receive(bytes, from: peer, over: channel) }
            return
        }
        do throws(PeerCodecError) {
            let messages = try PeerCodec.messages(
                in: bytes, cluster: shared.configuration.clusterNumber, from: peer, to: shared.configuration.node)
            for (index, loop) in loops.enumerated() {
                let own = messages.filter { Int($0.group.rawValue) % loops.count == index }
                if !own.isEmpty { loop.onLoop { $0.receive(own) } }
            }
        } catch {
            shared.logger.warning(
                "a peer's frame was refused", metadata: ["peer": "\(peer.rawValue)", "reason": "\(error)"])
        }
    }

    func execute(
        _ request: ArraySlice<UInt8>, from peer: NodeID, answer: @escaping @Sendable ([UInt8]) -> Void,
        on eventLoop: any EventLoop
    ) {
        guard request.count > 4 else { return answer([]) }
        let start = request.startIndex
        let group = (0..<4).reduce(UInt32(0)) { $0 | UInt32(request[start + $1]) << (8 * UInt32($1)) }
        loops[0].call(request.dropFirst(4), group: GroupID(rawValue: group), among: loops, answer: answer)
    }
}
