import CairnBSON
import CairnQuery

/// The statements of one write command: which of them a retry finds executed, what went wrong with which, and what the
/// session has to remember.
struct StatementRun {
    private let statementIDs: [Int32]
    private(set) var record: SessionRecord?
    private let session: SessionID?
    private var isRecordChanged = false
    let isOrdered: Bool

    private var n = 0
    private var nModified = 0
    /// What each statement came to, `n` and `nModified` by turns, when the sender wants to know.
    private var each: [Int32]?
    private var upserted: [Value] = []
    private var errors: [Value] = []

    init(_ request: GroupRequest, session: SessionID?, record: SessionRecord?) {
        statementIDs = request.statementIDs
        self.session = session
        self.record = record
        isOrdered = request.body["ordered"]?.asBool ?? true
        if request.body["each"]?.asBool == true { each = Array(repeating: 0, count: 2 * request.documents.count) }
    }

    var hasErrors: Bool { !errors.isEmpty }
    /// Whether the statements after one that failed are left alone.
    var isStopped: Bool { isOrdered && hasErrors }

    func statementID(_ index: Int) -> Int32 {
        index < statementIDs.count ? statementIDs[index] : Int32(truncatingIfNeeded: index)
    }

    /// The result of an earlier execution of the statement at `index`.
    func earlierResult(_ index: Int) -> StatementResult? {
        record?.result(of: statementID(index))
    }

    /// Adds what the statement at `index` came to, now or in an earlier execution.
    mutating func count(_ index: Int, _ result: StatementResult) {
        n += Int(result.n)
        nModified += Int(result.nModified)
        each?[2 * index] = result.n
        each?[2 * index + 1] = result.nModified
    }

    /// Notes that the statement at `index` was executed. What changed nothing is not remembered: it may be tried again,
    /// here or, under the same number, with another document in mind.
    mutating func executed(_ index: Int, _ result: StatementResult) {
        guard result.n > 0, record != nil else { return }
        let id = statementID(index)
        record?.add(id, result)
        isRecordChanged = true
    }

    mutating func addUpserted(_ index: Int, _ id: Value) {
        var builder = DocumentBuilder()
        builder.append("index", Int32(index))
        builder.append("_id", id)
        upserted.append(.document(builder.finish()))
    }

    mutating func fail(_ index: Int, _ error: QueryError) {
        var builder = DocumentBuilder()
        builder.append("index", Int32(index))
        builder.append("code", error.code.rawValue)
        builder.append("errmsg", error.message)
        if let details = error.details { builder.append(elementsOf: details) }
        errors.append(.document(builder.finish()))
    }

    /// Writes the session's record into the open batch if statements were added since.
    mutating func flush(into evaluator: Evaluator) {
        guard isRecordChanged, let session, let record else { return }
        evaluator.store(record, of: session)
        isRecordChanged = false
    }

    /// - Parameter counts: whether the reply has `nModified`, as that of an update does.
    func reply(counts: Bool) -> GroupReply {
        var body = DocumentBuilder()
        body.append("n", Int32(n))
        if counts { body.append("nModified", Int32(nModified)) }
        if !upserted.isEmpty { body.append("upserted", BSONArray(upserted)) }
        if !errors.isEmpty { body.append("writeErrors", BSONArray(errors)) }
        if let each { body.append("each", BSONArray(each.map { .int32($0) })) }
        return GroupReply(body: body.finish())
    }
}

extension Evaluator {
    /// Starts the statements of a write command.
    ///
    /// - Throws: ``QueryError`` 225 or 217 when the session is past the request; ``GroupFailure/claimLost``.
    func beginStatements(_ request: GroupRequest, _ context: EvaluationContext) throws -> StatementRun {
        guard let stamp = request.session else { return StatementRun(request, session: nil, record: nil) }
        let session = SessionID(stamp)
        let record = try beginWrite(stamp, session, context)
        let run = StatementRun(request, session: session, record: record)
        try requireClaim(of: request, run)
        return run
    }

    /// In mode `cacheOnly`, looks for the documents that the statements name by `_id`: later statements can no longer be
    /// put aside once an earlier one has written.
    ///
    /// - Throws: ``ReadLimit/Reached`` when one of them may be on the disk.
    func lookAhead(_ statements: [Document], in collection: CollectionState) throws {
        guard statements.count > 1, !limit.mayUseDisk else { return }
        var key: [UInt8] = []
        for statement in statements {
            guard let id = statement["q"]?.asDocument?["_id"], KeySpace.isPlainID(id) else { continue }
            KeySpace.makeRecordKey(collection.id, id: id, in: &key)
            _ = try view.get(key[...])
        }
    }

    /// Carries out one statement of several; an error of the statement is noted, one of the disk ends the request.
    ///
    /// When the batch has become as large as a log entry should be, it is closed, with the session's record in it.
    func statement(
        _ index: Int, of run: inout StatementRun, _ context: EvaluationContext,
        _ body: (inout StatementRun) throws -> Void
    ) throws {
        do {
            try body(&run)
        } catch  where isToBePutAside {
            throw TooManySteps()
        } catch let error as QueryError {
            run.fail(index, error)
        } catch  where ReadLimit.isReached(error) {
            // Nothing was written: the whole request begins anew.
            throw error
        } catch {
            // What the statements before wrote stays, and so must the memory of it.
            run.flush(into: self)
            throw error
        }
        if isBatchFull {
            run.flush(into: self)
            closeBatch(nowMilliseconds: context.nowMilliseconds)
        }
    }
}
