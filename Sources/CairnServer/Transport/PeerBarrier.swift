import CairnRaft
import Synchronization

/// Which peers this node pretends not to reach, for fault injection: frames to or from them vanish, as on a network
/// that is cut, while the connections stay open.
final class PeerBarrier: Sendable {
    struct Cut: Sendable {
        var outgoing: Set<NodeID> = []
        var incoming: Set<NodeID> = []
    }

    private let cut = Mutex(Cut())
    /// Spares the hot path the lock while nothing is cut.
    private let isActive = Atomic(false)

    func set(_ newCut: Cut) {
        cut.withLock { $0 = newCut }
        isActive.store(!newCut.outgoing.isEmpty || !newCut.incoming.isEmpty, ordering: .releasing)
    }

    var current: Cut { cut.withLock { $0 } }

    func stopsSending(to peer: NodeID) -> Bool {
        isActive.load(ordering: .acquiring) && cut.withLock { $0.outgoing.contains(peer) }
    }

    func stopsReceiving(from peer: NodeID) -> Bool {
        isActive.load(ordering: .acquiring) && cut.withLock { $0.incoming.contains(peer) }
    }
}
