import CairnDefects
import DequeModule

/// One replica's Raft state machine: it decides, the host acts.
///
/// The host feeds it through ``step(_:now:)``, ``tick(now:)`` and the requests below, takes a ``Ready`` from
/// ``takeReady()`` once a turn of its loop, and carries it out. The core reads no clock, file or random source of its
/// own, so the same inputs always give the same outputs and a failed simulation is replayed from its seed.
///
/// Times are readings of a monotonic clock in nanoseconds, all of one clock. Work is gathered between two Readys: all
/// entries proposed since the last one leave in one append a follower and go to the disk in one piece.
///
/// - Invariant: `committed <= last`, and `committed` never decreases.
/// - Invariant: no message of a term leaves before that term, and the vote cast in it, are on the disk; an acknowledged
///   entry is on the disk.
/// - Invariant: a leader commits by counting only entries of its own term, and its own disk is one vote among others.
/// - Invariant: the configuration in force is the last one in the log, committed or not.
public struct RaftCore {
    public let id: NodeID
    let options: RaftOptions
    let electionNanoseconds: UInt64
    let heartbeatNanoseconds: UInt64
    let leaseNanoseconds: UInt64
    let quietNanoseconds: UInt64
    let quietHeartbeatNanoseconds: UInt64
    var random: Random

    // What the disk holds, or is about to.
    var log: RaftLog
    var pipeline: PersistPipeline
    public internal(set) var term: Term
    var vote: NodeID?
    /// Whether `term` or `vote` have changed since the last Ready.
    var hardStateChanged = false
    var handedCommit: LogIndex
    /// The configurations of the log, in order: the one as of its start, then one an entry.
    var configurations: [ConfigurationInForce]
    public internal(set) var configuration: Configuration

    /// How far the log of a former replica of this node reached, which left the group.
    let formerLast: LogPosition

    // Time. `now` is the host's clock; `clock` advances with it, but a gap between two ticks counts only in part,
    // because a node that was stopped knows nothing of what happened meanwhile. Patience is measured by `clock`,
    // promises to others (leases) by `now`.
    var now: UInt64
    var clock: UInt64 = 0
    var lastTick: UInt64
    var electionDeadline: UInt64 = 0
    /// When a leader was last heard of; within an election timeout of it this node helps nobody to depose it.
    var lastLeaderContact: UInt64?

    public internal(set) var role = RaftRole.follower
    /// The leader of ``term``, when known.
    public internal(set) var leader: NodeID?
    var votes: [(node: NodeID, granted: Bool)] = []
    var isTransferElection = false
    /// Whether a leader said that this node is no longer a member.
    var isRemoved = false

    // Silence; see `RaftCore+Quiet.swift`.
    /// Whether the replica waits, without timers and messages, until the group is used again.
    public internal(set) var isQuiet = false
    /// Keeps a leader from falling silent, while the host has something to do that needs its followers.
    public var staysAwake = false
    /// Nodes that the host has lost sight of.
    var absentNodes: [NodeID] = []
    /// By the host's clock, when a quiet leader shows itself, and when a quiet follower wakes because it did not.
    var quietDeadline: UInt64 = 0
    /// By the tick clock, when the leader was last asked for anything.
    var lastUse: UInt64 = 0
    /// The first heartbeat round that was marked as the last; 0 while none was.
    var restRound: UInt64 = 0

    // Follower.
    /// The log agrees with the current leader's up to here.
    var verified: LogIndex
    var owesAcknowledgement = false
    var transferToken: UInt64
    var isShortOfSpace = false
    /// See ``loseState(now:)``.
    public internal(set) var lacksState = false
    /// The replica had acknowledged entries up to here and does not have them: it must be stopped, and made anew like any other
    /// whose log is lost.
    public internal(set) var lostThrough: LogIndex?
    var installing: SnapshotMetadata?

