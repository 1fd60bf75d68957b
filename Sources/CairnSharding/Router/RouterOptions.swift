import CairnQuery

/// How a router behaves. Times are nanoseconds, sizes bytes.
public struct RouterOptions: Sendable {
    /// How long a command may take when it does not say (`maxTimeMS`): elections pass within it.
    public var commandNanoseconds: UInt64 = 15_000_000_000
    /// The first pause before a group without a leader is asked again; it doubles from there.
    public var retryPauseNanoseconds: UInt64 = 10_000_000
    /// The longest such pause.
    public var retryPauseNanosecondsMax: UInt64 = 250_000_000
    /// How often a command may start anew because the catalog changed under it.
    public var staleRetriesMax = 64
    /// A cursor that nobody asked for so long is closed.
    public var cursorIdleNanoseconds: UInt64 = 600_000_000_000
    /// Open cursors of one router; one more is refused.
    public var cursorsMax = 10_000
    /// The documents of one reply, together.
    public var replyBytesMax = 16 << 20
    /// The documents of a first batch that asks for no size, as MongoDB has it.
    public var firstBatchDocuments = 101
    /// Bytes that one `$sort` and one `$group` of an aggregation's merging part may hold.
    public var stageMemory = StageMemory()
    /// Bytes of any other stage of it; above it the command fails instead of the node.
    public var mergeBytesMax = 100 << 20
    /// Bytes that the stages of one aggregation's merging part may hold together.
    public var queryBytesMax = 256 << 20
    /// What queries of the node may hold together; nil for no more than each one's own limits.
    public var queryMemory: MemoryAccount?
    /// Steps (`WorkMeter`) of what is evaluated where the command stands; what takes more is begun anew apart.
    public var stepsAtOnce = 20_000
    /// Bytes of a filter or a pipeline that are read where the command stands; longer ones are read apart.
    public var argumentBytesAtOnce = 16 << 10
    /// Whether a scan over several groups reads all of them at one version. While they are written to, that costs a round trip
    /// before the first batch.
    public var scansReadOneVersion = true
    /// Bytes of documents sent to one group in one request; larger batches go in several.
    public var requestBytesMax = 8 << 20
    /// How long a command that does not have to wait keeps the loop to itself.
    public var turnNanoseconds: UInt64 = 5_000_000

    public init() {}
}
