/// A replica's state as an operator or a test wants to see it.
public struct RaftStatus: Hashable, Sendable {
    public let id: NodeID
    public let role: RaftRole
    public let term: Term
    public let vote: NodeID?
    public let leader: NodeID?
    public let commit: LogIndex
    public let applied: LogIndex
    /// The last entry known to be on this node's disk.
    public let stable: LogIndex
    public let last: LogPosition
    public let configuration: Configuration
    public let configurationIndex: LogIndex
    /// The node that leadership is being handed to.
    public let transferTarget: NodeID?
    /// Bytes proposed and not yet committed.
    public let uncommittedBytes: Int
    /// Whether the leader told this node that it is no longer a member.
    public let isRemoved: Bool
    /// Whether the replica waits, without timers and messages, until the group is used again.
    public let isQuiet: Bool
    /// Followers and learners as the leader sees them; empty elsewhere.
    public let peers: [Peer]

    public struct Peer: Hashable, Sendable {
        public enum Phase: UInt8, Hashable, Sendable {
            /// One append at a time, until one fits.
            case probe
            /// Appends are sent ahead of their answers.
            case replicate
            /// Waits for a snapshot to be installed.
            case snapshot
        }
        public let node: NodeID
        public let match: LogIndex
        public let next: LogIndex
        public let phase: Phase
        /// Whether it answered within the last election timeout.
        public let isActive: Bool
        /// Whether it said that it would rather not lead.
        public let declinesOffice: Bool
        /// Whether it said that its log is lost: it has to be removed from the voters before it can join anew.
        public let hasLostLog: Bool
        public let inflightMessages: Int
        public let inflightBytes: Int
    }
}
