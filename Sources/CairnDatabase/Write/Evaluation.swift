import CairnStorage

/// What the evaluator is told about the world; it reads no clock itself.
public struct EvaluationContext: Hashable, Sendable {
    /// Wall-clock milliseconds since 1970: feeds versions, `$currentDate`, session expiry.
    public var nowMilliseconds: UInt64
    /// Milliseconds of a clock that never jumps: feeds cursor timeouts, and session expiry where the wall clock jumped.
    public var monotonicMilliseconds: UInt64

    public init(nowMilliseconds: UInt64, monotonicMilliseconds: UInt64? = nil) {
        self.nowMilliseconds = nowMilliseconds
        self.monotonicMilliseconds = monotonicMilliseconds ?? nowMilliseconds
    }
}

/// A place in the sequence of proposals of one term; 0 is before the first.
public typealias TipPosition = UInt64

/// What came of a request, and when it may be told.
public struct Evaluation: Sendable {
    public enum Outcome: Sendable {
        /// Send this once ``Evaluation/restsOn`` is applied.
        case answer(GroupAnswer)
        /// Evaluate the same request again once ``Evaluation/restsOn`` is applied: it needs applied state that is on its
        /// way (a descriptor or a promise that an earlier request proposed).
        case again
        /// Run this where waiting holds nobody up, and give what comes of it to ``GroupDatabase/conclude(_:_:)``; or else
        /// ``GroupDatabase/abandon(_:)`` it. Nothing was written. Only in mode `cacheOnly`.
        case deferred(DeferredRead)
    }

    public let outcome: Outcome
    /// The answer holds only if the proposal of this position commits. Hold it back until
    /// ``GroupDatabase/appliedPosition`` has reached it; drop it (the outcome is unknown to the client) when the term
    /// ends before. Zero: rests on applied state alone.
    public let restsOn: TipPosition
    /// Whether the request added to the open proposal.
    public let wrote: Bool

    public init(_ outcome: Outcome, restsOn: TipPosition = 0, wrote: Bool = false) {
        self.outcome = outcome
        self.restsOn = restsOn
        self.wrote = wrote
    }
}

/// The payload of a log entry, ready to be proposed.
public struct Proposal: Sendable {
    /// See ``ProposalPayload`` for the layout.
    public let payload: [UInt8]
    /// When it takes effect.
    public let version: Version
    /// Answers with `restsOn` at or below this may go once it is applied.
    public let position: TipPosition
}
