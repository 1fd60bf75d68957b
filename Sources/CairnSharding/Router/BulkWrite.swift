import CairnBSON
import CairnDatabase
import CairnQuery

/// `bulkWrite`: insertions, updates and deletions in any collections of any databases.
///
/// Operations are carried out as `insert`, `update` and `delete` would: in order, neighbours of one kind in one collection
/// together; without an order all of one kind in one collection together. What came of each is read through a cursor.
extension Router {
    func bulkWrite(_ command: ClientCommand) async throws(QueryError) -> Document {
        guard command.database == "admin" else {
            throw QueryError(.unauthorized, "bulkWrite may only be run against the admin database.")
        }
        let request = try BulkRequest(command)
        let variables = try await variables(of: command)
        let writer = BulkWriter(
            router: self, request: request, session: command.session,
            variables: variables, deadline: command.deadline!)
        try await writer.run()
        let cursor = try cursor(over: writer.replies, namespace: "admin.$cmd.bulkWrite")
        let batchSize = try command.body.nested("cursor")?.count("batchSize")
        let first = try await firstReply(
            cursor, batchSize: batchSize.map { Int(clamping: $0) } ?? .max, isSingleBatch: false,
            deadline: command.deadline!)
        var builder = DocumentBuilder()
        for element in first where element.name != "ok" { builder.append(element: element) }
        let counts = writer.counts
        builder.append("nErrors", Router.number(counts.errors))
        builder.append("nInserted", Router.number(counts.inserted))
        builder.append("nMatched", Router.number(counts.matched))
        builder.append("nModified", Router.number(counts.modified))
        builder.append("nUpserted", Router.number(counts.upserted))
        builder.append("nDeleted", Router.number(counts.deleted))
        builder.append("ok", .double(1))
        return builder.finish()
    }
}

/// Carries the operations of one `bulkWrite` through.
private final class BulkWriter {
    struct Counts {
        var errors: Int64 = 0
        var inserted: Int64 = 0
        var matched: Int64 = 0
        var modified: Int64 = 0
        var upserted: Int64 = 0
        var deleted: Int64 = 0
    }

    private let router: Router
    private let request: BulkRequest
    /// The client's; nil when it numbered nothing.
    private let session: SessionStamp?
    private let variables: Document?
    private let options: WriteOptions
    private let deadline: UInt64

    private(set) var counts = Counts()
    private var results: [(index: Int, reply: Document)] = []

    init(router: Router, request: BulkRequest, session: SessionStamp?, variables: Document?, deadline: UInt64) {
        self.router = router
        self.request = request
        self.session = session
        self.variables = variables
        options = WriteOptions(bypassesValidation: request.bypassesValidation, wantsEach: true)
        self.deadline = deadline
    }

    /// What the cursor gives out, in the order of the operations.
    var replies: [Document] { results.sorted { $0.index < $1.index }.map(\.reply) }

    func run() async throws(QueryError) {
        for batch in request.batches {
            do throws(QueryError) {
                switch batch[0].kind {
                case .insert: try await insert(batch)
                case .update, .delete: try await change(batch)
                }
            } catch {
                // The cluster's trouble is the command's; what is wrong with a collection is the operation's.
                if Router.isRetryable(error) { throw error }
                for operation in request.isOrdered ? Array(batch.prefix(1)) : batch {
                    fail(operation, Router.writeError(operation.index, error))
                }
            }
            if request.isOrdered, counts.errors > 0 { return }
        }
    }

    private func insert(_ operations: [BulkOperation]) async throws(QueryError) {
        let stamp = session ?? router.takeSession()
        defer { if session == nil { router.giveBack(stamp) } }
        let batch = try router.insertBatch(
            operations.map(\.statement), statementIDs: operations.map { request.statementIDs[$0.index] })
        let writer = InsertWriter(
            router: router, namespace: request.namespaces[operations[0].namespace], batch: batch, stamp: stamp,
            isClients: session != nil, options: options, deadline: deadline)
        try await writer.run(ordered: request.isOrdered)
        counts.inserted += Int64(writer.stored)
        settle(operations, writer.errors.map { (operations[$0.index].index, $0.error) }) { _ in ["n": 1] }
    }

    private func change(_ operations: [BulkOperation]) async throws(QueryError) {
        let stamp = session ?? router.takeSession()
        defer { if session == nil { router.giveBack(stamp) } }
        let kind = operations[0].kind
        let writer = StatementWriter(
            router: router, operation: kind == .update ? .update : .delete,
            namespace: request.namespaces[operations[0].namespace], stamp: stamp, isClients: session != nil,
            variables: variables, options: options, deadline: deadline)
        var statements: [WriteStatement] = []
        for operation in operations {
            statements.append(
                WriteStatement(
                    index: operation.index, id: request.statementIDs[operation.index], document: operation.statement,
                    filter: try operation.statement.nested("q") ?? Document(), isMulti: operation.isMulti,
                    isUpsert: operation.statement.flag("upsert") ?? false,
                    collation: try operation.statement.nested("collation")))
        }
        try await writer.run(statements, ordered: request.isOrdered)
        let outcome = writer.outcome
        var upserted: [Int: Value] = [:]
        for (index, id) in outcome.upserted { upserted[index] = id }
        counts.upserted += Int64(outcome.upserted.count)
        if kind == .update {
            counts.matched += outcome.matched - Int64(outcome.upserted.count)
            counts.modified += outcome.modified
        } else {
            counts.deleted += outcome.matched
        }
        settle(operations, outcome.errors) { operation in
            let each = outcome.each[operation.index] ?? (0, 0)
            var reply: Document = ["n": Router.number(each.matched)]
            if kind == .update { reply.set("nModified", Router.number(each.modified)) }
            if let id = upserted[operation.index] { reply.set("upserted", ["_id": id]) }
            return reply
        }
    }

    /// Notes what came of each operation of a batch: an error, or what `reply` says. Behind an error of an ordered batch
    /// nothing was carried out.
    private func settle(
        _ operations: [BulkOperation], _ errors: [(index: Int, error: Document)],
        _ reply: (BulkOperation) -> Document
    ) {
        var byIndex: [Int: Document] = [:]
        for (index, error) in errors { byIndex[index] = error }
        for operation in operations {
            if let error = byIndex[operation.index] {
                fail(operation, error)
                if request.isOrdered { return }
            } else if !request.onlyErrors {
                var builder = DocumentBuilder()
                builder.append("ok", .double(1))
                builder.append("idx", .int32(Int32(operation.index)))
                builder.append(elementsOf: reply(operation))
                results.append((operation.index, builder.finish()))
            }
        }
    }

    private func fail(_ operation: BulkOperation, _ error: Document) {
        counts.errors += 1
        var builder = DocumentBuilder()
        builder.append("ok", .double(0))
        builder.append("idx", .int32(Int32(operation.index)))
        for element in error where element.name != "index" { builder.append(element: element) }
        builder.append("n", .int32(0))
        if operation.kind == .update { builder.append("nModified", .int32(0)) }
        results.append((operation.index, builder.finish()))
    }
}