    // Leader.
    var peers: [Progress] = []
    /// The empty entry that began the term.
    var termStart: LogIndex = .zero
    var needsReplication = false
    var nextHeartbeat: UInt64 = 0
    var heartbeatRound: UInt64 = 0
    /// The node that leadership is being handed to.
    public internal(set) var transferTarget: NodeID?
    var transferDeadline: UInt64 = 0
    /// The token of the handover that may be under way to `transferTarget`; 0 while none has left.
    var sentToken: UInt64 = 0
    /// Handovers that were given up and may still arrive. The lease is void until each target has disowned its token.
    var revocations: [(node: NodeID, token: UInt64, afterRound: UInt64)] = []
    /// Reads asked for before the term's first commit.
    var postponedReads: [UInt64] = []
    /// Reads asked for since the last Ready, with the commit index of that moment.
    var newReads: [ReadState] = []
    var pendingReads: Deque<(read: ReadState, round: UInt64)> = []
    /// Answers to nodes whose logs are lost, and the round that has to confirm them.
    var pendingReleases: [(node: NodeID, request: UInt64, round: UInt64)] = []
    var uncommittedBytes = 0
    var proposalSizes: Deque<(last: LogIndex, bytes: Int)> = []

    // The next Ready.
    var readyNumber: UInt64 = 0
    var outbox: [Message] = []
    var released: [Message] = []
    var reads: [ReadState] = []
    var abandonedReads: [UInt64] = []
    var snapshotsToSend: [NodeID] = []
    var snapshotToInstall: SnapshotMetadata?
    var logFailure: RaftLogError?
    var announcedRole: RoleChange
    var announcedConfigurationIndex: LogIndex
    var configurationChanged = false

    /// Opens a replica on what its disk holds.
    ///
    /// - Parameters:
    ///   - configuration: the configuration in force at `configurationIndex`; for a new group, its founders at 0.
    ///     Later ones are read from the log, so `configurationIndex` must be the purge point or above.
    ///   - hardState: the last one that was made durable.
    ///   - applied: what the state machine has applied.
    ///   - formerLast: the end of the log of a former replica of this node, which left the group; `hardState` is then not
    ///     behind that one's. Others may count on it, so this replica votes as though it had that log.
    ///   - options: see ``RaftOptions/validated()``.
    ///   - seed: different for every life of every replica.
    ///   - now: the monotonic clock. A replica that took part in a term before waits an election timeout from here
    ///     before it votes, because it may have promised so to a leader.
    /// - Throws: ``RaftLogError`` with code `corruption` when the log lacks what the hard state promises.
    public init(
        id: NodeID, configuration: Configuration, configurationIndex: LogIndex = .zero, hardState: HardState,
        storage: any RaftLogStorage, applied: LogIndex, formerLast: LogPosition = .zero, options: RaftOptions,
        seed: UInt64, now: UInt64
    ) throws(RaftLogError) {
        self.id = id
        self.formerLast = formerLast
        self.options = options
        electionNanoseconds = options.electionTimeout.nanoseconds
        heartbeatNanoseconds = options.heartbeatInterval.nanoseconds
        let drift = UInt64(options.clockDriftPermille)
        leaseNanoseconds = electionNanoseconds / (1000 + drift) * (1000 - drift)
        quietNanoseconds = options.quietAfter.nanoseconds
        quietHeartbeatNanoseconds = options.quietHeartbeatInterval.nanoseconds
        random = Random(seed: seed)
        log = try RaftLog(storage: storage, committed: hardState.commit, applied: applied)
        // A log whose entries are ahead of the hard state has seen that term.
        term = max(hardState.term, log.last.term)
        vote = term == hardState.term ? hardState.vote : nil
        pipeline = PersistPipeline(stable: log.last.index, hardState: hardState)
        hardStateChanged = term != hardState.term
        if options.defects.contains(.forgetVoteAtRestart) {
            vote = nil
            hardStateChanged = true
        }
        handedCommit = hardState.commit
        configurations = [ConfigurationInForce(index: configurationIndex, configuration: configuration)]
        self.configuration = configuration
        self.now = now
        lastTick = now
        lastLeaderContact = term > .zero ? now : nil
        verified = log.committed
        transferToken = random.nextToken()
        announcedRole = RoleChange(role: .follower, term: term, leader: nil)
        announcedConfigurationIndex = configurationIndex
        try readConfigurations(after: configurationIndex)
        resetElectionDeadline()
        if configuration.voters == [id], !configuration.isJoint { electionDeadline = 0 }
    }

