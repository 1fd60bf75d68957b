import CairnBSON
import CairnDatabase
import CairnQuery

extension Router {
    /// `update`: see ``StatementWriter`` for who carries out what.
    func update(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        let documents = try statements(of: command, field: "updates")
        let ids = try Router.statementIDs(of: command, count: documents.count)
        var statements: [WriteStatement] = []
        statements.reserveCapacity(documents.count)
        for (index, document) in documents.enumerated() {
            guard let filter = try document.nested("q") else {
                throw QueryError(
                    .missingRequiredField, "BSON field 'update.updates.q' is missing but a required field")
            }
            guard document["u"] != nil else {
                throw QueryError(
                    .missingRequiredField, "BSON field 'update.updates.u' is missing but a required field")
            }
            if document["sort"] != nil, document.flag("multi") == true {
                throw QueryError(.failedToParse, "Cannot specify sort with multi=true")
            }
            statements.append(
                WriteStatement(
                    index: index, id: ids[index], document: document, filter: filter,
                    isMulti: document.flag("multi") ?? false, isUpsert: document.flag("upsert") ?? false,
                    collation: try document.nested("collation")))
        }
        let variables = try await variables(of: command)
        let stamp = command.session ?? takeSession()
        defer { if command.session == nil { giveBack(stamp) } }
        let writer = StatementWriter(
            router: self, operation: .update, namespace: namespace, stamp: stamp, isClients: command.session != nil,
            variables: variables, options: WriteOptions(command.body),
            deadline: command.deadline!)
        try await writer.run(statements, ordered: command.body.flag("ordered") ?? true)

        let outcome = writer.outcome
        var builder = DocumentBuilder()
        builder.append("n", Router.number(outcome.matched))
        if !outcome.upserted.isEmpty {
            builder.append(
                "upserted",
                .array(
                    BSONArray(
                        outcome.upserted.map { .document(["index": .int32(Int32($0.index)), "_id": $0.id]) })))
        }
        builder.append("nModified", Router.number(outcome.modified))
        Router.append(writeErrors: outcome.errors, to: &builder)
        builder.append("ok", .double(1))
        return builder.finish()
    }
}
