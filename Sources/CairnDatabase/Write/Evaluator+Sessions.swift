import CairnBSON
import CairnDefects
import CairnQuery
import CairnStorage

// Retryable writes: what a session's last write did is written in the batch of that write, so both are there or neither.
extension Evaluator {
    /// The record that a write of `stamp` goes by: the existing one when the write is a retry, else a new one.
    ///
    /// - Throws: ``QueryError`` 225 (TransactionTooOld) when a later write of the session was carried out; 217
    ///   (IncompleteTransactionHistory) when this one may have been, and its results are forgotten.
    func beginWrite(
        _ stamp: SessionStamp, _ session: SessionID, _ context: EvaluationContext
    ) throws -> SessionRecord {
        let now = ages.stamp(context)
        if let known = try sessionRecord(session) {
            guard known.transactionNumber <= stamp.transactionNumber else {
                throw QueryError(
                    .transactionTooOld,
                    "Retryable write with txnNumber \(stamp.transactionNumber) is prohibited on session: a newer one, "
                        + "txnNumber \(known.transactionNumber), has already started")
            }
            if known.transactionNumber == stamp.transactionNumber, !options.defects.contains(.repeatRetriedWrite) {
                guard !known.isExpired else {
                    throw QueryError(
                        .incompleteTransactionHistory,
                        "the results of txnNumber \(stamp.transactionNumber) are no longer kept, so it is not known "
                            + "which of its statements were carried out")
                }
                var record = known
                record.milliseconds = max(record.milliseconds, now)
                return record
            }
        }
        return SessionRecord(transactionNumber: stamp.transactionNumber, milliseconds: now)
    }

    /// The session's record as the tip has it.
    func sessionRecord(_ session: SessionID) throws -> SessionRecord? {
        if let cached = sessions[session] { return cached }
        guard let bytes = try view.get(session.key.bytes[...]) else { return nil }
        return try SessionRecord(decoding: bytes)
    }

    /// Writes a session's record into the open batch.
    func store(_ record: SessionRecord, of session: SessionID) {
        if !options.defects.contains(.keepSessionsInMemory) { put(session.key.bytes, record.encoded()[...]) }
        if sessions.count >= options.cachedSessionsMax { sessions.removeAll(keepingCapacity: true) }
        sessions[session] = record
    }

    /// Says which statements of a numbered write were carried out here, and claims the others for the request's attempt.
    func checkExecuted(_ request: GroupRequest) throws -> GroupReply {
        guard let stamp = request.session else {
            throw QueryError(.invalidOptions, "checkExecuted needs a session")
        }
        var body = DocumentBuilder()
        var image: Document?
        var executed: [Value] = []
        if let record = try sessionRecord(SessionID(stamp)), record.transactionNumber == stamp.transactionNumber {
            if record.isExpired {
                throw QueryError(.incompleteTransactionHistory, "the results of this write are no longer kept")
            }
            let asked = request.statementIDs.isEmpty ? record.statements : request.statementIDs
            for statement in asked {
                guard let result = record.result(of: statement) else { continue }
                var entry = DocumentBuilder()
                entry.append("stmtId", statement)
                entry.append("n", result.n)
                entry.append("nModified", result.nModified)
                if let upserted = result.upserted { entry.append("upserted", upserted) }
                executed.append(.document(entry.finish()))
                if let found = result.image { image = found }
            }
        } else if let record = try sessionRecord(SessionID(stamp)), record.transactionNumber > stamp.transactionNumber {
            throw QueryError(.transactionTooOld, "a newer retryable write of this session has started")
        }
        if let attempt = request.attempt {
            claim(SessionID(stamp), WriteClaim(transactionNumber: stamp.transactionNumber, attempt: attempt))
        }
        body.append("executed", BSONArray(executed))
        if let image { body.append("value", image) }
        return GroupReply(body: body.finish())
    }

    /// Shrinks records that are old, and removes those that are older still.
    func expireSessions(_ request: GroupRequest, _ context: EvaluationContext) throws -> GroupReply {
        // Both were counted back from a wall clock that may have been set since the term began.
        let excess = Int64(clamping: ages.excess(context))
        let before = UInt64(clamping: (request.body["before"]?.int64Exactly ?? 0) - excess)
        let forget = UInt64(clamping: (request.body["forget"]?.int64Exactly ?? 0) - excess)
        let lower = SystemKey.prefix(.session)
        let upper = SystemKey.prefixEnd(.session)
        var shrunk: [(key: [UInt8], record: SessionRecord)] = []
        var removed: [[UInt8]] = []
        let cursor = try view.range(lower: lower[...], upper: upper[...])
        // One request stays within one log entry; what is left over is for the next.
        while shrunk.count + removed.count < 10_000, try cursor.next() {
            let record = try SessionRecord(decoding: cursor.value)
            if record.milliseconds < forget {
                removed.append(Array(cursor.key))
            } else if record.milliseconds < before, !record.isExpired {
                shrunk.append((Array(cursor.key), record.expired()))
            }
        }
        for (key, record) in shrunk { put(key, record.encoded()[...]) }
        for key in removed { delete(key) }
        if !shrunk.isEmpty || !removed.isEmpty { sessions.removeAll(keepingCapacity: true) }
        return GroupReply(body: ["expired": Value(shrunk.count), "forgotten": Value(removed.count)])
    }
}
