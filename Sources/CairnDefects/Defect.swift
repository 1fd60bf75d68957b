/// A deliberate bug, one of those that a replicated database has had before.
///
/// Each is built in at the place where the real bug would be, and does nothing until somebody switches it on: the tests of the
/// tests do, to see that the simulation finds it, and so do the tests of `scripts/faults`, which tell a node's process by
/// `CAIRN_DEFECT` which ones to have. So the names are stable.
public enum Defect: String, CaseIterable, Sendable {
    // Elections.

    /// A vote leaves before it is on the disk.
    case voteWithoutPersisting
    /// A node that starts again does not remember whom it voted for.
    case forgetVoteAtRestart
    /// A pre-vote is granted to a log that is behind.
    case preVoteForShorterLog
    /// A vote is granted to a log that is behind.
    case voteForShorterLog
    /// A candidate is helped while a leader's lease may rest on this node.
    case voteWithinLease

    // The log.

    /// An append is acknowledged before the entries are on the disk.
    case acknowledgeUnsyncedAppend
    /// The shared log reports a sync that did not happen.
    case skipLogSync
    /// A late duplicate of an append cuts off what came after it.
    case truncateAtDuplicateAppend
    /// A segment is given up with what is still needed of it.
    case giveUpSegmentInUse
    /// The log is purged beyond what the tablet has on the disk.
    case purgeBeyondDurable

    // The commit rule.

    /// An entry of an older term is committed by counting its copies.
    case commitOlderTermByCount
    /// The leader counts its own copy before its disk has it.
    case countUnsyncedOwnCopy
    /// Learners count for a commit.
    case countLearners

    // Reads.

    /// A lease never ends.
    case serveReadOnExpiredLease
    /// A lease runs from the answer to a heartbeat, and not from when the heartbeat left.
    case leaseFromAnswer
    /// A lease lasts while the office is being handed over.
    case keepLeaseInTransfer
    /// A read index is given without asking anyone.
    case readWithoutConfirmation
    /// A new leader serves reads before an entry of its own term has committed.
    case readBeforeOwnCommit
    /// A follower answers reads from what it has applied.
    case readFromFollower

    // Membership and snapshots.

    /// A change of several voters goes without a joint configuration.
    case skipJointConfiguration
    /// A snapshot is installed without one of its tables.
    case omitTableFromSnapshot

    // State machine.

    /// After a restart the last entries are applied again.
    case applyAgainAfterRestart
    /// A write is answered before it is committed.
    case answerBeforeCommit
    /// A retried write is carried out again.
    case repeatRetriedWrite
    /// What a session did is remembered by the leader alone.
    case keepSessionsInMemory
    /// Index entries of the old document stay when it changes.
    case leaveOldIndexEntries
}
