import CairnDefects
public import CairnRaft

/// What happens now and then: purging the log, evening out leaders, leaving.
extension GroupHost {
    func maintain() {
        let purges = now >= nextPurge
        if purges { nextPurge = now + options.purgeNanoseconds }
        for replica in active where replica.failure == nil {
            expireReads(of: replica)
            if purges { purge(replica) }
            inquire(replica)
            retryApplying(to: replica)
            replica.isQuorumShortOfSpace = replica.core.isQuorumShortOfSpace
            guard replica.role.isLeader, !isLogStalled else { continue }
            if isShuttingDown {
                if replica.hasPeers { handOver(replica, to: nil) }
                continue
            }
            align(replica)
            replica.core.staysAwake = needsFollowers(replica)
            if space.state != .ample {
                // See `evacuate`.
            } else if let preferred = replica.preferredLeader, preferred != node {
                prefer(preferred, in: replica)
            }
        }
        if space.state != .ample, !isShuttingDown { evacuate() }
    }

    // MARK: Purge

    /// Lets go of entries that are durable in the tablet and that no follower is about to need.
    func purge(_ replica: Replica) {
        // The log behind the snapshot to come is all that a lost state can be made of.
        guard !replica.core.lacksState else { return }
        let log = replica.log
        let first = log.firstIndex
        let applied = replica.stateMachine.appliedIndex
        let bytes = UInt64(log.byteCount)
        guard applied >= first, log.lastIndex >= first else { return }
        let entries = UInt64(log.lastIndex - first) + 1
        guard entries > options.logEntriesKept || bytes > options.logBytesKept else { return }

        let entryBytes = max(1, bytes / entries)
        let kept = min(options.logEntriesKept, options.logBytesKept / entryBytes)
        var target = applied.rawValue > kept ? applied.rawValue - kept : 0
        if replica.role.isLeader, bytes <= options.logBytesHeldForFollowers {
            for peer in replica.core.status.peers {
                if let sender = replica.senders.first(where: { $0.peer == peer.node }) {
                    target = min(target, sender.metadata.position.index.rawValue)
                } else if peer.isActive, peer.phase != .snapshot {
                    target = min(target, peer.match.rawValue)
                }
            }
        }
        var durable = min(replica.stateMachine.durableIndex, applied).rawValue
        if options.defects.contains(.purgeBeyondDurable) { durable = applied.rawValue }
        if durable < target {
            if bytes > options.logBytesBeforeFlush { replica.stateMachine.advanceDurability() }
            target = durable
        }
        guard target >= first.rawValue else { return }
        purge(log, through: LogIndex(target))
        replica.core.compacted(through: LogIndex(target))
    }

    // MARK: Leadership

    /// Hands the group's leadership to `target`, or to the voter that is the most caught up.
    ///
    /// Proposals are refused until the office has changed or an election timeout has passed.
    ///
    /// - Throws: ``ReplicationError`` with code `unknownGroup`, or `invalidConfiguration` when this replica does not lead or
    ///   the target cannot.
    public func transferLeadership(_ group: GroupID, to target: NodeID?) throws(ReplicationError) {
        guard let replica = index[group], replica.failure == nil, failure == nil else {
            throw ReplicationError(.unknownGroup, group: group, "no working replica here")
        }
        do {
            _ = try replica.core.transferLeadership(to: target)
            markDirty(replica)
        } catch {
            throw ReplicationError(.invalidConfiguration, group: group, "leadership stays: \(error)")
        }
    }

    private func handOver(_ replica: Replica, to target: NodeID?) {
        guard now >= replica.nextTransferAttempt, replica.core.status.transferTarget == nil else { return }
        replica.nextTransferAttempt = now + 500_000_000
        if (try? replica.core.transferLeadership(to: target)) != nil { markDirty(replica) }
    }

    /// Gives the office to the node that should have it, once that node was fit for it for a while.
    private func prefer(_ preferred: NodeID, in replica: Replica) {
        guard now >= replica.nextTransferAttempt else { return }
        let status = replica.core.status
        guard status.configuration.isVoter(preferred),
            let peer = status.peers.first(where: { $0.node == preferred }), peer.isActive, !peer.declinesOffice,
            peer.phase == .replicate,
            status.last.index - peer.match <= Int(options.transferLagMax)
        else {
            replica.preferredReadySince = nil
            return
        }
        guard let since = replica.preferredReadySince else {
            replica.preferredReadySince = now
            return
        }
        guard now >= since + options.preferredLeaderNanoseconds else { return }
        replica.preferredReadySince = nil
        replica.nextTransferAttempt = now + 4 * options.preferredLeaderNanoseconds
        if (try? replica.core.transferLeadership(to: preferred)) != nil { markDirty(replica) }
    }

    // MARK: Leaving

    /// Hands every leadership away and campaigns no more. Replicas go on acknowledging until the process ends.
    ///
    /// Keep ticking and flushing until ``isDrained``, or until patience ends: without a living majority nobody takes over.
    public func beginShutdown() {
        guard !isShuttingDown else { return }
        isShuttingDown = true
        for replica in replicas where replica.failure == nil && replica.role.isLeader && replica.hasPeers {
            replica.nextTransferAttempt = 0
            handOver(replica, to: nil)
        }
    }

    /// Whether a shutdown has nothing left to wait for: no leadership that another node could take, and an idle log.
    public var isDrained: Bool {
        guard failure == nil else { return true }
        guard isShuttingDown, isLogIdle else { return false }
        return replicas.allSatisfy { $0.failure != nil || !$0.role.isLeader || !$0.hasPeers }
    }
}
