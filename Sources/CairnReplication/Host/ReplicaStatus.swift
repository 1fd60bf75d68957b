public import CairnRaft

/// How one replica of a group stands, for operators, metrics and tests.
public struct ReplicaStatus: Sendable {
    /// What a leader knows of one peer.
    public struct Peer: Hashable, Sendable {
        public var node: NodeID
        /// The last entry known to be on that node's disk.
        public var match: LogIndex
        /// Whether it answered within the last election timeout.
        public var isActive: Bool
        /// The part of a snapshot on its way that it acknowledged, nil when none is.
        public var snapshot: SnapshotProgress?
    }

    /// Bytes sent and acknowledged of a snapshot.
    public struct SnapshotProgress: Hashable, Sendable {
        public var acknowledgedBytes: UInt64
        public var totalBytes: UInt64
    }

    public var group: GroupID
    public var role: ReplicaRole
    public var term: Term
    public var commitIndex: LogIndex
    public var appliedIndex: LogIndex
    public var durableIndex: LogIndex
    public var firstLogIndex: LogIndex
    public var lastLogIndex: LogIndex
    public var logBytes: UInt64
    public var voters: [NodeID]
    /// Empty unless this replica leads.
    public var peers: [Peer]
    /// Bytes received of a snapshot, nil when none is coming.
    public var incomingSnapshot: SnapshotProgress?
    /// Whether the replica waits, without timers and messages, until the group is used again.
    public var isQuiet: Bool
    /// Why the replica does not take part, or only by its vote and log while it is rebuilt; nil when all is well.
    public var failure: ReplicationError?
}
