import CairnBSON
import CairnDatabase
import CairnQuery

extension Router {
    /// `dataSize`: bytes and number of a collection's documents, all of them or those between two keys.
    func dataSize(_ command: ClientCommand) async throws(QueryError) -> Document {
        guard let name = try command.body.string(command.name) else {
            throw QueryError(.invalidNamespace, "collection name has invalid type")
        }
        let namespace = try Namespace(parsing: name)
        let began = clock.nanoseconds
        var size: Int64 = 0
        var count: Int64 = 0
        let minimum = try command.body.nested("min")
        let maximum = try command.body.nested("max")
        if minimum == nil, maximum == nil {
            let found = try await statistics(of: namespace, deadline: command.deadline!)
            size = found?.size ?? 0
            count = found?.count ?? 0
        } else {
            guard let minimum, let maximum else {
                throw QueryError(.badValue, "only one of min or max specified")
            }
            var query = FindArguments(filter: Document())
            query.minimum = minimum
            query.maximum = maximum
            query.hint = .document(
                try command.body.nested("keyPattern") ?? Document(minimum.map { ($0.name.string, .int32(1)) }))
            query.batchSize = 1000
            if let cursor = try await openCursor(query, over: namespace, deadline: command.deadline!) {
                (size, count) = try await measure(cursor, deadline: command.deadline!)
            }
        }
        return [
            "size": Router.number(size), "numObjects": Router.number(count), "estimate": false,
            "millis": Router.number(Int64((clock.nanoseconds - began) / 1_000_000)), "ok": 1.0,
        ]
    }

    private func measure(
        _ cursor: RouterCursor, deadline: UInt64
    ) async throws(QueryError) -> (size: Int64, count: Int64) {
        var total: (size: Int64, count: Int64) = (0, 0)
        do throws(QueryError) {
            while !cursor.isFinished {
                let batch = try await cursor.nextBatch(1000, deadline: deadline)
                if batch.isEmpty { break }
                total.count += Int64(batch.count)
                total.size += batch.reduce(0) { $0 + Int64($1.byteCount) }
            }
        } catch {
            closeAtGroups(cursor)
            throw error
        }
        closeAtGroups(cursor)
        return total
    }
}
