public import CairnRaft

/// What a group replicates: a tablet that takes committed entries in order and says how far it is.
///
/// The host calls it on the group's event loop only. Entries arrive exactly once and in order within the life of a
/// process; after a crash they go on behind ``appliedIndex``, so the effects of an entry and the position that records it
/// must reach the disk together or not at all.
///
/// - Invariant: `durableIndex <= appliedIndex`, and neither decreases, except that ``install(from:)`` replaces all.
public protocol ReplicatedStateMachine: AnyObject {
    /// The last entry applied, recovered at open; 0 when none was.
    var appliedIndex: LogIndex { get }

    /// The term of the entry at ``appliedIndex``; 0 when none was applied.
    ///
    /// It lets a replica find, after a power cut in the middle of a snapshot's installation, that its log belongs to
    /// another history than its tablet.
    var appliedTerm: Term { get }

    /// The payload of the last configuration entry applied, nil while there was none.
    ///
    /// It travels with a checkpoint, because the log that held the entry may be gone.
    var appliedConfiguration: [UInt8]? { get }

    /// Everything up to here survives a power cut without the Raft log, which may be purged below it.
    var durableIndex: LogIndex { get }

    /// What is wrong with the tablet's bytes, found when it was opened or read; nil while nothing was found.
    ///
    /// The host asks often. It has the tablet replaced by another replica's and goes on with the log, see
    /// ``install(from:)``; the positions above count for nothing until then.
    var damage: String? { get }

    /// The damaged tablet is to be replaced: makes sure that a restart does not take it for a sound one.
    func noteDamage() throws

    /// Applies entries that follow ``appliedIndex`` without a gap, atomically with their index and term.
    ///
    /// Entries of kind `empty` carry nothing and those of kind `configuration` only what ``appliedConfiguration``
    /// remembers, but all of them advance the position. On an error the host stops the group on this node and says so.
    func apply(_ entries: ArraySlice<Entry>) throws

    /// Hears of each change of role or leader, after the entries that were applied before it.
    ///
    /// It may propose to the group.
    func roleDidChange(_ role: ReplicaRole)

    /// Makes a consistent, durable copy (hard links) in a directory that does not exist yet, and returns the applied index
    /// that the copy holds, which must be ``appliedIndex``.
    func checkpoint(into directory: String) throws -> LogIndex

    /// Replaces the whole tablet by a copy that another replica's ``checkpoint(into:)`` made.
    ///
    /// The directory is complete and synced. The switch must be atomic: after a power cut at any moment the tablet is the old
    /// one or the new one. On return it is durable, ``appliedIndex`` is the copy's, and the directory is gone or of no use.
    func install(from directory: String) throws

    /// Asks for ``durableIndex`` to advance, because the log that only this tablet pins grows too long. Returns at once.
    func advanceDurability()
}

extension ReplicatedStateMachine {
    /// A tablet that flushes by itself soon enough needs no reminder.
    public func advanceDurability() {}

    /// A tablet that cannot tell never is.
    public var damage: String? { nil }
    public func noteDamage() {}
}
