/// Watches whether another node's monotonic clock runs faster than this one's beyond what was declared.
///
/// A lease is sound only while a follower's election timeout does not end before the leader's lease: the follower's
/// clock must not run faster than (1000 + drift) / (1000 - drift) times the leader's. Each heartbeat answer carries
/// the follower's clock, read between the heartbeat's departure and the answer's arrival, so two answers bound the
/// ratio. A leader whose own clock stalled sees every follower's as too fast, which is what it should see.
struct ClockComparison {
    /// Nanoseconds of the leader's clock after which a comparison starts anew, so that an old good stretch cannot
    /// hide a present bad one.
    private static let span: UInt64 = 10_000_000_000
    /// Nanoseconds over which a comparison must find nothing before an earlier proof is dropped: over a short stretch, such as
    /// that between two answers in quick succession, the way of the messages hides any difference.
    private static let acquittalSpan: UInt64 = 1_000_000_000

    private var base: (sentAt: UInt64, receivedAt: UInt64, clock: UInt64)?
    /// Whether the other clock was proved too fast, and no comparison over a good stretch has found otherwise since.
    private(set) var isTooFast = false

    mutating func observe(sentAt: UInt64, receivedAt: UInt64, clock: UInt64, driftPermille: UInt64) {
        guard let base, clock >= base.clock, receivedAt >= base.receivedAt, sentAt >= base.sentAt else {
            // The first answer, or the other node's machine has started anew.
            self.base = (sentAt, receivedAt, clock)
            return
        }
        let theirs = clock - base.clock
        let oursAtMost = receivedAt - base.sentAt
        let (left, leftOverflow) = theirs.multipliedReportingOverflow(by: 1000 - driftPermille)
        let (right, rightOverflow) = oursAtMost.multipliedReportingOverflow(by: 1000 + driftPermille)
        if leftOverflow || rightOverflow || left > right {
            isTooFast = true
        } else if oursAtMost >= Self.acquittalSpan {
            isTooFast = false
        }
        if oursAtMost > Self.span { self.base = (sentAt, receivedAt, clock) }
    }
}
