import CairnBSON
import CairnStorage

/// The part of a request that has to wait for the disk or to look at many documents, to be run on a thread for which
/// nobody waits.
///
/// ``GroupDatabase/evaluate(_:_:mode:)`` hands it out, ``run()`` does the work, and ``GroupDatabase/conclude(_:_:)`` turns what
/// came of it into an answer. In between the database goes on with other requests.
public struct DeferredRead: Sendable {
    enum Work: Sendable {
        /// A read at a version that the engine retains until the end.
        case query(Query)
        /// More documents of a cursor.
        case more(OpenCursor, id: Int64, count: Int)
        /// Brings into memory what a write will look at.
        case preparation(WritePreparation)
    }

    /// What came of it.
    public struct Outcome: Sendable {
        enum Found: Sendable {
            case query(Query, Result<QueryResult, GroupFailure>)
            case more(OpenCursor, id: Int64, Result<(documents: [Document], isExhausted: Bool), GroupFailure>)
            case preparation
        }
        let found: Found
        /// Damage that the work met.
        var damage: StorageError?
    }

    let work: Work

    init(_ work: Work) { self.work = work }

    /// What ends the work before its time; nil for work that is short.
    public var interruption: Interruption? {
        switch work {
        case .query(let query): query.interruption
        case .more(let cursor, _, _): cursor.interruption
        case .preparation: nil
        }
    }

    /// Does the work, which may take as long as the disk does. Once, on any thread.
    public func run() -> Outcome {
        var damage: StorageError?
        func attempt<Value>(_ body: () throws -> Value) -> Result<Value, GroupFailure> {
            do { return .success(try body()) } catch {
                if let error = error as? StorageError, error.code == .corruption { damage = error }
                return .failure(GroupFailure(wrapping: error))
            }
        }
        let found: Outcome.Found
        switch work {
        case .query(let query): found = .query(query, attempt { try query.run() })
        case .more(let cursor, let id, let count):
            found = .more(cursor, id: id, attempt { try cursor.batch(count: count) })
        case .preparation(let preparation):
            preparation.run()
            found = .preparation
        }
        return Outcome(found: found, damage: damage)
    }
}
