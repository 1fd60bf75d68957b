import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

extension Router {
    /// `count`: the sum over the groups; skip and limit are applied to the sum.
    func count(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        if let view = try await view(namespace, deadline: command.deadline!) {
            return try await count(command, over: view)
        }
        let filter = try command.body.nested("query") ?? Document()
        let skip = try command.body.count("skip") ?? 0
        let limit = try command.body.integer("limit") ?? 0
        let wanted = limit == .min ? .max : abs(limit)
        let (needed, overflow) = skip.addingReportingOverflow(wanted)
        var body: Document = ["query": .document(filter)]
        if let hint = command.body["hint"] { body.set("hint", hint) }
        let collation = try command.body.nested("collation")
        if let collation { body.set("collation", .document(collation)) }
        // No group needs to count further than the whole answer goes.
        if wanted > 0, !overflow { body.set("limit", .int64(needed)) }
        let total = try await sumOverGroups(
            namespace, filter: filter, collation, operation: .count, body: body, deadline: command.deadline!)
        var count = max(0, total - skip)
        if wanted > 0 { count = min(count, wanted) }
        return ["n": Router.number(count), "ok": 1.0]
    }

    private func sumOverGroups(
        _ namespace: Namespace, filter: Document, _ collation: Document?, operation: GroupOperation, body: Document,
        deadline: UInt64
    ) async throws(QueryError) -> Int64 {
        let (replies, _) = try await askOwners(
            namespace, filter: filter, collation, operation: operation, body: body, deadline: deadline)
        var total: Int64 = 0
        for reply in replies {
            guard let count = try reply.body.integer("n") else {
                throw QueryError(.internalError, "a group's count has no n")
            }
            total += count
        }
        return total
    }

    /// Asks all groups that may hold documents matching `filter`, as often as the catalog changes meanwhile. No replies when
    /// the collection does not exist.
    ///
    /// - Returns: the replies, and how strings were compared.
    func askOwners(
        _ namespace: Namespace, filter: Document, _ given: Document?, operation: GroupOperation, body: Document,
        deadline: UInt64
    ) async throws(QueryError) -> (replies: [GroupReply], collation: Collation?) {
        var retries = StaleRetries()
        var isFresh = false
        while let descriptor = try await collection(namespace, fresh: isFresh, deadline: deadline) {
            let collation = try descriptor.collation(asGiven: given)
            let questions = try await groups(for: filter, in: descriptor, collation, deadline: deadline).map { group in
                Question(
                    GroupID(group),
                    GroupRequest(operation, collection: descriptor.id, epoch: descriptor.epoch, body: body), descriptor)
            }
            do throws(CommandFailure) {
                return (try await ask(questions, deadline: deadline).replies(), collation)
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await retries.next(self, deadline: deadline)
                isFresh = true
            }
        }
        _ = try Filter(parsing: filter)
        if let given { _ = try Collation.parse(given) }
        return ([], nil)
    }
}
