import CairnDefects

/// How a replica takes requests and turns them into log entries.
public struct DataGroupOptions: Hashable, Sendable {
    /// Entries that are proposed at once and not yet applied, while requests trickle in. Above it requests gather, so that
    /// entries grow with the load instead of multiplying.
    public var entriesInFlight = 2
    /// Batches of the node's log on their way to the disk above which requests gather: the disk takes one at a time, and what
    /// waits for it anyway may as well become one entry and one message.
    public var logBatchesInFlight = 2
    /// Bytes of gathered requests above which an entry goes out however many are in flight.
    public var batchBytes = 1 << 20
    /// Bytes of entries in flight above which nothing more is proposed. Below the host's own limit, which refuses.
    public var bytesInFlightMax = 32 << 20
    /// The pause after an entry when the engine can hardly take more, in nanoseconds; it grows with the engine's pressure.
    public var throttleNanosecondsMax = 20_000_000.0
    /// Requests that wait for anything; one more is refused, and its router tries again a little later.
    public var requestsMax = 20_000
    /// Bytes of such requests.
    public var requestBytesMax = 128 << 20
    /// Reads that wait for more of capped collections; one more is answered at once.
    public var tailsMax = 1_000

    /// How long the results of a retryable write are kept after it, in milliseconds; a driver retries within seconds.
    public var sessionResultsMilliseconds: Int64 = 30 * 60_000
    /// After this long the session itself is forgotten.
    public var sessionMilliseconds: Int64 = 24 * 3_600_000

    /// The pause between two passes over the indexes that delete documents, in milliseconds.
    public var expirySleepMilliseconds: Int64 = 60_000
    /// Documents that one step of a pass deletes at most, in one request.
    public var expiryStepDocuments = 1_000

    /// Deliberate bugs, for tests.
    package var defects = Defects()

    public init() {}
}
