/// What replicas of one group say to each other.
///
/// Any message may be lost, repeated, delayed or overtaken; order on a connection only makes things faster. `term` is
/// the sender's term, durable on its disk before the message leaves.
public struct Message: Hashable, Sendable {
    public var from: NodeID
    public var to: NodeID
    public var term: Term
    public var kind: Kind

    public init(from: NodeID, to: NodeID, term: Term, kind: Kind) {
        self.from = from
        self.to = to
        self.term = term
        self.kind = kind
    }

    public enum Kind: Hashable, Sendable {
        /// "Would you vote for me in `proposedTerm`?" Changes nothing at the receiver.
        case preVoteRequest(proposedTerm: Term, last: LogPosition)
        /// The answer; a refusal carries the term that the asker may have missed (in ``Message/term``).
        case preVoteResponse(proposedTerm: Term, granted: Bool)
        /// A candidacy in ``Message/term``. `isTransfer`: the leader itself asked for it, so that voters need not
        /// wait until they have lost sight of that leader.
        case voteRequest(last: LogPosition, isTransfer: Bool)
        case voteResponse(granted: Bool)
        /// `entries` follow directly on `previous`; all up to `commit` are committed. No entries: a probe.
        case append(previous: LogPosition, commit: LogIndex, entries: [Entry])
        /// Everything up to `match` is the leader's log and is on the sender's disk.
        case appendResponse(match: LogIndex)
        /// The log has no entry at `rejected` that fits; at or below `hint` it may fit.
        case appendRejection(rejected: LogIndex, hint: LogPosition)
        case heartbeat(Heartbeat)
        case heartbeatResponse(HeartbeatResponse)
        /// News of a commit for a follower that holds the entry; needs no answer.
        case commit(LogPosition)
        /// "My state machine is lost; send me yours." Any snapshot will do that begins where the sender's log does, or later.
        case snapshotRequest
        /// "My log is lost; take me out of the group, so that I can join it anew." Its sender has no term any more. `request` is
        /// drawn anew each time that a log is found lost.
        case logLost(request: UInt64)
        /// The answer to that request: the group goes on without the replica that asked.
        case released(request: UInt64)
        /// A whole snapshot has arrived at the receiver's host. The bytes travel outside the core.
        case snapshot(SnapshotMetadata)
        /// The leader hands over: campaign at once. `token` is the receiver's, see ``HeartbeatResponse``.
        case timeoutNow(token: UInt64)
        /// The sender of an older term is told that time went on.
        case staleTerm
        /// The leader tells a node that asks for votes that the committed configuration, which acts since
        /// `configurationIndex`, does not contain it.
        case removed(configurationIndex: LogIndex)
    }

    /// A leader's sign of life; its answer renews the lease and confirms reads.
    public struct Heartbeat: Hashable, Sendable {
        /// Unique and growing within the leader's term.
        public var round: UInt64
        /// The leader's monotonic clock when the round began, in nanoseconds.
        public var sentAt: UInt64
        /// A committed entry that the receiver has acknowledged, or zero.
        public var commit: LogPosition
        /// The last entry that the receiver has acknowledged in this term: its log must go so far.
        public var acknowledged: LogIndex
        /// A transfer token of the receiver that must no longer work; 0 for none.
        public var revokedToken: UInt64
        /// Whether no more will follow until the group is used again: `commit` is the last entry of the leader's log, and a
        /// receiver whose log ends there as well stops its timer.
        public var isLast: Bool

        public init(
            round: UInt64, sentAt: UInt64, commit: LogPosition, acknowledged: LogIndex, revokedToken: UInt64,
            isLast: Bool = false
        ) {
            self.round = round
            self.sentAt = sentAt
            self.commit = commit
            self.acknowledged = acknowledged
            self.revokedToken = revokedToken
            self.isLast = isLast
        }
    }

    public struct HeartbeatResponse: Hashable, Sendable {
        /// As in the heartbeat; 0 answers none, and asks a leader that has fallen silent for one.
        public var round: UInt64
        /// As in the heartbeat.
        public var sentAt: UInt64
        /// The answering node's monotonic clock, in nanoseconds; two answers tell how fast its clock runs.
        public var clock: UInt64
        /// What a ``Message/Kind/timeoutNow(token:)`` must carry to be obeyed. It changes with every life of the
        /// node and when revoked, so that a late handover cannot break a lease that was renewed since.
        /// 0 while the node would rather not lead.
        public var transferToken: UInt64
        /// Whether the node is short of disk space, so that nothing should be proposed that is not needed.
        public var isShortOfSpace: Bool
        /// Whether the node has stopped its timer, as a last heartbeat told it.
        public var isQuiet: Bool

        public init(
            round: UInt64, sentAt: UInt64, clock: UInt64, transferToken: UInt64, isShortOfSpace: Bool = false,
            isQuiet: Bool = false
        ) {
            self.round = round
            self.sentAt = sentAt
            self.clock = clock
            self.transferToken = transferToken
            self.isShortOfSpace = isShortOfSpace
            self.isQuiet = isQuiet
        }
    }
}
