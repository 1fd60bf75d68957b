import CairnDefects

/// Reads that see every write acknowledged before them: by lease, or confirmed by a round of heartbeats (Ongaro's
/// thesis, section 6.4).
extension RaftCore {
    /// Asks for a read that is right under any clocks. ``Ready/reads`` returns `context` once a quorum has confirmed,
    /// after this call, that this node leads; ``Ready/abandonedReads`` when it no longer does.
    ///
    /// All reads asked for between two Readys share one round.
    ///
    /// - Throws: ``ReadError`` when this node does not lead.
    public mutating func requestRead(context: UInt64) throws(ReadError) {
        guard role == .leader else { throw .notLeader(leader: leader) }
        noteUse()
        // Before the first commit of its own term a leader does not know what is committed.
        if log.committed < termStart, !options.defects.contains(.readBeforeOwnCommit) {
            postponedReads.append(context)
        } else {
            newReads.append(ReadState(context: context, index: log.committed))
        }
    }

    mutating func releasePostponedReads() {
        for context in postponedReads { newReads.append(ReadState(context: context, index: log.committed)) }
        postponedReads.removeAll(keepingCapacity: true)
    }

    /// Begins the round that confirms the new reads.
    mutating func startReadRound() {
        if options.defects.contains(.readWithoutConfirmation) {
            reads += newReads
            return newReads.removeAll()
        }
        broadcastHeartbeat()
        for read in newReads { pendingReads.append((read, heartbeatRound)) }
        newReads.removeAll(keepingCapacity: true)
        confirmReads()
    }

    mutating func confirmReads() {
        guard !pendingReads.isEmpty || !pendingReleases.isEmpty else { return }
        let confirmed = configuration.quorumValue { node in
            if node == id { return heartbeatRound }
            guard let offset = peerOffset(node) else { return 0 }
            return peers[offset].ackedRound
        }
        while let first = pendingReads.first, first.round <= confirmed {
            reads.append(first.read)
            pendingReads.removeFirst()
        }
        if !pendingReleases.isEmpty { sendReleases(confirmed: confirmed) }
    }

    /// Whether no other node can have become leader at `now`, a reading of the clock taken for this question.
    ///
    /// The lease runs from the moment at which the newest heartbeat that a quorum has answered was sent. It is shorter
    /// than the election timeout by the declared drift of two clocks, is void from the moment a handover may leave and
    /// while the group is quiet, and does not count nodes whose clocks were seen to run too fast.
    public func leaseValid(now: UInt64) -> Bool {
        guard role == .leader, !isQuiet else { return false }
        let mayBeHandedOver = transferTarget != nil || !revocations.isEmpty
        guard !mayBeHandedOver || options.defects.contains(.keepLeaseInTransfer) else { return false }
        let latest = configuration.quorumValue { node in
            // One more than the time, so that 0 means never.
            if node == id { return now + 1 }
            guard let offset = peerOffset(node), peers[offset].ackedRound > 0, !peers[offset].clock.isTooFast else {
                return 0
            }
            return peers[offset].ackedSentAt + 1
        }
        if options.defects.contains(.serveReadOnExpiredLease) { return latest > 0 }
        return latest > 0 && now < latest - 1 + leaseNanoseconds
    }

    /// The index that a read must wait for to be applied, if it may be answered under the lease; nil when it may not.
    public func leaseReadIndex(now: UInt64) -> LogIndex? {
        guard role == .leader, log.committed >= termStart || options.defects.contains(.readBeforeOwnCommit),
            leaseValid(now: now)
        else { return nil }
        return log.committed
    }
}
