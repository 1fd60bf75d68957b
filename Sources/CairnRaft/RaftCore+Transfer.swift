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
        if let target {
            guard target != id, configuration.voters.contains(target) else { throw .notEligible(target) }
            guard let offset = peerOffset(target), isActive(peers[offset]) else { throw .unreachable(target) }
        }
        guard let chosen = target ?? furthestVoter else { throw .unreachable(nil) }
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
        becomeFollower(term: term, leader: nil)
    }

    private var furthestVoter: NodeID? {
        peers.filter { configuration.voters.contains($0.node) && isActive($0) }.max { $0.match < $1.match }?.node
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
        guard peers[offset].node == transferTarget, sentToken != 0 else { return }
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
        guard role != .leader, token == transferToken, isPromotable, leader == nil || leader == node else { return }
        startElection(isTransfer: true)
    }
}
