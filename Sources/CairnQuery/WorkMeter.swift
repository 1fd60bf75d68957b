import CStepCount
import Synchronization

/// Counts the steps of one run of a query, and ends it with an error when it has had its share, when its time is over, or when it
/// is interrupted.
///
/// A step is what takes some tens of nanoseconds: an element that a loop looks at, an instruction of a regular expression, some
/// dozens of bytes copied. Whoever runs a query says how many it may take, and how to find out that nobody waits for it any
/// more; everything below that can be made to run for long counts here, and nothing below looks at a clock or a flag of its own.
/// So no text of a client, however it is nested or multiplied, holds up a thread for longer than its share.
///
/// The meter belongs to a run and not to the query: a cursor's next batch runs under another. A run is work on one thread, and
/// what it counts is a variable of that thread (`CStepCount`), because what a compiled expression calls has no other connection
/// to the run that it is part of. Without a run there is nothing that ends.
///
/// - Complexity: a count is a subtraction. The first of a run, and then one in 16,384, looks at the clock and the flag.
public final class WorkMeter: Sendable {
    /// Why a run was ended before it was done.
    public enum End: UInt8, AtomicRepresentable, Sendable {
        case none
        /// It took more steps than it may.
        case steps
        case time
        case interruption
    }

    /// The meter of the run at hand; nil where nothing is bounded.
    @TaskLocal public static var current: WorkMeter?

    /// Steps between two looks at the clock: a millisecond, or less.
    private static let stepsBetweenChecks = 16_384

    /// Steps beyond those that the thread may take before it looks again.
    private let beyond: Atomic<Int>
    private let ended = Atomic(End.none)
    private let interruption: Interruption?
    private let isOverdue: (@Sendable () -> Bool)?

    /// - Parameters:
    ///   - steps: how many there may be.
    ///   - interruption: what ends the run from outside.
    ///   - isOverdue: whether the time for the run is over; asked now and then.
    public init(steps: Int = .max, interruption: Interruption? = nil, isOverdue: (@Sendable () -> Bool)? = nil) {
        beyond = Atomic(steps)
        self.interruption = interruption
        self.isOverdue = isOverdue
    }

    /// Runs `work` under this meter, once.
    public func run<Value, Failure: Error>(_ work: () throws(Failure) -> Value) throws(Failure) -> Value {
        // A run may be within another, which it does not count for.
        let outer = cairn_steps_get()
        cairn_steps_set(0)
        defer { cairn_steps_set(outer) }
        let result = Self.$current.withValue(self) { () -> Result<Value, Failure> in
            do throws(Failure) { return .success(try work()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Why the run was ended, so that what came of it is not to be used.
    public var end: End { ended.load(ordering: .relaxed) }

    /// Whether the run was ended.
    public var isSpent: Bool { end != .none }

    /// Counts steps of the run at hand.
    ///
    /// - Throws: what ends the run, and ever after: code 50 (MaxTimeMSExpired) once its share or its time is used up, 11601
    ///   (Interrupted).
    @inline(__always)
    public static func count(_ steps: Int = 1) throws(QueryError) {
        if cairn_steps_take(Int64(steps)) < 0 { try look() }
    }

    /// Counts the copying of bytes.
    @inline(__always)
    public static func count(bytes: Int) throws(QueryError) { try count(1 &+ bytes >> 6) }

    /// Lets the run at hand, which has to be this one's, take so many steps from here on.
    public func extend(to steps: Int) {
        cairn_steps_set(0)
        beyond.store(steps, ordering: .relaxed)
    }

    /// Ends a run that was to be given up but went on, because what it met was taken for something else.
    ///
    /// - Throws: what ``count(_:)`` throws, if it did.
    public func checkEnd() throws(QueryError) {
        if let error { throw error }
    }

    /// What is answered to a run that was ended.
    public var error: QueryError? {
        switch end {
        case .none: nil
        case .steps, .time: QueryError(.maxTimeMSExpired, "operation exceeded time limit")
        case .interruption: QueryError(.interrupted, "operation was interrupted")
        }
    }

    @inline(never)
    private static func look() throws(QueryError) {
        guard let current else { return cairn_steps_set(.max) }
        try current.refill()
    }

    private func refill() throws(QueryError) {
        try checkEnd()
        // What was counted over the line belongs to what is beyond it.
        let debt = Int(-cairn_steps_get())
        let rest = beyond.load(ordering: .relaxed)
        let reason: End =
            if interruption?.isRaised == true {
                .interruption
            } else if isOverdue?() == true {
                .time
            } else if debt > rest {
                .steps
            } else {
                .none
            }
        ended.store(reason, ordering: .relaxed)
        try checkEnd()
        let next = min(rest - debt, Self.stepsBetweenChecks)
        cairn_steps_set(Int64(next))
        beyond.store(rest - debt - next, ordering: .relaxed)
    }
}
