import CairnRaft
import CairnReplication
import NIOCore

/// Carries the frames of one loop's group host over the node's connections to its peers, which all loops share.
final class NodeTransport: PeerTransport {
    private let eventLoop: any EventLoop
    private let raft: [NodeID: PeerConnection]
    private let bulk: [NodeID: PeerConnection]

    init(eventLoop: any EventLoop, raft: [NodeID: PeerConnection], bulk: [NodeID: PeerConnection]) {
        self.eventLoop = eventLoop
        self.raft = raft
        self.bulk = bulk
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
