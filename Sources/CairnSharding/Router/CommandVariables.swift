import CairnBSON
import CairnQuery

/// The `let` of commands, whose expressions depend on no document: they are evaluated here, once, and groups are sent values.
extension Router {
    func variables(of command: ClientCommand) async throws(QueryError) -> Document? {
        try await values(of: try command.body.nested("let"), deadline: command.deadline!)
    }

    func values(of variables: Document?, deadline: UInt64) async throws(QueryError) -> Document? {
        guard let variables else { return nil }
        let context = QueryContext(nowMilliseconds: clock.wallMilliseconds)
        return try await hereOrApart(deadline: deadline) { () throws(QueryError) in
            var builder = DocumentBuilder()
            for variable in variables {
                let value = try Expression(parsing: variable.value, context: context).evaluate(Document())
                builder.append(variable.name, value ?? .null)
                guard builder.byteCount <= Update.documentBytesMax else {
                    throw QueryError(
                        .bsonObjectTooLarge, "the variables of a command exceed \(Update.documentBytesMax) bytes")
                }
            }
            return builder.finish()
        }
    }
}