    /// Reads the configurations that the log holds above `index`.
    private mutating func readConfigurations(after index: LogIndex) throws(RaftLogError) {
        var next = max(index.next, log.storage.firstIndex)
        while next <= log.last.index {
            let entries = try log.entries(from: next, through: log.last.index, maxBytes: 1 << 20)
            for entry in entries where entry.kind == .configuration {
                guard let found = Configuration(decoding: entry.payload) else {
                    throw RaftLogError(
                        code: .corruption, index: entry.index, message: "entry \(entry.index) holds no configuration")
                }
                configurations.append(ConfigurationInForce(index: entry.index, configuration: found))
            }
            next = entries[entries.count - 1].index.next
        }
        configuration = configurations[configurations.count - 1].configuration
        announcedConfigurationIndex = configurations[configurations.count - 1].index
    }

    // MARK: Time

    /// Lets time pass. To be called at least once a heartbeat interval; more often makes timers finer.
    public mutating func tick(now: UInt64) {
        observe(now)
        let elapsed = self.now - lastTick
        lastTick = self.now
        // Patience stands still with it: whoever wakes begins to wait anew.
        if isQuiet { return tickQuiet() }
        clock += min(elapsed, electionNanoseconds / 2)
        if role == .leader {
            tickLeader()
        } else if clock >= electionDeadline, isPromotable {
            startPreVote()
        }
    }

    private mutating func tickLeader() {
        if transferTarget != nil, clock >= transferDeadline { abandonTransfer() }
        if clock >= nextHeartbeat {
            guard hasActiveQuorum else { return becomeFollower(term: term, leader: nil) }
            considerRest()
            guard !isQuiet else { return }
            broadcastHeartbeat()
            retryTransfer()
        }
        sendCommits()
    }

    mutating func observe(_ now: UInt64) {
        if now > self.now { self.now = now }
    }

    mutating func resetElectionDeadline() {
        electionDeadline = clock + electionNanoseconds + random.next(below: electionNanoseconds)
    }

    /// Whether a leader was heard of so recently that its lease may rest on this node.
    var isInContact: Bool {
        // The host watches over a quiet one's leader.
        if role == .leader || isQuiet { return true }
        guard let lastLeaderContact else { return false }
        return now < lastLeaderContact + electionNanoseconds
    }

    /// Whether a candidate must not be helped, because a leader's lease may rest on this node.
    var owesLease: Bool {
        role == .leader || (isInContact && !options.defects.contains(.voteWithinLease))
    }

    // MARK: Messages in

