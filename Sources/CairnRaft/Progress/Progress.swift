/// What a leader knows of one follower or learner.
struct Progress {
    let node: NodeID
    /// The follower has the leader's log up to here on its disk. Never decreases within a term.
    var match: LogIndex = .zero
    /// The next entry to send.
    var next: LogIndex
    var phase: RaftStatus.Peer.Phase = .probe
    /// Probing, and the last probe is unanswered.
    var isPaused = false
    /// An append is due even without entries, to learn where the follower stands.
    var owesAppend = false
    var window: InflightWindow
    /// The heartbeat round that was current when the last append left. The answer to a later round proves that an
    /// append which is still unanswered is late enough to be taken for lost.
    var sentRound: UInt64 = 0
    /// The commit index that the follower was last told.
    var sentCommit: LogIndex = .zero
    /// The leader's tick clock at the last answer.
    var lastActive: UInt64
    /// The newest heartbeat round that was answered; 0 for none.
    var ackedRound: UInt64 = 0
    /// The newest round, if it was answered by a follower that has fallen silent; else 0.
    var agreedRound: UInt64 = 0
    /// When, by the leader's clock, the latest of the answered rounds was sent.
    var ackedSentAt: UInt64 = 0
    /// What a handover to this follower must carry; 0 while unknown, or while it declines.
    var transferToken: UInt64 = 0
    /// The follower said that it is short of disk space.
    var isShortOfSpace = false
    /// The follower said that its log is lost, and has acknowledged nothing since.
    var hasLostLog = false
    var clock = ClockComparison()

    init(node: NodeID, next: LogIndex, clock: UInt64, options: RaftOptions) {
        self.node = node
        self.next = next
        lastActive = clock
        window = InflightWindow(messagesMax: options.inflightMessagesMax, bytesMax: options.inflightBytesMax)
    }

    /// The follower said that it would rather not lead.
    var declinesOffice: Bool { ackedRound > 0 && transferToken == 0 }

    mutating func becomeProbe(next: LogIndex) {
        phase = .probe
        isPaused = false
        window.removeAll()
        self.next = max(next, match.next)
    }

    mutating func becomeReplicate() {
        phase = .replicate
        isPaused = false
        window.removeAll()
        next = match.next
    }

    mutating func becomeSnapshot() {
        phase = .snapshot
        isPaused = false
        owesAppend = false
        window.removeAll()
    }
}
