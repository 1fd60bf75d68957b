import CairnRaft
import DequeModule

/// One group's replica on this node, as its host keeps it.
final class Replica {
    let group: GroupID
    let stateMachine: any ReplicatedStateMachine
    let log: GroupLog
    var preferredLeader: NodeID?
    /// Where the group's replicas belong; nil when nobody said, and they stay where they are.
    var wantedVoters: [NodeID]?
    /// Whether the members may not be those wanted; false once a leader saw that they are.
    var mayBeMisplaced = false
    var nextInquiry: UInt64 = 0
    var core: RaftCore
    /// As the state machine was last told.
    var role = ReplicaRole.follower(leader: nil)
    var isDirty = false
    /// Its place among the host's active replicas; nil while it is not one.
    var activePosition: Int?
    /// Why the replica stopped; the host leaves it alone then.
    var failure: ReplicationError?
    /// What is wrong with the tablet. With peers the replica is being rebuilt; alone it goes on with what can be read.
    var damage: ReplicationError?
    /// Whether anyone else takes part: alone, there is nobody to hand over to.
    var hasPeers: Bool

    /// Committed entries that the state machine found no room for, with what is handed out meanwhile.
    var unapplied: [Entry] = []
    var nextApplyAttempt: UInt64 = 0
    /// As the core said when it was last asked.
    var isQuorumShortOfSpace = false

    /// Reads that wait for a round to begin.
    var reads: [PendingRead] = []
    /// The round that is under way, and its reads.
    var round: ReadRound?
    /// Reads whose leadership was confirmed and that wait until their index is applied.
    var confirmedReads: [(index: LogIndex, reads: [PendingRead])] = []

    var senders: [SnapshotSender] = []
    /// Snapshots that failed and are reported to the core later, so that a broken receiver is not tried without a pause.
    var failedSnapshots: [(peer: NodeID, reportAt: UInt64)] = []
    var receiver: SnapshotReceiver?
    /// How the last incoming transfer ended, for a sender that did not hear it.
    var lastReceived: (transfer: SnapshotTransfer, outcome: SnapshotMessage.Outcome)?

    /// Since when the preferred leader could take over, nil when it could not.
    var preferredReadySince: UInt64?
    var nextTransferAttempt: UInt64 = 0

    /// Whether the core has something to do. Asked through an exclusive access, which reads in place where a plain one
    /// would copy the core and count every reference in it.
    @inline(__always)
    var hasReady: Bool { Self.hasReady(&core) }

    @inline(__always)
    private static func hasReady(_ core: inout RaftCore) -> Bool { core.hasReady }

    /// Asked in place for the same reason.
    @inline(__always)
    func leaseReadIndex(now: UInt64) -> LogIndex? { Self.leaseReadIndex(&core, now) }

    @inline(__always)
    private static func leaseReadIndex(_ core: inout RaftCore, _ now: UInt64) -> LogIndex? {
        guard let index = core.leaseReadIndex(now: now) else { return nil }
        core.noteLeaseRead()
        return index
    }

    init(
        group: GroupID, stateMachine: any ReplicatedStateMachine, log: GroupLog, preferredLeader: NodeID?,
        core: RaftCore, hasPeers: Bool
    ) {
        self.group = group
        self.stateMachine = stateMachine
        self.log = log
        self.preferredLeader = preferredLeader
        self.core = core
        self.hasPeers = hasPeers
    }
}

struct PendingRead {
    let askedAt: UInt64
    let completion: (Result<LogIndex, GroupReadError>) -> Void
}

struct ReadRound {
    let context: UInt64
    let reads: [PendingRead]
}

/// The frames being filled for one peer.
struct PeerLink {
    let peer: NodeID
    var watch: PeerWatch
    var raft: FrameBuilder
    var bulk: FrameBuilder
}

/// Finds replicas by group: an array for the small numbers that groups have, a dictionary for others.
struct GroupIndex {
    private static let denseMax: UInt32 = 1 << 14
    private var dense: [Replica?] = []
    private var sparse: [GroupID: Replica] = [:]

    @inline(__always)
    subscript(group: GroupID) -> Replica? {
        let number = Int(group.rawValue)
        if number < dense.count { return dense[number] }
        return sparse.isEmpty ? nil : sparse[group]
    }

    mutating func remove(_ group: GroupID) {
        let number = Int(group.rawValue)
        if number < dense.count { dense[number] = nil } else { sparse[group] = nil }
    }

    mutating func insert(_ replica: Replica) {
        guard replica.group.rawValue < Self.denseMax else {
            sparse[replica.group] = replica
            return
        }
        let number = Int(replica.group.rawValue)
        while dense.count <= number { dense.append(nil) }
        dense[number] = replica
    }
}
