/// Handing leadership to another node on purpose (Ongaro's thesis, section 3.10).
extension RaftCore {
    /// Hands leadership to `target`, or to the voter whose log is furthest, and returns which.
    ///
    /// From now on proposals are refused and the lease is void. When the target has the whole log it is told to
    /// campaign at once. If it has not taken over within an election timeout, this node goes on leading.
    ///
    /// - Throws: ``TransferError``; nothing has changed then.
    @discardableResult
    public mutating func transferLeadership(to target: NodeID?) throws(TransferError) -> NodeID {
        guard role == .leader else { throw .notLeader(leader: leader) }
        noteUse()
        if let target {
            guard target != id, configuration.voters.contains(target) else { throw .notEligible(target) }
            guard let offset = peerOffset(target), isActive(peers[offset]) else { throw .unreachable(target) }
            guard !peers[offset].declinesOffice else { throw .unwilling(target) }
        }
        guard let chosen = target ?? furthestVoter else {
            throw peers.contains { configuration.voters.contains($0.node) && isActive($0) }
                ? .unwilling(nil) : .unreachable(nil)
        }
        if chosen == transferTarget { return chosen }
        abandonTransfer()
        transferTarget = chosen
        transferDeadline = clock + electionNanoseconds
        needsReplication = true
        continueTransfer(with: chosen)
        return chosen
    }

    /// Gives up leadership at once, without an heir, for instance because this node's disk hangs.
    ///
    /// The lease is void from here. This node becomes a follower of nobody in the same term; proposals that are not
    /// committed may still be, under another leader.
    public mutating func stepDown(now: UInt64) {
        observe(now)
        guard role == .leader else { return }
        // Followers that are quiet have to hear that they are not any more.
        wake(now: now)
        becomeFollower(term: term, leader: nil)
    }

    /// Whether `node` is a voter that has not said that it would rather not lead. False on a replica that does not lead.
    public func mayTakeOffice(_ node: NodeID) -> Bool {
        guard role == .leader, configuration.voters.contains(node), let offset = peerOffset(node) else { return false }
        return !peers[offset].declinesOffice
    }

    private var furthestVoter: NodeID? {
        peers.filter { configuration.voters.contains($0.node) && isActive($0) && !$0.declinesOffice }
            .max { $0.match < $1.match }?.node
    }

    mutating func continueTransfer(with node: NodeID) {
        guard role == .leader, node == transferTarget, sentToken == 0, let offset = peerOffset(node) else { return }
        guard peers[offset].match == log.last.index, peers[offset].transferToken != 0 else { return }
        sentToken = peers[offset].transferToken
        send(.timeoutNow(token: sentToken), to: node)
    }

    /// Takes note of what a handover to this peer must carry; a node that has started anew has another token.
    mutating func note(token: UInt64, ofPeerAt offset: Int) {
        guard peers[offset].transferToken != token else { return }
        peers[offset].transferToken = token
        guard peers[offset].node == transferTarget else { return }
        if token == 0 { return abandonTransfer() }
        guard sentToken != 0 else { return }
        // The news may be older than it looks, so the token that was sent counts as under way.
        revocations.append((peers[offset].node, sentToken, heartbeatRound))
        sentToken = 0
    }

    /// Repeats the handover, which may have been lost.
    mutating func retryTransfer() {
        guard let transferTarget, sentToken != 0 else { return }
        send(.timeoutNow(token: sentToken), to: transferTarget)
    }

    mutating func abandonTransfer() {
        if let transferTarget, sentToken != 0 { revocations.append((transferTarget, sentToken, heartbeatRound)) }
        transferTarget = nil
        sentToken = 0
    }

    mutating func handleTimeoutNow(from node: NodeID, token: UInt64) {
        guard role != .leader, token == transferToken, token != 0, isPromotable, leader == nil || leader == node else {
            return
        }
        startElection(isTransfer: true)
    }

    // MARK: Space

    /// Says whether this node's disk is nearly full.
    ///
    /// It says so to the leader, declines the office when it is offered, and goes on otherwise: it may still win an election, so
    /// that somebody answers reads when every node is in the same state.
    public mutating func setShortOfSpace(_ isShort: Bool) {
        guard isShort != isShortOfSpace else { return }
        isShortOfSpace = isShort
        renewTransferToken()
        disturbLeader()
    }

    /// Whether so many voters are short of disk space that what is proposed might not find a majority with room.
    ///
    /// What a follower says counts until it says something else. False on a replica that does not lead.
    public var isQuorumShortOfSpace: Bool {
        guard role == .leader else { return false }
        return configuration.quorumValue { node in
            if node == id { return isShortOfSpace ? 0 : 1 }
            return peerOffset(node).map { peers[$0].isShortOfSpace } ?? false ? 0 : 1
        } == 0
    }

    /// Makes handovers that are under way void, and others possible unless this node declines the office.
    mutating func renewTransferToken() {
        transferToken = isShortOfSpace || lacksState ? 0 : random.nextToken()
    }
}
