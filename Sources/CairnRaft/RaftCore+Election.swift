import CairnDefects

/// Elections (Raft paper, section 5.2; pre-vote and leader stickiness: Ongaro's thesis, sections 9.6 and 4.2.3).
extension RaftCore {
    /// Whether this node may stand for election.
    ///
    /// One that its newest configuration leaves out may, until that is committed: it may hold the only log that the
    /// others cannot outvote, and leads without counting itself (Ongaro's thesis, section 4.2.2).
    var isPromotable: Bool {
        guard installing == nil, !isRemoved, !lacksState, log.last >= formerLast else { return false }
        if configuration.isVoter(id) { return true }
        guard latestConfigurationIndex > log.committed, configurations.count > 1 else { return false }
        return configurations[configurations.count - 2].configuration.isVoter(id)
    }

    /// Stands for election without waiting for the timeout, for instance because the host would like a new group to be
    /// led here. Does nothing while a leader may be there or this node is no voter.
    public mutating func campaign(now: UInt64) {
        observe(now)
        guard role != .leader, isPromotable, !isInContact else { return }
        startPreVote()
    }

    /// How far a candidate's log must reach for this replica's vote; to be remembered by a host that removes it.
    public var votingPosition: LogPosition { max(log.last, formerLast) }

    /// Asks whether an election could be won, without disturbing anyone who has a leader.
    mutating func startPreVote() {
        role = .preCandidate
        leader = nil
        isQuiet = false
        votes.removeAll(keepingCapacity: true)
        resetElectionDeadline()
        let term = self.term
        let last = log.last
        sendToVoters(.preVoteRequest(proposedTerm: term.next, last: last))
        record(vote: true, of: id)
    }

    mutating func startElection(isTransfer: Bool) {
        role = .candidate
        leader = nil
        isQuiet = false
        votes.removeAll(keepingCapacity: true)
        term = term.next
        vote = id
        hardStateChanged = true
        verified = log.committed
        owesAcknowledgement = false
        resetElectionDeadline()
        // The vote for itself counts when it is on the disk, and so do these requests leave; see `persisted`.
        sendToVoters(.voteRequest(last: log.last, isTransfer: isTransfer))
    }

    private mutating func sendToVoters(_ kind: Message.Kind) {
        for node in configuration.members where node != id && configuration.isVoter(node) { send(kind, to: node) }
    }

    func handedOutVote(to node: NodeID) -> Bool? { votes.first { $0.node == node }?.granted }

    mutating func record(vote granted: Bool, of node: NodeID) {
        guard handedOutVote(to: node) == nil else { return }
        votes.append((node, granted))
        let votes = self.votes
        switch configuration.voteResult({ node in votes.first { $0.node == node }?.granted }) {
        case .pending: break
        case .won: if role == .preCandidate { startElection(isTransfer: false) } else { becomeLeader() }
        case .lost:
            let deadline = electionDeadline
            becomeFollower(term: term, leader: nil)
            electionDeadline = deadline
        }
    }

    mutating func handlePreVoteRequest(from node: NodeID, proposedTerm: Term, last: LogPosition) {
        if role == .leader, !configuration.isMember(node), latestConfigurationIndex <= log.committed {
            return send(.removed(configurationIndex: latestConfigurationIndex), to: node)
        }
        // A refusal is sent, not withheld: it carries the term, which the asker may be missing to get anywhere.
        let granted =
            proposedTerm > term && !owesLease
            && (last >= votingPosition || options.defects.contains(.preVoteForShorterLog))
        send(.preVoteResponse(proposedTerm: proposedTerm, granted: granted), to: node)
    }

    mutating func handlePreVoteResponse(from node: NodeID, proposedTerm: Term, granted: Bool) {
        guard role == .preCandidate, proposedTerm == term.next else { return }
        record(vote: granted, of: node)
    }

    /// A learner votes as well: it may have been promoted by an entry that it does not have yet.
    ///
    /// The promise to a leader holds here too: the candidate's term may have come to this node by another way.
    mutating func handleVoteRequest(from node: NodeID, last: LogPosition, isTransfer: Bool) {
        let isFree = vote == nil && leader == nil && (isTransfer || !owesLease)
        let granted =
            (vote == node || isFree) && (last >= votingPosition || options.defects.contains(.voteForShorterLog))
        if granted {
            if vote != node {
                vote = node
                hardStateChanged = true
            }
            resetElectionDeadline()
        }
        send(.voteResponse(granted: granted), to: node)
    }

    /// An answer that is older than what this log says of the members is passed over. A later configuration counts for nothing
    /// though if it is not known to be committed and a leader of a later term does not have it.
    mutating func handleRemoved(configurationIndex: LogIndex, term leaderTerm: Term) {
        guard role != .leader, !isInContact else { return }
        let latest = latestConfigurationIndex
        guard
            latest <= configurationIndex
                || (latest > log.committed && log.term(at: latest).map { $0 < leaderTerm } ?? false)
        else { return }
        isRemoved = true
        if role != .follower || leader != nil { becomeFollower(term: term, leader: nil) }
    }

    /// Asks whether this replica still takes part in the group. For one that its host does not need and that no leader talks
    /// to: a learner that was dropped, or a voter whose group has moved on while it was away, might never hear of it.
    ///
    /// The question is a pre-vote that nobody counts; a leader for which this node is no member answers that it was
    /// removed (``RaftStatus/isRemoved``).
    public mutating func inquire(of nodes: [NodeID], now: UInt64) {
        observe(now)
        guard role == .follower || role == .preCandidate, !isInContact, !isRemoved else { return }
        let last = log.last
        for node in nodes where node != id { send(.preVoteRequest(proposedTerm: term.next, last: last), to: node) }
    }

    mutating func becomeLeader() {
        precondition(role == .candidate && isHardStateDurable, "leader of \(term) on an undurable vote")
        role = .leader
        leader = id
        votes.removeAll(keepingCapacity: true)
        termStart = log.last.index.next
        heartbeatRound = 0
        lastUse = clock
        updatePeers()
        // Nothing of an earlier term commits by counting: this entry takes the tail along (paper, section 5.4.2).
        appendAsLeader(kind: .empty, payload: [])
        broadcastHeartbeat()
        // A group of one needs nobody else.
        commitWhatAQuorumHas()
    }
}