    /// Takes in a message from another replica. Messages for other nodes or of strangers do no harm.
    public mutating func step(_ message: Message, now: UInt64) {
        observe(now)
        guard message.to == id, message.from != id else { return }
        if isQuiet { heed(message) }
        if message.term > term {
            guard adoptTerm(of: message) else { return }
        } else if message.term < term {
            switch message.kind {
            case .append, .heartbeat, .snapshot, .commit: return send(.staleTerm, to: message.from)
            case .voteRequest: return send(.voteResponse(granted: false), to: message.from)
            case .preVoteRequest, .preVoteResponse, .removed, .logLost, .released: break
            default: return
            }
        }
        switch message.kind {
        case .preVoteRequest(let proposedTerm, let last):
            handlePreVoteRequest(from: message.from, proposedTerm: proposedTerm, last: last)
        case .preVoteResponse(let proposedTerm, let granted):
            handlePreVoteResponse(from: message.from, proposedTerm: proposedTerm, granted: granted)
        case .voteRequest(let last, let isTransfer):
            handleVoteRequest(from: message.from, last: last, isTransfer: isTransfer)
        case .voteResponse(let granted):
            if role == .candidate { record(vote: granted, of: message.from) }
        case .append(let previous, let commit, let entries):
            guard follow(message.from) else { return }
            handleAppend(from: message.from, previous: previous, commit: commit, entries: entries)
        case .heartbeat(let heartbeat):
            guard follow(message.from) else { return }
            handleHeartbeat(heartbeat, from: message.from)
        case .commit(let position):
            guard follow(message.from) else { return }
            commit(verifiedBy: position)
        case .snapshot(let metadata):
            guard follow(message.from) else { return }
            handleSnapshot(metadata)
        case .appendResponse(let match):
            handleAppendResponse(from: message.from, match: match)
        case .appendRejection(let rejected, let hint):
            handleAppendRejection(from: message.from, rejected: rejected, hint: hint)
        case .heartbeatResponse(let response):
            handleHeartbeatResponse(response, from: message.from)
        case .snapshotRequest:
            handleSnapshotRequest(from: message.from)
        case .logLost(let request):
            handleLogLost(from: message.from, request: request)
        case .released:
            // For a host whose replica is lost; this one is not.
            break
        case .timeoutNow(let token):
            handleTimeoutNow(from: message.from, token: token)
        case .removed(let configurationIndex):
            handleRemoved(configurationIndex: configurationIndex, term: message.term)
        case .staleTerm:
            break
        }
    }

    /// Steps into the later term that a message shows, unless the message is no reason to.
    private mutating func adoptTerm(of message: Message) -> Bool {
        switch message.kind {
        case .preVoteRequest, .preVoteResponse(_, granted: true), .removed, .released:
            // A question, not a fact: nobody leads or stands in that term yet.
            return true
        case .voteRequest(_, let isTransfer):
            // While a leader may hold a lease that rests on this node, only that leader can let it go.
            if owesLease, !isTransfer { return false }
            if isTransfer { lastLeaderContact = nil }
            becomeFollower(term: message.term, leader: nil)
        case .append, .heartbeat, .snapshot, .commit, .timeoutNow:
            becomeFollower(term: message.term, leader: message.from)
        default:
            becomeFollower(term: message.term, leader: nil)
        }
        return true
    }

    /// Notes a sign of life of this term's leader; false when this node leads the term itself.
    private mutating func follow(_ leader: NodeID) -> Bool {
        guard role != .leader else { return false }
        if role != .follower || self.leader != leader {
            guard self.leader == nil || self.leader == leader else { return false }
            becomeFollower(term: term, leader: leader)
        }
        isRemoved = false
        isQuiet = false
        lastLeaderContact = now
        resetElectionDeadline()
        return true
    }

    // MARK: Roles

    mutating func becomeFollower(term: Term, leader: NodeID?) {
        precondition(term >= self.term, "term \(term) after \(self.term)")
        if term > self.term {
            self.term = term
            vote = nil
            hardStateChanged = true
            verified = log.committed
        }
        if role == .leader { leaveOffice() }
        isQuiet = false
        role = .follower
        self.leader = leader
        votes.removeAll(keepingCapacity: true)
        owesAcknowledgement = false
        resetElectionDeadline()
    }

    private mutating func leaveOffice() {
        peers = []
        verified = log.committed
        needsReplication = false
        transferTarget = nil
        sentToken = 0
        revocations = []
        abandonedReads += postponedReads
        abandonedReads += newReads.map(\.context)
        abandonedReads += pendingReads.map(\.read.context)
        postponedReads = []
        newReads = []
        pendingReads = []
        pendingReleases = []
        uncommittedBytes = 0
        proposalSizes = []
        snapshotsToSend = []
        restRound = 0
    }

    // MARK: Messages out

    mutating func send(_ kind: Message.Kind, to node: NodeID) {
        outbox.append(Message(from: id, to: node, term: term, kind: kind))
    }

    /// Whether everything that a message of this term rests on is durable. While it is not, messages gather.
    public var isHardStateDurable: Bool {
        !hardStateChanged && pipeline.durableTerm == term && pipeline.durableVote == vote
    }
}

extension Duration {
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}
