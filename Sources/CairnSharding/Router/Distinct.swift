import CairnBSON
import CairnQuery

extension Router {
    /// `distinct`: the union of the groups' values, equal ones once, in BSON order.
    func distinct(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        guard let key = try command.body.string("key") else {
            throw QueryError(.missingRequiredField, "BSON field 'distinct.key' is missing but a required field")
        }
        if let view = try await view(namespace, deadline: command.deadline!) {
            return try await distinct(key, command, over: view)
        }
        let filter = try command.body.nested("query") ?? Document()
        var body: Document = ["key": .string(BSONString(key)), "query": .document(filter)]
        if let hint = command.body["hint"] { body.set("hint", hint) }
        let given = try command.body.nested("collation")
        if let given { body.set("collation", .document(given)) }
        let (replies, collation) = try await askOwners(
            namespace, filter: filter, given, operation: .distinct, body: body, deadline: command.deadline!)
        // By what is compared: under a collation the first of several equal values is shown.
        var seen: [Value: Value] = [:]
        var bytes = 0
        for reply in replies {
            bytes += reply.body.byteCount
            guard bytes <= 4 * options.replyBytesMax else { throw Router.distinctTooBig }
            guard let values = try reply.body.list("values") else { continue }
            for value in values {
                let key = collation?.folded(value) ?? value
                if seen[key] == nil { seen[key] = value }
            }
        }
        let sorted = seen.sorted { Value.compare($0.key, $1.key) < 0 }.map(\.value)
        let reply: Document = ["values": .array(BSONArray(sorted)), "ok": 1.0]
        guard reply.byteCount <= options.replyBytesMax else { throw Router.distinctTooBig }
        return reply
    }

    private static var distinctTooBig: QueryError {
        QueryError(.bsonObjectTooLarge, "distinct too big, 16mb cap")
    }
}
