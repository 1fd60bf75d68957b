import CairnRaft

/// A replica whose tablet is damaged, and how it gets another one.
///
/// Log and hard state are files of their own and are sound, so the replica keeps its vote and goes on acknowledging what it
/// appends: `RaftCore.loseState(now:)` says why that is safe. It hands its offices over, applies nothing, and asks the leader
/// for a snapshot. Any snapshot serves that reaches the beginning of its log. The log behind the snapshot stays, because it has
/// been acknowledged, and is applied to the new tablet. The damaged tablet is removed when the new one is durable, by
/// ``ReplicatedStateMachine/install(from:)``.
///
/// Damage in the group's part of the *log* is another matter: what was acknowledged may be lost, so the replica stays out
/// until the group has removed it, and joins anew (``releasedGroups``).
extension GroupHost {
    /// Looks whether reads or applies have found damage.
    func watchDamage() {
        for replica in active { watchDamage(of: replica) }
    }

    func watchDamage(of replica: Replica) {
        guard replica.failure == nil, replica.damage == nil, let reason = replica.stateMachine.damage else { return }
        rebuild(replica, because: reason)
    }

    func rebuild(_ replica: Replica, because reason: String) {
        guard replica.hasPeers else {
            replica.damage = ReplicationError(
                .damaged, group: replica.group,
                "there is no other replica to rebuild the tablet from, so nothing was changed: \(reason)")
            onGroupFailure?(replica.damage!)
            return
        }
        replica.damage = Self.rebuilding(replica.group, reason)
        onGroupFailure?(replica.damage!)
        do { try replica.stateMachine.noteDamage() } catch {
            // Without the note the next life may have to find the damage again.
            onGroupFailure?(ReplicationError(.stateMachine, group: replica.group, "the damage is not noted: \(error)"))
        }
        endSnapshotSenders(of: replica)
        replica.unapplied = []
        replica.core.loseState(now: now)
        markDirty(replica)
    }

    static func rebuilding(_ group: GroupID, _ reason: String) -> ReplicationError {
        ReplicationError(.damaged, group: group, "the tablet is being rebuilt from a snapshot of the leader: \(reason)")
    }
}
