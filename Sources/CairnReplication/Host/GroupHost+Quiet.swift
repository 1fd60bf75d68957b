import CairnRaft

/// Groups that nobody uses cost nothing: only *active* replicas are ticked and looked after, and hosts watch over each other
/// in place of the groups that are quiet.
///
/// Each host shows itself to every other one once a heartbeat interval (``NodeSign``), whatever the number of groups. A peer
/// that is not heard of for an election timeout is *absent*; the cores of all groups hear of that and wake where it concerns
/// them, at random moments within another election timeout. A peer that comes back, has started anew, or lost an office
/// without an heir, is looked at again likewise. So a quiet group finds another leader as soon as one that is awake.
///
/// The time of a host that was stopped counts only in part, as in the core: signs may be waiting in its sockets.
extension GroupHost {
    // MARK: Signs of life

    func exchangeSigns(elapsed: UInt64) {
        let timeout = options.raft.electionTimeout.nanoseconds
        patience += min(elapsed, timeout / 2)
        if now >= nextSign {
            nextSign = now + options.raft.heartbeatInterval.nanoseconds
            let sign = NodeSign(host: hostNumber, resignations: resignations)
            for position in links.indices {
                links[position].raft.add(group: .node, byteCount: NodeSign.byteCount, to: transport) { frame in
                    sign.append(to: &frame)
                }
            }
        }
        let silent = links.filter { $0.watch.isSilent(at: patience, timeout: timeout) }.map(\.peer)
        guard silent != absentPeers else { return }
        absentPeers = silent
        for replica in replicas where replica.failure == nil {
            replica.core.setAbsent(silent, now: now)
            markDirty(replica)
        }
    }

    func take(_ sign: NodeSign, from peer: NodeID) {
        guard let link = links.firstIndex(where: { $0.peer == peer }),
            links[link].watch.take(sign, at: patience)
        else { return }
        for replica in replicas where replica.failure == nil && !replica.role.isLeader {
            guard replica.core.isQuiet, replica.core.leader == peer else { continue }
            replica.core.wake(now: now)
            markDirty(replica)
        }
    }

    /// Notes that a request for the group has come here, where it is not led: in a quiet group, makes sure that it is led at all.
    public func seekLeader(of group: GroupID) {
        guard failure == nil, let replica = index[group], replica.failure == nil, replica.core.isQuiet else { return }
        replica.core.seekLeader(now: now)
        markDirty(replica)
    }

    // MARK: Active replicas

    /// Lists or unlists a replica, after its core was given something to do.
    func updateActivity(of replica: Replica) {
        let isActive =
            replica.failure == nil
            && (!replica.core.isQuiet || !replica.senders.isEmpty || !replica.failedSnapshots.isEmpty
                || replica.receiver != nil)
        switch (isActive, replica.activePosition) {
        case (true, nil):
            replica.activePosition = active.count
            active.append(replica)
        case (false, let position?):
            active.swapAt(position, active.count - 1)
            active[position].activePosition = position
            active.removeLast()
            replica.activePosition = nil
        default: break
        }
    }

    /// Looks after a part of the replicas that are not active, so that each has its turn about once a second.
    func tickQuiet(elapsed: UInt64) {
        var count = min(replicas.count, 1 + Int(UInt64(replicas.count) * min(elapsed, 1_000_000_000) / 1_000_000_000))
        while count > 0 {
            count -= 1
            nextQuiet = nextQuiet + 1 < replicas.count ? nextQuiet + 1 : 0
            let replica = replicas[nextQuiet]
            guard replica.failure == nil, replica.activePosition == nil else { continue }
            watchDamage(of: replica)
            replica.core.tick(now: now)
            purge(replica)
            if replica.role.isLeader, !isLogStalled, !isShuttingDown { align(replica) }
            if replica.hasReady { markDirty(replica) }
        }
    }

    /// Whether a leader has something to do that needs its followers' answers, so that the group must not fall silent.
    func needsFollowers(_ replica: Replica) -> Bool {
        if isShuttingDown || isLogStalled || space.state != .ample { return true }
        if !replica.senders.isEmpty || !replica.failedSnapshots.isEmpty { return true }
        if replica.mayBeMisplaced, replica.wantedVoters != nil { return true }
        guard let preferred = replica.preferredLeader, preferred != node, !absentPeers.contains(preferred) else {
            return false
        }
        return replica.core.mayTakeOffice(preferred)
    }

    /// Notes that a replica here does not lead any more and knows of nobody who does. Its followers may be quiet.
    func noteResignation() { resignations += 1 }
}
