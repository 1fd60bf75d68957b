import CairnFiles
public import CairnRaft

/// Bringing a group's members to where its replicas belong.
///
/// The leader does it alone, one step at a time: first it makes learners of the voters that are missing, which get a snapshot
/// and the log; once they have caught up, one change through a joint configuration makes them voters and removes those
/// that do not belong any more. Whoever leads next goes on from the configuration that it finds.
extension GroupHost {
    /// Says where a group's replicas belong; a leader here begins to bring them there.
    ///
    /// A preferred leader that is named anew gets the office as soon as it is fit for it, and one that was named before only
    /// once it has been fit for a while.
    public func place(_ group: GroupID, voters: [NodeID], preferredLeader: NodeID?) {
        guard let replica = index[group] else { return }
        replica.wantedVoters = voters.sorted()
        if preferredLeader != replica.preferredLeader {
            replica.preferredLeader = preferredLeader
            replica.preferredReadySince = 0
            replica.nextTransferAttempt = 0
            // A quiet group is not looked after until something happens in it.
            if replica.role.isLeader {
                replica.core.wake(now: now)
                markDirty(replica)
            }
        }
        replica.mayBeMisplaced = true
    }

    /// Says who the other nodes of the cluster are. Frames are taken from them and from members of groups alone.
    public func learnPeers(_ nodes: [NodeID]) {
        for peer in nodes where peer != node { addLink(to: peer) }
        let members = Set(replicas.flatMap { $0.core.configuration.members })
        links.removeAll { !nodes.contains($0.peer) && !members.contains($0.peer) }
    }

    /// Takes the next step of the way, if there is one and it can be taken now.
    func align(_ replica: Replica) {
        guard replica.mayBeMisplaced, let wanted = replica.wantedVoters else { return }
        let status = replica.core.status
        let configuration = status.configuration
        guard !configuration.isJoint, !removeLostVoters(of: replica, status) else { return }
        let missing = wanted.filter { !configuration.isVoter($0) }
        if missing.isEmpty, configuration.voters.count == wanted.count, configuration.learners.isEmpty {
            replica.mayBeMisplaced = false
            return
        }
        let strangers = missing.filter { !configuration.learners.contains($0) }
        if !strangers.isEmpty {
            change(replica, voters: configuration.voters, learners: missing)
        } else if missing.allSatisfy({ isCaughtUp($0, status) }), hasMajority(of: wanted, status) {
            change(replica, voters: wanted, learners: [])
        }
    }

    func change(_ replica: Replica, voters: [NodeID], learners: [NodeID]) {
        // Refused while another change is under way or the term has no commit yet: the next round tries again.
        if (try? replica.core.changeMembership(voters: voters, learners: learners)) != nil { markDirty(replica) }
    }

    private func isCaughtUp(_ peer: NodeID, _ status: RaftStatus) -> Bool {
        guard let progress = status.peers.first(where: { $0.node == peer }) else { return false }
        return progress.isActive && progress.phase == .replicate
            && status.last.index - progress.match <= Int(options.transferLagMax)
    }

    /// Whether the voters to be could commit: a change that they cannot confirm would leave the group between the two.
    func hasMajority(of voters: [NodeID], _ status: RaftStatus) -> Bool {
        let alive = voters.count { voter in
            voter == node || status.peers.contains { $0.node == voter && $0.isActive }
        }
        return alive > voters.count / 2
    }

    // MARK: Leaving a group

    /// Has a replica that does not belong here find out whether its group has gone on without it.
    func inquire(_ replica: Replica) {
        guard let wanted = replica.wantedVoters, !wanted.contains(node), !replica.role.isLeader,
            now >= replica.nextInquiry
        else { return }
        replica.nextInquiry = now + options.raft.electionTimeout.nanoseconds
        replica.core.inquire(of: links.map(\.peer), now: now)
        markDirty(replica)
    }

    /// Groups whose replicas here are not needed any more: they belong elsewhere, and the group goes on without this node.
    public var dispensableGroups: [GroupID] {
        replicas.filter { replica in
            guard let wanted = replica.wantedVoters, !wanted.contains(node), !replica.role.isLeader else {
                return false
            }
            let status = replica.core.status
            return status.isRemoved
                || (!status.configuration.isMember(node) && status.configurationIndex <= status.commit)
        }.map(\.group)
    }

    /// Stops hosting a group and forgets its log. The caller closes the state machine; its files may go once
    /// ``logBatchesInFlight`` is 0 after the next flush, and must stay until then.
    ///
    /// First it is put on record that the replica must not be opened again, what it had promised, for the case that another one
    /// takes its place, and whether that is to be (``releasedGroups``).
    ///
    /// - Throws: ``ReplicationError`` with code `stateMachine` when that cannot be written; nothing has changed then.
    public func remove(_ group: GroupID) throws(ReplicationError) {
        guard failure == nil, let log = lost[group]?.log ?? index[group]?.log else { return }
        let folders = ReplicaFolders(in: directory, fileSystem)
        do throws(FileError) {
            if let core = index[group]?.core {
                let former = FormerReplica(term: core.term, vote: core.status.vote, last: core.votingPosition)
                try former.write(group, in: directory, fileSystem)
            }
            if lost[group] != nil { try folders.noteRejoin(of: group) }
            try folders.noteLeaving(group)
        } catch {
            throw ReplicationError(.stateMachine, group: group, "what it promised cannot be noted: \(error)")
        }
        lost[group] = nil
        refused[group] = nil
        destroy(log)
        guard let replica = index[group] else { return }
        endSnapshots(of: replica)
        abandonReads(of: replica, .unavailable)
        if replica.role != .follower(leader: nil) {
            replica.role = .follower(leader: nil)
            replica.stateMachine.roleDidChange(replica.role)
        }
        // Tickets of batches on their way find it stopped.
        replica.failure = ReplicationError(.unknownGroup, group: group, "the replica was removed")
        updateActivity(of: replica)
        replicas.removeAll { $0 === replica }
        index.remove(group)
    }
}
