import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSharding
import NIOCore

/// Reaches replicas for the router of one loop: on this loop by a call, on another loop of the node by a hop, on
/// another node over this loop's own connection to it.
final class NodeGateway: GroupGateway {
    private unowned let loop: NodeLoop
    private let node: NodeID
    private let network: PeerNetwork
    /// Connections for requests, one a peer, on the loop's own event loop.
    private var peers: [NodeID: PeerConnection]

    init(loop: NodeLoop, node: NodeID, network: PeerNetwork) {
        self.loop = loop
        self.node = node
        self.network = network
        peers = network.requestConnections(ofLoop: loop.index)
    }

    /// Takes the connections that the network has for a newer layout.
    func adopt(_ layout: ClusterLayout) { peers = network.requestConnections(ofLoop: loop.index) }

    func call(
        _ request: GroupRequest, to group: GroupID, at target: NodeID, deadline: UInt64,
        completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        if target == node {
            let bound = NIOLoopBound(completion, eventLoop: loop.eventLoop)
            loop.assumeIsolated { loop in
                let owner = loop.loop(of: group)
                if owner === loop {
                    loop.execute(request, in: group) { bound.value($0) }
                } else {
                    let home = loop.eventLoop
                    owner.eventLoop.execute {
                        owner.assumeIsolated {
                            $0.execute(request, in: group) { result in home.execute { bound.value(result) } }
                        }
                    }
                }
            }
        } else if let peer = peers[target] {
            let bound = NIOLoopBound(completion, eventLoop: loop.eventLoop)
            let payload = PeerRequest(group: group, request: request).encoded
            peer.assumeIsolated {
                $0.call(payload, deadline: deadline) { answer in bound.value(PeerRequest.result(of: answer)) }
            }
        } else {
            completion(.failure(.unavailable("node \(target.rawValue) is not in the cluster")))
        }
    }

    func leader(of group: GroupID) -> NodeID? {
        loop.assumeIsolated { loop in
            let owner = loop.loop(of: group)
            return owner === loop ? loop.leader(of: group) : nil
        }
    }
}

/// A request to a group, as it travels on a peer connection: `group u32 LE ‖ request`.
struct PeerRequest {
    var group: GroupID
    var request: GroupRequest

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 + request.encodedBytesMax)
        unsafe withUnsafeBytes(of: group.rawValue.littleEndian) { unsafe bytes.append(contentsOf: $0) }
        request.append(to: &bytes)
        return bytes
    }

    init(group: GroupID, request: GroupRequest) {
        self.group = group
        self.request = request
    }

    /// - Throws: `DatabaseError` with code `malformed`.
    init(decoding bytes: ArraySlice<UInt8>) throws(DatabaseError) {
        guard bytes.count > 4 else { throw DatabaseError(.malformed, "a request of \(bytes.count) bytes") }
        let start = bytes.startIndex
        let number =
            UInt32(bytes[start]) | UInt32(bytes[start + 1]) << 8 | UInt32(bytes[start + 2]) << 16
            | UInt32(bytes[start + 3]) << 24
        group = GroupID(rawValue: number)
        request = try GroupRequest(decoding: bytes.dropFirst(4))
    }

    /// What a peer's answer means to the router.
    static func result(of answer: Result<ArraySlice<UInt8>, PeerCallError>) -> Result<GroupReply, GroupFailure> {
        switch answer {
        case .failure(.unreachable): return .failure(.unavailable("the peer is not connected"))
        case .failure(.lost): return .failure(.unavailable("the peer did not answer"))
        case .success(let bytes):
            do throws(DatabaseError) {
                switch try GroupAnswer(decoding: bytes, validating: false) {
                case .reply(let reply): return .success(reply)
                case .failure(let failure): return .failure(failure)
                }
            } catch {
                return .failure(.unavailable("the peer's answer cannot be read: \(error)"))
            }
        }
    }
}
