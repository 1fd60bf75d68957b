import CairnBSON
import CairnDatabase
import CairnQuery

// Work of commands that may take long without waiting for anybody: it leaves the loop, on which others would wait for it.
extension Router {
    /// Does something on another thread, until the deadline or the end of the command at most.
    ///
    /// - Throws: what `work` throws; code 50 when it does not end in time, 11601 when the command is cancelled.
    func apart<Value: Sendable>(
        deadline: UInt64, _ work: @escaping @Sendable () throws(QueryError) -> Value
    ) async throws(QueryError) -> Value {
        let interruption = Interruption()
        let result = await withTaskCancellationHandler {
            guard let workers else { return Self.outcome(of: work, WorkMeter(interruption: interruption)) }
            let clock = workers.monotonicClock
            return await withCheckedContinuation { continuation in
                workers.runLong(
                    { Self.outcome(of: work, WorkMeter(interruption: interruption) { clock() >= deadline }) },
                    then: { continuation.resume(returning: $0) })
            }
        } onCancel: {
            interruption.raise()
        }
        return try result.get()
    }

    /// Does something where the command stands, and begins anew on another thread when that takes more than a millisecond or so.
    func hereOrApart<Value: Sendable>(
        deadline: UInt64, _ work: @escaping @Sendable () throws(QueryError) -> Value
    ) async throws(QueryError) -> Value {
        let meter = WorkMeter(steps: options.stepsAtOnce)
        let result = Self.outcome(of: work, meter)
        guard meter.isSpent else { return try result.get() }
        return try await apart(deadline: deadline, work)
    }

    private static func outcome<Value>(
        of work: () throws(QueryError) -> Value, _ meter: WorkMeter
    ) -> Result<Value, QueryError> {
        do throws(QueryError) {
            let value = try meter.run(work)
            try meter.checkEnd()
            return .success(value)
        } catch {
            return .failure(error)
        }
    }

    /// The groups that can hold documents which match a filter, as ``Targeting`` finds them.
    func groups(
        for filter: Document, in descriptor: CollectionDescriptor, _ collation: Collation?, deadline: UInt64
    ) async throws(QueryError) -> [UInt32] {
        guard filter.byteCount > options.argumentBytesAtOnce else {
            return try Targeting.groups(for: filter, in: descriptor, collation)
        }
        return try await apart(deadline: deadline) { () throws(QueryError) in
            try Targeting.groups(for: filter, in: descriptor, collation)
        }
    }
}
