import CairnRaft
import CairnReplication
import CairnSharding
import Logging
import NIOCore
import Synchronization

/// A node's outgoing connections: to each peer one for Raft and one for snapshots, shared by all loops, and one for
/// requests from each loop. Peers come and go with the layout.
final class PeerNetwork: Sendable {
    private struct Peer {
        let address: String
        let raft: PeerConnection
        let bulk: PeerConnection
        /// In the order of the loops.
        let requests: [PeerConnection]

        var all: [PeerConnection] { [raft, bulk] + requests }
    }

    private let identity: NodeIdentity
    private let loops: [NodeLoop]
    private let barrier: PeerBarrier
    private let logger: Logger
    private let peers = Mutex<[NodeID: Peer]>([:])
    private let liveness = PeerLiveness()

    init(identity: NodeIdentity, loops: [NodeLoop], barrier: PeerBarrier, logger: Logger) {
        self.identity = identity
        self.loops = loops
        self.barrier = barrier
        self.logger = logger
    }

    /// Connects to the nodes that are new in the layout, and ends the connections to those that are gone.
    func adopt(_ layout: ClusterLayout) {
        let wanted = layout.nodes.filter { $0.id != identity.node }
        let (added, removed) = peers.withLock { peers in
            var added: [Peer] = []
            var removed: [Peer] = []
            for (id, peer) in peers where !wanted.contains(where: { $0.id == id && $0.peerAddress == peer.address }) {
                removed.append(peer)
                peers[id] = nil
            }
            for node in wanted where peers[node.id] == nil {
                guard let endpoint = SocketEndpoint(parsing: node.peerAddress) else {
                    logger.error("a peer's address cannot be read", metadata: ["address": "\(node.peerAddress)"])
                    continue
                }
                let peer = makePeer(node, endpoint)
                peers[node.id] = peer
                added.append(peer)
            }
            return (added, removed)
        }
        for connection in added.flatMap(\.all) { connection.onLoop { $0.start() } }
        for connection in removed.flatMap(\.all) { connection.onLoop { $0.close() } }
    }

    private func makePeer(_ node: NodeDescription, _ endpoint: SocketEndpoint) -> Peer {
        let (loops, liveness) = (loops, liveness)
        func connection(on loop: NodeLoop, for purpose: LinkHello.Purpose) -> PeerConnection {
            PeerConnection(
                eventLoop: loop.eventLoop, peer: node.id, endpoint: endpoint,
                hello: LinkHello(
                    purpose: purpose, sender: identity.node.rawValue, receiver: node.id.rawValue,
                    folder: identity.folder, cluster: identity.link.text),
                barrier: barrier, logger: logger, liveness: liveness,
                onDisconnect: { peer in
                    guard purpose == .raft else { return }
                    for loop in loops { loop.onLoop { $0.peerDisconnected(peer) } }
                })
        }
        return Peer(
            address: node.peerAddress, raft: connection(on: loops[0], for: .raft),
            bulk: connection(on: loops[0], for: .bulk), requests: loops.map { connection(on: $0, for: .requests) })
    }

    /// The connections for requests of the loop with that number.
    func requestConnections(ofLoop index: Int) -> [NodeID: PeerConnection] {
        peers.withLock { $0.mapValues { $0.requests[index] } }
    }

    /// The connections that all loops' group hosts share.
    func hostConnections() -> (raft: [NodeID: PeerConnection], bulk: [NodeID: PeerConnection]) {
        peers.withLock { ($0.mapValues(\.raft), $0.mapValues(\.bulk)) }
    }

    /// Asks every peer for a sign of life; ``lastHeard(_:)`` tells what came of it.
    func ping() {
        for peer in peers.withLock({ Array($0.values) }) { peer.requests[0].onLoop { $0.ping() } }
    }

    /// When a peer last sent anything, by the monotonic clock; nil when it has not since this process began.
    func lastHeard(_ peer: NodeID) -> UInt64? { liveness.lastHeard(peer) }

    func stop() async {
        for connection in peers.withLock({ $0.values.flatMap(\.all) }) { await connection.close() }
    }
}

/// When each peer was last heard of.
final class PeerLiveness: Sendable {
    private let times = Mutex<[NodeID: UInt64]>([:])

    func heard(_ peer: NodeID) { times.withLock { $0[peer] = LoopClock.monotonicNanoseconds } }

    func lastHeard(_ peer: NodeID) -> UInt64? { times.withLock { $0[peer] } }
}

/// Hands what peers send to the loops whose groups it concerns.
struct NodeInbox: PeerInbox {
    let loops: [NodeLoop]
    let shared: NodeShared
    let clusterNumber: UInt64

    func isMember(_ node: NodeID) -> Bool { shared.layout.node(node) != nil }

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
                in: bytes, cluster: clusterNumber, from: peer, to: shared.configuration.node)
            for (index, loop) in loops.enumerated() {
                let own = messages.filter { $0.group == .node || Int($0.group.rawValue) % loops.count == index }
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
