import CairnRaft

/// Carrying out what one group's core decided.
extension GroupHost {
    func drain(_ replica: Replica) {
        guard replica.failure == nil, failure == nil else { return }
        beginReadRound(replica)
        while replica.hasReady {
            carryOut(replica.core.takeReady(), of: replica)
            guard replica.failure == nil, failure == nil else { return }
            beginReadRound(replica)
        }
    }

    private func carryOut(_ ready: Ready, of replica: Replica) {
        if let receipt = ready.receipt {
            append(ready, of: replica)
            receipts.append(PersistTicket(replica: replica, receipt: receipt))
        }
        for message in ready.messages { send(message, of: replica.group) }
        if let metadata = ready.snapshotToInstall {
            install(metadata, in: replica)
            guard replica.failure == nil else { return }
        }
        if !ready.committed.isEmpty {
            guard apply(ready.committed, to: replica) else { return }
        }
        if let configuration = ready.configuration { learnMembers(configuration.configuration, of: replica) }
        if let change = ready.role { take(change, of: replica) }
        for read in ready.reads where read.context == replica.round?.context {
            replica.confirmedReads.append((index: read.index, reads: replica.round!.reads))
            replica.round = nil
        }
        for context in ready.abandonedReads where context == replica.round?.context {
            let reads = replica.round!.reads
            replica.round = nil
            for read in reads { read.completion(.failure(.notLeader(leader: replica.core.leader))) }
        }
        if !replica.confirmedReads.isEmpty { answerReads(of: replica) }
        for peer in ready.snapshotsToSend { beginSnapshot(to: peer, of: replica) }
        if let error = ready.logFailure {
            fail(replica, ReplicationError(.damaged, group: replica.group, "entry \(error.index): \(error.message)"))
            if replica.hasPeers { lose(replica.group, replica.log) }
        }
    }

    /// Gives committed entries to the state machine. False when the replica has failed over it.
    ///
    /// Without room for them they wait, and those that come after them too: a few, because nothing is appended meanwhile.
    private func apply(_ entries: [Entry], to replica: Replica) -> Bool {
        guard replica.unapplied.isEmpty else {
            replica.unapplied += entries
            return true
        }
        var failure: ReplicationError?
        do {
            try replica.stateMachine.apply(entries[...])
        } catch {
            failure =
                error as? ReplicationError
                ?? ReplicationError(.stateMachine, group: replica.group, "applying failed: \(error)")
        }
        if failure?.code == .damaged, let reason = replica.stateMachine.damage, replica.hasPeers {
            rebuild(replica, because: reason)
            return true
        }
        if let failure, failure.code != .outOfSpace {
            fail(replica, failure)
            return false
        }
        let applied = replica.stateMachine.appliedIndex
        let left = entries[entries.count - 1].index - applied
        precondition(
            failure == nil ? left == 0 : left > 0 && left <= entries.count,
            "\(replica.group) applied \(applied) of \(entries[0].index) to \(entries[entries.count - 1].index)")
        replica.unapplied = Array(entries.suffix(left))
        statistics.entriesApplied += UInt64(entries.count - left)
        if left < entries.count { replica.core.applied(to: applied) }
        if let failure {
            replica.nextApplyAttempt = now + options.spaceReadingNanoseconds
            onGroupFailure?(failure)
        }
        return true
    }

    /// Tries again to apply what there was no room for.
    func retryApplying(to replica: Replica) {
        guard !replica.unapplied.isEmpty, now >= replica.nextApplyAttempt else { return }
        let entries = replica.unapplied
        replica.unapplied = []
        if apply(entries, to: replica) { answerReads(of: replica) }
        markDirty(replica)
    }

    /// Stops one group on this node; the other replicas of it, and the other groups here, go on.
    func fail(_ replica: Replica, _ error: ReplicationError) {
        guard replica.failure == nil else { return }
        replica.failure = error
        if replica.role.isLeader { noteResignation() }
        markDirty(replica)
        endSnapshots(of: replica)
        abandonReads(of: replica, .unavailable)
        if replica.role != .follower(leader: nil) {
            replica.role = .follower(leader: nil)
            replica.stateMachine.roleDidChange(replica.role)
        }
        onGroupFailure?(error)
    }

    private func take(_ change: RoleChange, of replica: Replica) {
        let role: ReplicaRole =
            change.role == .leader ? .leader(term: change.term) : .follower(leader: change.leader)
        guard role != replica.role else { return }
        if replica.role.isLeader {
            if change.role != .leader, change.leader == nil { noteResignation() }
            endSnapshotSenders(of: replica)
            replica.preferredReadySince = nil
            let reads = replica.reads
            replica.reads = []
            for read in reads { read.completion(.failure(.notLeader(leader: change.leader))) }
        }
        replica.role = role
        replica.stateMachine.roleDidChange(role)
    }

    // MARK: Messages

    func send(_ message: Message, of group: GroupID) {
        guard let link = links.firstIndex(where: { $0.peer == message.to }) else { return }
        links[link].raft.add(group: group, byteCount: RaftMessageCodec.byteCount(of: message), to: transport) { frame in
            RaftMessageCodec.append(message, to: &frame)
        }
    }

    func send(_ message: SnapshotMessage, to peer: NodeID, of group: GroupID) {
        guard let link = links.firstIndex(where: { $0.peer == peer }) else { return }
        links[link].bulk.add(group: group, byteCount: message.byteCountHint, to: transport) { frame in
            message.append(to: &frame)
        }
    }

    func learnMembers(_ configuration: Configuration, of replica: Replica) {
        replica.hasPeers = configuration.members.contains { $0 != node }
        replica.mayBeMisplaced = true
        for peer in configuration.members where peer != node { addLink(to: peer) }
    }

    func addLink(to peer: NodeID) {
        guard !Self.nobody.contains(peer), !links.contains(where: { $0.peer == peer }) else { return }
        links.append(
            PeerLink(
                peer: peer, watch: PeerWatch(since: patience),
                raft: FrameBuilder(cluster: options.cluster, node: node, peer: peer, channel: .raft),
                bulk: FrameBuilder(cluster: options.cluster, node: node, peer: peer, channel: .bulk)))
    }
}
