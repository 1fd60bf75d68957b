import CairnRaft

/// A replica whose part of the log is damaged or missing, from when it is found out until it can be made anew.
struct LostReplica {
    let log: GroupLog
    /// Names the question, so that no answer to an earlier one is taken for its answer.
    let request: UInt64
    var nextRequest: UInt64
    /// The leader has said that the group goes on without this replica.
    var isReleased = false
}

/// Replicas that lost what they had acknowledged: they stay out, have themselves removed, and join anew.
///
/// The host asks all peers to be taken out; the group's leader removes the node from the voters and says so. Then the group is
/// among ``releasedGroups``: its owner calls ``remove(_:)``, which puts on record that the replica will join, deletes the files once
/// the log has forgotten the group, and makes a newcomer (``ReplicaFolders/prepare(_:isNew:)``), which the leader takes in as it
/// does any other.
///
/// The damage stays on record until then, so that a restart at any point begins where this one ended.
extension GroupHost {
    /// Notes that a group's log is lost here.
    func lose(_ group: GroupID, _ log: GroupLog) {
        guard lost[group] == nil else { return }
        lost[group] = LostReplica(log: log, request: nextSeed(), nextRequest: now)
    }

    /// Stops a replica that turns out to lack what it had acknowledged.
    func forsake(_ replica: Replica, acknowledgedThrough through: LogIndex) {
        fail(
            replica,
            ReplicationError(
                .damaged, group: replica.group,
                "the disk has lost the log behind entry \(replica.core.status.last.index): it had gone up to \(through)"
            ))
        lose(replica.group, replica.log)
    }

    func tickLost() {
        guard !lost.isEmpty, !isShuttingDown else { return }
        for (group, replica) in lost where !replica.isReleased && now >= replica.nextRequest {
            lost[group]!.nextRequest = now + options.raft.electionTimeout.nanoseconds
            for link in links {
                send(
                    Message(from: node, to: link.peer, term: .zero, kind: .logLost(request: replica.request)),
                    of: group)
            }
        }
    }

    /// What a peer says to a replica that is lost here: only that the group goes on without it is of interest.
    func takeForLost(_ message: PeerMessage) throws(PeerCodecError) {
        guard let kind = message.bytes.first, kind < SnapshotMessage.firstKind else { return }
        let decoded = try RaftMessageCodec.decode(message.bytes, from: message.sender, to: node)
        guard case .released(let request) = decoded.kind, request == lost[message.group]!.request else { return }
        lost[message.group]!.isReleased = true
    }

    /// Groups whose replicas here are lost, and which go on without this node: the replicas may be made anew.
    public var releasedGroups: [GroupID] { lost.filter { $0.value.isReleased }.keys.sorted() }

    /// On the leader: removes voters that have lost their logs. False if there are none.
    func removeLostVoters(of replica: Replica, _ status: RaftStatus) -> Bool {
        let configuration = status.configuration
        let staying = configuration.voters.filter { voter in
            !status.peers.contains { $0.node == voter && $0.hasLostLog }
        }
        guard staying.count < configuration.voters.count else { return false }
        if hasMajority(of: staying, status) {
            change(replica, voters: staying, learners: configuration.learners)
        }
        return true
    }
}
