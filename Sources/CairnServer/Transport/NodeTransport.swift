import CairnRaft
import CairnReplication
import NIOCore

/// Carries the frames of one loop's group host over the node's connections to its peers, which all loops share.
final class NodeTransport: PeerTransport {
    private let eventLoop: any EventLoop
    private var raft: [NodeID: PeerConnection] = [:]
    private var bulk: [NodeID: PeerConnection] = [:]

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Takes the connections of a newer layout.
    func use(_ connections: (raft: [NodeID: PeerConnection], bulk: [NodeID: PeerConnection])) {
        (raft, bulk) = connections
    }

    func send(_ frame: [UInt8], to peer: NodeID, over channel: PeerChannel) {
        let kind: LinkFrameKind = channel == .raft ? .raft : .bulk
        guard let connection = channel == .raft ? raft[peer] : bulk[peer] else { return }
        if connection.eventLoop === eventLoop {
            connection.assumeIsolated { $0.send(kind, frame) }
        } else {
            connection.eventLoop.execute { connection.assumeIsolated { $0.send(kind, frame) } }
        }
    }
}
