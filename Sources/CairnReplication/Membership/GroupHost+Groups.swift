import CairnDefects
import CairnFiles
public import CairnRaft

/// Taking groups up: what the log and the tablet of each say is brought together here.
extension GroupHost {
    /// Hosts a group, from where its log and its tablet left off.
    ///
    /// The tablet is open and recovered; entries behind ``ReplicatedStateMachine/appliedIndex`` are applied again from the log
    /// as their commit becomes known. When the tablet is ahead of the log, or of another history, a power cut fell between
    /// a snapshot's switch and the log's reset, or the log lost a tail that others had committed; the log begins anew
    /// behind the tablet then. Snapshots that were on their way are removed.
    ///
    /// A replica whose tablet is damaged (``ReplicatedStateMachine/damage``) is rebuilt from the others; alone it is refused.
    ///
    /// - Parameters:
    ///   - voters: the members until the log says otherwise, the same on each of them.
    ///   - isNewcomer: whether the replica was made after the group had begun. It then has no vote, whatever `voters` says, until
    ///     the group's leader makes it a member: a founder that comes back empty must not vote as though it remembered.
    ///   - preferredLeader: the voter that should lead while it is alive and caught up, the same on each of them.
    /// - Throws: ``ReplicationError``. With code `damaged` or `logGap` the replica does not take part, so that a majority
    ///   without it decides, and ``status(of:)`` says why. Where there are others it has itself removed, to be made anew
    ///   (``releasedGroups``).
    public func add(
        group: GroupID, voters: [NodeID], preferredLeader: NodeID? = nil, isNewcomer: Bool = false,
        stateMachine: any ReplicatedStateMachine
    ) throws(ReplicationError) {
        if let failure { throw failure }
        guard index[group] == nil else { throw ReplicationError(.groupExists, group: group, "hosted already") }
        removeUnfinishedSnapshots(of: group)
        let former: FormerReplica?
        do throws(ReplicationError) { former = try FormerReplica.read(group, in: directory, fileSystem) } catch {
            // What a former replica had promised is unknown: neither this one nor one made anew may take part.
            refused[group] = error
            throw error
        }
        let log = log.open(group)
        do {
            let replica = try open(
                group: group, voters: isNewcomer ? Self.nobody : voters, preferredLeader: preferredLeader,
                stateMachine: stateMachine, log: log, former: former)
            refused[group] = nil
            index.insert(replica)
            replicas.append(replica)
            replica.core.setAbsent(absentPeers, now: now)
            markDirty(replica)
        } catch {
            refused[group] = error
            if error.code == .damaged || error.code == .logGap, isNewcomer || voters.contains(where: { $0 != node }) {
                lose(group, log)
            }
            throw error
        }
    }

    /// Voters of a group that this node knows nothing of yet. No node has this number.
    static let nobody = [NodeID(rawValue: 0)]

    private func open(
        group: GroupID, voters: [NodeID], preferredLeader: NodeID?, stateMachine: any ReplicatedStateMachine,
        log: GroupLog, former: FormerReplica?
    ) throws(ReplicationError) -> Replica {
        guard !voters.isEmpty else {
            throw ReplicationError(.invalidConfiguration, group: group, "a group needs voters")
        }
        if let damage = log.damage {
            throw ReplicationError(.damaged, group: group, "\(damage.file): \(damage.reason)")
        }
        let damage = stateMachine.damage
        guard damage == nil || voters.count > 1 || voters == Self.nobody else {
            throw ReplicationError(
                .damaged, group: group,
                "there is no other replica to rebuild the tablet from, so nothing was changed: \(damage!)")
        }
        let applied =
            damage == nil ? LogPosition(term: stateMachine.appliedTerm, index: stateMachine.appliedIndex) : log.base
        guard applied.index >= log.firstIndex.previous else {
            throw ReplicationError(
                .logGap, group: group,
                "the tablet ends at entry \(applied.index), the log begins at \(log.firstIndex): the tablet is older")
        }
        var hardState = log.hardState
        if let former, former.term > hardState.term || (former.term == hardState.term && hardState.vote == nil) {
            hardState.term = former.term
            hardState.vote = former.vote
        }
        if hardState.term < applied.term {
            hardState.term = applied.term
            hardState.vote = nil
        }
        if log.term(at: applied.index) != applied.term {
            hardState.commit = applied.index
            reset(log, to: applied, hardState: hardState)
        }
        hardState.commit = max(hardState.commit, applied.index)

        var configuration = Configuration(voters: voters)
        // Where the tablet is damaged, until a snapshot says better: the replica does not campaign by it.
        var configurationIndex = damage == nil ? LogIndex.zero : applied.index
        if damage == nil, let bytes = stateMachine.appliedConfiguration {
            guard let decoded = Configuration(decoding: bytes[...]) else {
                throw ReplicationError(.damaged, group: group, "the tablet's configuration cannot be read")
            }
            configuration = decoded
            configurationIndex = applied.index
        }
        var appliedToCore = applied.index
        if options.defects.contains(.applyAgainAfterRestart), appliedToCore >= log.firstIndex {
            appliedToCore = appliedToCore.previous
        }
        let core: RaftCore
        do {
            core = try RaftCore(
                id: node, configuration: configuration, configurationIndex: configurationIndex, hardState: hardState,
                storage: log, applied: appliedToCore, formerLast: former?.last ?? .zero, options: options.raft,
                seed: nextSeed() ^ UInt64(group.rawValue), now: now)
        } catch {
            throw ReplicationError(.damaged, group: group, "the log at entry \(error.index): \(error.message)")
        }
        let replica = Replica(
            group: group, stateMachine: stateMachine, log: log, preferredLeader: preferredLeader, core: core,
            hasPeers: false)
        if let damage {
            replica.damage = Self.rebuilding(group, damage)
            replica.core.loseState(now: now)
        }
        learnMembers(configuration, of: replica)
        learnMembers(core.status.configuration, of: replica)
        return replica
    }
}
