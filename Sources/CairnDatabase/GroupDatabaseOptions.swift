import CairnDefects

/// How a group's database behaves; the defaults suit a node of the cluster.
public struct GroupDatabaseOptions: Sendable {
    /// Bytes of writes after which an open proposal is closed, so that one log entry stays sendable.
    public var proposalBytesMax = 4 << 20
    /// How far ahead a promise of a read version reaches (milliseconds), so that one log entry serves all cursors that are
    /// opened in that time. A new leader's versions start after the promise.
    public var promiseAheadMilliseconds: UInt64 = 5_000
    /// A version from outside may be this far ahead of this node's wall clock, not more.
    public var clockDriftMillisecondsMax: UInt64 = 60_000
    /// How long old versions of documents stay readable without a cursor that holds them.
    public var historyMilliseconds: UInt64 = 60_000
    /// Open cursors; one more is refused.
    public var cursorsMax = 10_000
    /// A cursor that nobody asked for this long is closed.
    public var cursorIdleMillisecondsMax: UInt64 = 600_000
    /// Documents of a first batch that does not say.
    public var firstBatchDocuments = 101
    /// Bytes of documents in one reply; the document that crosses the line is the last.
    public var replyBytesMax = 16 << 20
    /// Documents and index entries that a read may look at where it stands; one that needs more is deferred, so that others
    /// do not wait for it. A first batch of 101 fits.
    public var documentsReadAtOnce = 256
    /// Bytes of documents that one sort may hold (MongoDB's `internalQueryMaxBlockingSortMemoryUsageBytes`).
    public var sortBytesMax = 100 << 20
    /// The largest document.
    public var documentBytesMax = 16 << 20
    /// The largest index entry.
    public var indexEntryBytesMax = 256 << 10
    /// Session records that the leader keeps decoded.
    public var cachedSessionsMax = 10_000
    /// Distinguishes this process' cursors from those of any other, so that a cursor is never taken for another node's:
    /// give a random number.
    public var cursorSeed: UInt64 = 0

    /// Deliberate bugs, for tests.
    package var defects = Defects()

    public init() {}
}
