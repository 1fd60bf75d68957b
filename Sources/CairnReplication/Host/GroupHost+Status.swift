public import CairnRaft

/// What operators, routers and metrics ask.
extension GroupHost {
    /// Whom this replica believes to lead the group; nil when nobody, or when the group is not here.
    public func leader(of group: GroupID) -> NodeID? {
        guard let replica = index[group], replica.failure == nil, failure == nil else { return nil }
        return replica.core.leader
    }

    /// The role that the group's state machine was last told; nil when the group is not here.
    public func role(of group: GroupID) -> ReplicaRole? {
        index[group]?.role
    }

    /// Who takes part in the group, as its newest configuration here says; nil when the group is not here.
    public func configuration(of group: GroupID) -> Configuration? { index[group]?.core.configuration }

    public func appliedIndex(of group: GroupID) -> LogIndex? {
        index[group]?.stateMachine.appliedIndex
    }

    /// How the replica stands, also one that was refused or stopped; nil for a group that was never added.
    ///
    /// - Complexity: O(voters), with allocations; not for each request.
    public func status(of group: GroupID) -> ReplicaStatus? {
        guard let replica = index[group] else {
            return refused[group].map { ReplicaStatus(group: group, failure: $0) }
        }
        let core = replica.core.status
        let peers = core.peers.map { peer in
            let sender = replica.senders.first { $0.peer == peer.node }
            return ReplicaStatus.Peer(
                node: peer.node, match: peer.match, isActive: peer.isActive,
                snapshot: sender.map {
                    ReplicaStatus.SnapshotProgress(acknowledgedBytes: $0.acknowledged, totalBytes: $0.totalBytes)
                })
        }
        return ReplicaStatus(
            group: group, role: replica.role, term: core.term, commitIndex: core.commit,
            appliedIndex: replica.stateMachine.appliedIndex, durableIndex: replica.stateMachine.durableIndex,
            firstLogIndex: replica.log.firstIndex, lastLogIndex: replica.log.lastIndex,
            logBytes: UInt64(replica.log.byteCount), voters: core.configuration.voters, peers: peers,
            incomingSnapshot: replica.receiver.map {
                ReplicaStatus.SnapshotProgress(acknowledgedBytes: $0.received, totalBytes: $0.totalBytes)
            },
            isQuiet: core.isQuiet, failure: replica.failure ?? replica.damage ?? failure)
    }
}

extension ReplicaStatus {
    /// The status of a replica that never came up.
    init(group: GroupID, failure: ReplicationError) {
        self.init(
            group: group, role: .follower(leader: nil), term: .zero, commitIndex: .zero, appliedIndex: .zero,
            durableIndex: .zero, firstLogIndex: .zero, lastLogIndex: .zero, logBytes: 0, voters: [], peers: [],
            incomingSnapshot: nil, isQuiet: false, failure: failure)
    }
}
