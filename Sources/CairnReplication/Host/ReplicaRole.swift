public import CairnRaft

/// What a replica is in its group, as its state machine and its users see it.
public enum ReplicaRole: Hashable, Sendable {
    /// It leads in that term, and the empty entry that opens the term is proposed.
    case leader(term: Term)
    /// It follows, votes or campaigns; `leader` is whom it believes to lead, if anyone.
    case follower(leader: NodeID?)

    public var isLeader: Bool {
        switch self {
        case .leader: true
        case .follower: false
        }
    }
}
