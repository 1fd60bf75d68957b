import CairnBSON
import CairnQuery
import CairnStorage

/// The part of a request that has to wait for the disk or to look at many documents, to be run on a thread for which
/// nobody waits.
///
/// ``GroupDatabase/evaluate(_:_:mode:)`` hands it out, ``run(isOverdue:)`` does the work, and ``GroupDatabase/conclude(_:_:)``
/// turns what came of it into an answer. In between the database goes on with other requests.
///
/// Most of what is deferred is short: some blocks of the disk, some thousand documents. What turns out to take longer is
/// handed back once (``Outcome/longRead``), to be begun anew on a thread for what takes long, so that a few queries that run
/// to the end of their time do not keep all others waiting for theirs.
public struct DeferredRead: Sendable {
    enum Work: Sendable {
        /// A read at a version that the engine retains until the end.
        case query(Query)
        /// More documents of a cursor.
        case more(OpenCursor, id: Int64, count: Int)
        /// Brings into memory what a write will look at, or tries whether it is too much work.
        case preparation(WritePreparation)
    }

    /// What came of it.
    public struct Outcome: Sendable {
        enum Found: Sendable {
            case query(Query, Result<QueryResult, GroupFailure>)
            case more(OpenCursor, id: Int64, Result<(documents: [Document], isExhausted: Bool), GroupFailure>)
            /// With a reason not to evaluate the write at all.
            case preparation(QueryError?)
            case unfinished(DeferredRead)
        }
        let found: Found
        /// Damage that the work met.
        var damage: StorageError?

        /// The same read, when it is to be run among those that take long; there is nothing to conclude yet then.
        public var longRead: DeferredRead? {
            if case .unfinished(let read) = found { return read }
            return nil
        }
    }

    let work: Work
    /// Whether it is known to take long.
    public let isLong: Bool
    /// Steps after which it is handed back.
    private let stepsMax: Int

    init(_ work: Work, isLong: Bool = false, stepsMax: Int = .max) {
        self.work = work
        self.isLong = isLong
        self.stepsMax = isLong ? .max : stepsMax
    }

    /// What ends the work before its time; nil for work that is short.
    public var interruption: Interruption? {
        switch work {
        case .query(let query): query.interruption
        case .more(let cursor, _, _): cursor.interruption
        case .preparation: nil
        }
    }

    /// Does the work, which may take as long as the disk does, until it is overdue or interrupted. Once, on any thread.
    ///
    /// - Parameter isOverdue: whether the time for an answer is over; asked every millisecond or so.
    public func run(isOverdue: (@Sendable () -> Bool)? = nil) -> Outcome {
        var damage: StorageError?
        let meter = WorkMeter(steps: stepsMax, interruption: interruption, isOverdue: isOverdue)
        func attempt<Value>(_ body: () throws -> Value) -> Result<Value, GroupFailure> {
            do {
                let value = try meter.run(body)
                try meter.checkEnd()
                return .success(value)
            } catch {
                if let error = error as? StorageError, error.code == .corruption { damage = error }
                return .failure(GroupFailure(wrapping: error))
            }
        }
        let found: Outcome.Found
        switch work {
        case .query(var query):
            query.isLong = isLong
            let result = attempt { try query.run() }
            if meter.end == .steps {
                query.isRepeated = true
                found = .unfinished(DeferredRead(.query(query), isLong: true))
            } else {
                found = .query(query, result)
            }
        case .more(let cursor, let id, let count):
            found = .more(cursor, id: id, attempt { try cursor.batch(count: count) })
        case .preparation(let preparation):
            found = .preparation(preparation.run(isOverdue: isOverdue))
        }
        return Outcome(found: found, damage: damage)
    }
}
