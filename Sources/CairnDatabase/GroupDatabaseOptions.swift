import CairnDefects
import CairnQuery

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
    /// Steps (``WorkMeter``) that a request may take where it stands: a millisecond or so. One that needs more is deferred.
    public var stepsAtOnce = 20_000
    /// Bytes of a request's arguments that are read where it stands; a read with more is deferred.
    public var argumentBytesAtOnce = 32 << 10
    /// Steps of a deferred read after which it makes way for others that may take less (``DeferredRead/isLong``).
    public var stepsOfShortReads = 2_000_000
    /// Steps that the conditions and expressions of one write may take. Writes of a group are evaluated one after the other, so
    /// one that needs more than this, a fraction of a second, is refused.
    public var writeStepsMax = 8_000_000
    /// What queries of the node may hold together; nil for no more than each one's own limits.
    public var queryMemory: MemoryAccount?
    /// Bytes that the stages of one query may hold together.
    public var queryBytesMax = 256 << 20
    /// Where queries put what does not fit into their memory; nil makes that an error.
    public var spill: (any SpillStore)?
    /// Bytes that one sort and one `$group` may hold.
    public var stageMemory = StageMemory()
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
