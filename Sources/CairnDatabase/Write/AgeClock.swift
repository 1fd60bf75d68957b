/// Tells how old a record is, although the wall clock may be set.
///
/// Records carry wall-clock time, which is what one leader has in common with the next. But a clock that is set back and
/// then right again makes what was written in between look older than it is, and it would go early. So what is stamped is
/// never behind what the monotonic clock makes of earlier stamps, and the present that ages are counted back from is never
/// ahead of what it makes of an earlier present. Either errs towards keeping, by as much as the wall clock was set.
///
/// One term's: a leader knows of its predecessor's clock only through the versions, which `notBefore` stands for.
struct AgeClock: Sendable {
    private struct Reading {
        var milliseconds: UInt64
        var monotonic: UInt64

        /// `milliseconds` as long after as the monotonic clock says.
        func moved(to now: UInt64) -> UInt64 {
            milliseconds + (now > monotonic ? now - monotonic : 0)
        }
    }

    private let notBefore: UInt64
    private var stamp: Reading?
    private var present: Reading?

    /// - Parameter notBefore: Milliseconds of the last version that the group is known to have given out.
    init(notBefore: UInt64) {
        self.notBefore = notBefore
    }

    /// The time to write on what is new; late rather than early.
    mutating func stamp(_ context: EvaluationContext) -> UInt64 {
        let earliest = stamp?.moved(to: context.monotonicMilliseconds) ?? notBefore
        let now = max(context.nowMilliseconds, earliest)
        stamp = Reading(milliseconds: now, monotonic: context.monotonicMilliseconds)
        return now
    }

    /// How far the wall clock is ahead of the time that ages may be counted back from.
    mutating func excess(_ context: EvaluationContext) -> UInt64 {
        let latest = present?.moved(to: context.monotonicMilliseconds) ?? context.nowMilliseconds
        let now = min(context.nowMilliseconds, latest)
        present = Reading(milliseconds: now, monotonic: context.monotonicMilliseconds)
        return context.nowMilliseconds - now
    }
}
