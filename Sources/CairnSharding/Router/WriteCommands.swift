import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// What `insert`, `update` and `delete` have in common.
extension Router {
    /// The most statements of one command, as `hello` tells drivers (`maxWriteBatchSize`).
    static let statementsMax = 100_000
    /// The largest document a client may store, as `hello` tells drivers.
    static let documentBytesMax = 16 << 20

    /// The command's documents or statements, from its body or from a document sequence.
    func statements(of command: ClientCommand, field: String) throws(QueryError) -> [Document] {
        let statements: [Document]
        if let sequence = command.sequences.first(where: { $0.name == field }) {
            statements = sequence.documents
        } else if let array = try command.body.list(field) {
            statements = try array.documents(of: field)
        } else {
            throw QueryError(
                .missingRequiredField,
                "BSON field '\(command.name).\(field)' is missing but a required field")
        }
        guard (1...Router.statementsMax).contains(statements.count) else {
            throw QueryError(
                .invalidLength,
                "Write batch sizes must be between 1 and \(Router.statementsMax). Got \(statements.count) operations.")
        }
        for statement in statements where statement.byteCount > Router.documentBytesMax + 16_384 {
            throw QueryError(
                .bsonObjectTooLarge,
                "object to \(command.name) too large. size in bytes: \(statement.byteCount), "
                    + "max size: \(Router.documentBytesMax)")
        }
        return statements
    }

    /// The number of each statement: `stmtIds` of the command, or its place.
    static func statementIDs(of command: ClientCommand, count: Int) throws(QueryError) -> [Int32] {
        if let given = try command.body.list("stmtIds") {
            let ids: [Int32] = given.compactMap { if case .int32(let id) = $0 { id } else { nil } }
            guard ids.count == count else {
                throw QueryError(.invalidLength, "'stmtIds' must have one number for each of the \(count) statements")
            }
            return ids
        }
        if let first = try command.body.integer("stmtId").flatMap(Int32.init(exactly:)), first >= 0 {
            return (0..<Int32(count)).map { first &+ $0 }
        }
        return (0..<Int32(count)).map { $0 }
    }

    /// What the groups remember of a numbered write: each executed statement's result.
    func executed(
        _ stamp: SessionStamp, statementIDs: [Int32], attempt: UInt64? = nil, groups: [UInt32], deadline: UInt64
    ) async throws(QueryError) -> [Int32: Document] {
        let questions = groups.map { group in
            Question(
                GroupID(group),
                GroupRequest(
                    .checkExecuted, collection: .system, session: stamp, statementIDs: statementIDs, attempt: attempt))
        }
        do throws(CommandFailure) {
            var executed: [Int32: Document] = [:]
            for reply in try await ask(questions, deadline: deadline).replies() {
                for (id, result) in try reply.body.executedStatements() { executed[id] = result }
            }
            return executed
        } catch {
            throw error.queryError
        }
    }

    static func append(writeErrors: [(index: Int, error: Document)], to builder: inout DocumentBuilder) {
        guard !writeErrors.isEmpty else { return }
        builder.append("writeErrors", .array(BSONArray(writeErrors.map { .document($0.error) })))
    }
}

extension CommandFailure {
    /// For requests that concern no collection, or whose staleness was dealt with.
    var queryError: QueryError {
        switch self {
        case .error(let error): error
        case .stale: QueryError(.staleShardVersion, "the collection was changed while the command ran")
        }
    }
}

extension Document {
    /// A group's `writeErrors`, each with its index in the request.
    func writeErrors() throws(CommandFailure) -> [(Int, Document)] {
        do throws(QueryError) {
            guard let list = try list("writeErrors") else { return [] }
            var errors: [(Int, Document)] = []
            for error in try list.documents(of: "writeErrors") {
                errors.append((Int(try error.integer("index") ?? 0), error))
            }
            return errors
        } catch {
            throw .error(error)
        }
    }

    /// A group's `each`: what each statement of the request matched and modified.
    func eachCounts() throws(CommandFailure) -> [(Int, (matched: Int64, modified: Int64))] {
        guard case .array(let list)? = self["each"] else {
            throw .error(QueryError(.internalError, "a group's answer has no 'each'"))
        }
        let numbers = list.map { $0.asInt64Exactly ?? 0 }
        return (0..<numbers.count / 2).map { ($0, (numbers[2 * $0], numbers[2 * $0 + 1])) }
    }

    /// A group's `upserted`, each with its index in the request.
    func upsertedIDs() throws(CommandFailure) -> [(Int, Value)] {
        do throws(QueryError) {
            guard let list = try list("upserted") else { return [] }
            var ids: [(Int, Value)] = []
            for upserted in try list.documents(of: "upserted") {
                if let id = upserted["_id"] { ids.append((Int(try upserted.integer("index") ?? 0), id)) }
            }
            return ids
        } catch {
            throw .error(error)
        }
    }

    /// `executed` of ``GroupOperation/checkExecuted``.
    func executedStatements() throws(CommandFailure) -> [(Int32, Document)] {
        do throws(QueryError) {
            guard let list = try list("executed") else { return [] }
            var statements: [(Int32, Document)] = []
            for statement in try list.documents(of: "executed") {
                if let id = try statement.integer("stmtId").flatMap(Int32.init(exactly:)) {
                    statements.append((id, statement))
                }
            }
            return statements
        } catch {
            throw .error(error)
        }
    }
}
