import CairnBSON
import CairnDatabase
import CairnQuery

extension Router {
    /// `delete`: see ``StatementWriter`` for who carries out what.
    func delete(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        let documents = try statements(of: command, field: "deletes")
        let ids = try Router.statementIDs(of: command, count: documents.count)
        var statements: [WriteStatement] = []
        statements.reserveCapacity(documents.count)
        for (index, document) in documents.enumerated() {
            guard let filter = try document.nested("q") else {
                throw QueryError(
                    .missingRequiredField, "BSON field 'delete.deletes.q' is missing but a required field")
            }
            guard let limit = try document.integer("limit") else {
                throw QueryError(
                    .missingRequiredField, "BSON field 'delete.deletes.limit' is missing but a required field")
            }
            guard limit == 0 || limit == 1 else {
                throw QueryError(
                    .failedToParse, "The limit field in delete objects must be 0 or 1. Got \(limit)")
            }
            statements.append(
                WriteStatement(
                    index: index, id: ids[index], document: document, filter: filter, isMulti: limit == 0,
                    isUpsert: false,
                    collation: try document.nested("collation")))
        }
        let variables = try await variables(of: command)
        let stamp = command.session ?? takeSession()
        defer { if command.session == nil { giveBack(stamp) } }
        let writer = StatementWriter(
            router: self, operation: .delete, namespace: namespace, stamp: stamp, isClients: command.session != nil,
            variables: variables, options: WriteOptions(command.body),
            deadline: command.deadline!)
        try await writer.run(statements, ordered: command.body.flag("ordered") ?? true)

        var builder = DocumentBuilder()
        builder.append("n", Router.number(writer.outcome.matched))
        Router.append(writeErrors: writer.outcome.errors, to: &builder)
        builder.append("ok", .double(1))
        return builder.finish()
    }
}
