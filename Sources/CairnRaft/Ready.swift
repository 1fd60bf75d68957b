/// What the host must do next, in this order:
///
/// 1. put ``entries`` into its ``RaftLogStorage`` (at once, in memory) and hand them with ``hardState`` to the disk,
/// 2. send ``messages``; nothing in them waits for step 1 to be durable,
/// 3. apply ``committed`` and call ``RaftCore/applied(to:)``,
/// 4. see to the rest,
///
/// and when the disk has what step 1 gave it, call ``RaftCore/persisted(_:)`` with the ``receipt``. Several Readys may
/// be on their way to the disk. Votes and acknowledgements wait inside the core for their receipt and come out in the
/// `messages` of a later Ready, so a host cannot send them too early.
public struct Ready: Sendable {
    /// Counts the Readys of one life of the core, from 1.
    public var number: UInt64
    /// To be made durable together with (or before) ``entries``.
    public var hardState: HardState?
    /// To be made durable. What the log holds at or above the first one's index gives way.
    public var entries: [Entry] = []
    /// What to give back once `hardState` and `entries` are durable; nil when there is neither.
    public var receipt: PersistReceipt?
    /// To be sent now.
    public var messages: [Message] = []
    /// To be applied, in order. An entry appears exactly once in a life of the core.
    public var committed: [Entry] = []
    /// Reads that may be answered once the state machine has applied their index.
    public var reads: [ReadState] = []
    /// Contexts of reads that will never be confirmed because leadership was lost.
    public var abandonedReads: [UInt64] = []
    /// The role after this Ready, when it or the known leader or the term has changed.
    public var role: RoleChange?
    /// The configuration now in force and the entry that brought it, when it has changed. It may still be undone.
    public var configuration: ConfigurationInForce?
    /// Followers whose next entries were purged: send them a snapshot and report with
    /// ``RaftCore/reportSnapshot(to:result:)``.
    public var snapshotsToSend: [NodeID] = []
    /// A snapshot that was offered and is wanted: replace state machine and log by it atomically, then call
    /// ``RaftCore/snapshotInstalled(_:)``.
    public var snapshotToInstall: SnapshotMetadata?
    /// The log could not be read. What needed it was left out and is tried again with the next Ready; a host that
    /// cannot repair the log should stop the replica.
    public var logFailure: RaftLogError?

    @usableFromInline init(number: UInt64) { self.number = number }
}

/// Identifies what one ``Ready`` gave to the disk.
public struct PersistReceipt: Hashable, Sendable {
    public let number: UInt64
    /// The last of the Ready's entries.
    public let last: LogPosition?
    public let hardState: HardState?
}

/// A read that is confirmed: the node was leader when it was asked for.
public struct ReadState: Hashable, Sendable {
    /// As given to ``RaftCore/requestRead(context:)``.
    public let context: UInt64
    /// The state machine must have applied this before the read is answered.
    public let index: LogIndex
}

public struct RoleChange: Hashable, Sendable {
    public let role: RaftRole
    public let term: Term
    /// The leader of `term`, when known.
    public let leader: NodeID?
}

/// What a replica is at the moment.
public enum RaftRole: UInt8, Hashable, Sendable {
    case follower, preCandidate, candidate, leader
}

/// A configuration and the index of the entry (or snapshot) that brought it.
public struct ConfigurationInForce: Hashable, Sendable {
    public let index: LogIndex
    public let configuration: Configuration
}

/// How the sending of a snapshot ended.
public enum SnapshotResult: Hashable, Sendable {
    /// The receiver has it installed as of `index`.
    case installed(LogIndex)
    /// It did not arrive, or the receiver did not want it.
    case failed
}
