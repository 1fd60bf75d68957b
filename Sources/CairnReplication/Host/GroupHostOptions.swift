import CairnDefects
public import CairnRaft

/// How a ``GroupHost`` behaves; times are nanoseconds of the monotonic clock that ``GroupHost/tick(now:)`` passes.
public struct GroupHostOptions: Hashable, Sendable {
    /// Names the cluster; frames of another one are refused. Never 0 in a real cluster.
    public var cluster: UInt64 = 0

    /// Elections, leases, windows and limits of the groups. `raft.entryBytesMax` may not exceed
    /// ``PeerCodec/entryBytesMax``.
    public var raft = RaftOptions()

    /// A log write that takes longer costs the node its leaderships until it completes.
    public var logStallNanoseconds: UInt64 = 2_000_000_000

    /// Bytes of the disk that are to stay free; see ``DiskSpace``. 0 keeps no reserve.
    public var spaceReserveBytes: UInt64 = 0
    /// How often the disk is asked how much is free, and how often what found no room is tried again.
    public var spaceReadingNanoseconds: UInt64 = 1_000_000_000

    /// How often the log is looked over for what may go.
    public var purgeNanoseconds: UInt64 = 1_000_000_000
    /// Applied entries that stay in the log for followers that are a little behind.
    public var logEntriesKept: UInt64 = 10_000
    /// Applied bytes that stay likewise; whichever of the two limits is met first counts.
    public var logBytesKept: UInt64 = 32 << 20
    /// Bytes of log that a living follower that lags, or a snapshot on its way to it, may hold back.
    public var logBytesHeldForFollowers: UInt64 = 256 << 20
    /// Bytes of log pinned by an undurable tablet after which it is asked to flush.
    public var logBytesBeforeFlush: UInt64 = 128 << 20

    /// Bytes of a snapshot chunk.
    public var snapshotChunkBytes = 256 << 10
    /// Snapshot bytes that may be on the way without an acknowledgement.
    public var snapshotWindowBytes: UInt64 = 2 << 20
    /// Snapshot bytes a second that this host sends, over all its groups.
    public var snapshotBytesPerSecond: UInt64 = 64 << 20
    /// Silence after which a sender goes back to the last acknowledged byte.
    public var snapshotRetryNanoseconds: UInt64 = 1_000_000_000
    /// Silence after which a transfer is given up on either side.
    public var snapshotTimeoutNanoseconds: UInt64 = 15_000_000_000
    /// Bytes after which a receiver syncs the file that it writes, so that the last sync is short.
    public var snapshotSyncBytes: UInt64 = 1 << 20
    /// Bytes that a snapshot may claim; a larger one is refused before a file is made.
    public var snapshotBytesMax: UInt64 = 4 << 40

    /// How long the preferred leader must have been alive and caught up before it is handed the office.
    public var preferredLeaderNanoseconds: UInt64 = 3_000_000_000
    /// Entries that a node may lack and still be handed the office.
    public var transferLagMax: UInt64 = 1_000
    /// A read that found no confirmation for so long is refused.
    public var readTimeoutNanoseconds: UInt64 = 5_000_000_000

    /// Deliberate bugs, for tests.
    package var defects = Defects()

    public init() {
        // The host watches over the nodes, which is what a quiet group asks for.
        raft.quietAfter = .seconds(3)
    }

    /// The options, once their relations hold.
    /// - Throws: ``ReplicationError`` with code `invalidConfiguration`, which names the option.
    public func validated() throws(ReplicationError) -> GroupHostOptions {
        func require(_ holds: Bool, _ message: String) throws(ReplicationError) {
            if !holds { throw ReplicationError(.invalidConfiguration, message) }
        }
        do {
            _ = try raft.validated()
        } catch {
            throw ReplicationError(.invalidConfiguration, "raft.\(error.name) \(error.reason)")
        }
        try require(
            raft.entryBytesMax <= PeerCodec.entryBytesMax,
            "raft.entryBytesMax must be at most \(PeerCodec.entryBytesMax)")
        try require(
            (1...PeerCodec.bytesMax / 2).contains(snapshotChunkBytes),
            "snapshotChunkBytes must be in 1...\(PeerCodec.bytesMax / 2)")
        try require(
            snapshotWindowBytes >= UInt64(snapshotChunkBytes), "snapshotWindowBytes must hold at least one chunk")
        try require(snapshotBytesPerSecond > 0, "snapshotBytesPerSecond must be above 0")
        return self
    }
}
