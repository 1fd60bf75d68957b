import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// `findAndModify`. The document is looked for in all groups when its `_id` is not given, in the order of `sort`, and then
/// changed where it lives; as with other single writes, a lost race starts the search again.
extension Router {
    func findAndModify(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        try refuseCatalogWrite(namespace)
        let deadline = command.deadline!
        let variables = try await variables(of: command)
        var command = command
        if let variables { command.body.set("let", .document(variables)) }
        let filter = try command.body.nested("query") ?? Document()
        let sort = try command.body.nested("sort")
        let given = try command.body.nested("collation")
        let isUpsert = command.body.flag("upsert") ?? false
        let removes = command.body.flag("remove") ?? false
        let update = command.body["update"]
        if removes == (update != nil) {
            throw QueryError(
                .failedToParse,
                removes
                    ? "Cannot specify both an update and remove=true"
                    : "Either an update or remove=true must be specified")
        }
        if removes, isUpsert {
            throw QueryError(.failedToParse, "Cannot specify both upsert=true and remove=true")
        }
        if removes, command.body.flag("new") == true {
            throw QueryError(
                .failedToParse,
                "Cannot specify both new=true and remove=true; 'remove' always returns the deleted document")
        }
        let statementID = try command.body.integer("stmtId").flatMap(Int32.init(exactly:)) ?? 0
        let stamp = command.session ?? takeSession()
        defer { if command.session == nil { giveBack(stamp) } }

        var retries = StaleRetries()
        var races = 0
        // Only a client's number may be used by several tries.
        let isNumbered = command.session != nil
        var attempt: UInt64?
        var descriptor =
            isUpsert
            ? try await collectionForWriting(namespace, deadline: deadline)
            : try await collection(namespace, deadline: deadline)
        while let current = descriptor {
            do throws(CommandFailure) {
                if let group = try oneGroup(for: filter, given, in: current) {
                    return Router.findAndModifyReply(
                        try await carryOut(
                            command.body, on: group, filter: filter, upsert: isUpsert, stamp, statementID, nil, current,
                            deadline: deadline))
                }
                if isNumbered, attempt == nil {
                    attempt = random()
                    if let group = try await executor(
                        of: stamp, statementID, attempt, current, deadline: deadline)
                    {
                        // It has the whole answer under the number, and does nothing again.
                        return Router.findAndModifyReply(
                            try await carryOut(
                                command.body, on: group, filter: filter, upsert: isUpsert, stamp, statementID, attempt,
                                current, deadline: deadline))
                    }
                }
                if let (group, id) = try await firstMatch(
                    filter, sort: sort, given, hint: command.body["hint"], variables, in: current,
                    deadline: deadline)
                {
                    var body = command.body
                    var narrowed = filter.and(id: id)
                    if try comparesUnderCollation(given, current) {
                        // A filter for the `_id` could mean others that are equal to it.
                        body.set(Router.recordField, id)
                        narrowed = filter
                    }
                    let reply = try await carryOut(
                        body, on: group, filter: narrowed, upsert: false, stamp, statementID, attempt, current,
                        deadline: deadline)
                    if case .document(let last)? = reply.body["lastErrorObject"], try last.countField("n") > 0 {
                        return Router.findAndModifyReply(reply)
                    }
                    races += 1
                    guard races < Router.racesMax, clock.nanoseconds < deadline else {
                        throw .error(QueryError(.writeConflict, "other writes were faster \(races) times"))
                    }
                    continue
                }
                guard isUpsert else { break }
                let id = try upsertIDOrFail(filter: filter, update: update, variables: variables)
                return Router.findAndModifyReply(
                    try await carryOut(
                        command.body, on: Targeting.group(of: id, in: current), filter: filter.and(id: id),
                        upsert: true, stamp, statementID, attempt, current, deadline: deadline))
            } catch {
                guard case .stale = error else { throw error.queryError }
                attempt = nil
                try await retries.next(self, deadline: deadline)
                descriptor =
                    isUpsert
                    ? try await collectionForWriting(namespace, fresh: true, deadline: deadline)
                    : try await collection(namespace, fresh: true, deadline: deadline)
            }
        }
        return [
            "lastErrorObject": removes ? ["n": 0] : ["n": 0, "updatedExisting": false], "value": .null, "ok": 1.0,
        ]
    }

    /// Has one group carry the command out, with a filter of ours.
    private func carryOut(
        _ command: Document, on group: UInt32, filter: Document, upsert: Bool, _ stamp: SessionStamp,
        _ statementID: Int32, _ attempt: UInt64?, _ descriptor: CollectionDescriptor, deadline: UInt64
    ) async throws(CommandFailure) -> GroupReply {
        var body = command
        body.set("query", .document(filter))
        if (command.flag("upsert") ?? false) != upsert { body.set("upsert", .bool(upsert)) }
        let request = GroupRequest(
            .findAndModify, collection: descriptor.id, epoch: descriptor.epoch, session: stamp,
            statementIDs: [statementID], attempt: attempt, body: body)
        return try await ask(Question(GroupID(group), request, descriptor), deadline: deadline).reply()
    }

    private func oneGroup(
        for filter: Document, _ given: Document?, in descriptor: CollectionDescriptor
    ) throws(CommandFailure) -> UInt32? {
        if descriptor.chunks.count == 1 { return descriptor.chunks[0].group }
        do throws(QueryError) {
            return try Targeting.id(in: filter, try descriptor.collation(asGiven: given)).map {
                Targeting.group(of: $0, in: descriptor)
            }
        } catch {
            throw .error(error)
        }
    }

    private func comparesUnderCollation(
        _ given: Document?, _ descriptor: CollectionDescriptor
    ) throws(CommandFailure) -> Bool {
        do throws(QueryError) {
            return try descriptor.collation(asGiven: given) != nil
        } catch {
            throw .error(error)
        }
    }

    private func upsertIDOrFail(
        filter: Document, update: Value?, variables: Document?
    ) throws(CommandFailure) -> Value {
        do throws(QueryError) {
            return try upsertID(filter: filter, update: update, variables: variables)
        } catch {
            throw .error(error)
        }
    }

    /// The group that carried out a former try of the same numbered command, if one did; if none did, none will.
    private func executor(
        of stamp: SessionStamp, _ statementID: Int32, _ attempt: UInt64?, _ descriptor: CollectionDescriptor,
        deadline: UInt64
    ) async throws(CommandFailure) -> UInt32? {
        let groups = descriptor.groups
        let questions = groups.map { group in
            Question(
                GroupID(group),
                GroupRequest(
                    .checkExecuted, collection: .system, session: stamp, statementIDs: [statementID], attempt: attempt))
        }
        for (group, reply) in zip(groups, try await ask(questions, deadline: deadline).replies()) {
            if try reply.body.executedStatements().contains(where: { $0.0 == statementID }) { return group }
        }
        return nil
    }

    /// The first document in the sort's order, over all groups.
    private func firstMatch(
        _ filter: Document, sort: Document?, _ given: Document?, hint: Value?, _ variables: Document?,
        in descriptor: CollectionDescriptor, deadline: UInt64
    ) async throws(CommandFailure) -> (group: UInt32, id: Value)? {
        let groups: [UInt32]
        let order: SortSpecification?
        do throws(QueryError) {
            let collation = try descriptor.collation(asGiven: given)
            groups = try await self.groups(for: filter, in: descriptor, collation, deadline: deadline)
            order = try sort.flatMap { (sort) throws(QueryError) in
                sort.isEmpty ? nil : try SortSpecification(parsing: sort, collation: collation)
            }
        } catch {
            throw .error(error)
        }
        var body: Document = ["filter": .document(filter), "limit": 1, "batchSize": 1, "singleBatch": true]
        if let sort { body.set("sort", .document(sort)) } else { body.set("projection", ["_id": 1]) }
        if let hint { body.set("hint", hint) }
        if let given { body.set("collation", .document(given)) }
        if let variables { body.set("let", .document(variables)) }
        let questions = groups.map { group in
            Question(
                GroupID(group),
                GroupRequest(.find, collection: descriptor.id, epoch: descriptor.epoch, body: body), descriptor)
        }
        var best: (group: UInt32, document: Document)?
        for (group, reply) in zip(groups, try await ask(questions, deadline: deadline).replies()) {
            guard let document = reply.documents.first else { continue }
            if let former = best {
                guard let order, try order.isBefore(document, former.document) else { continue }
            }
            best = (group, document)
        }
        guard let best, let id = best.document["_id"] else { return nil }
        return (best.group, id)
    }

    private static func findAndModifyReply(_ reply: GroupReply) -> Document {
        var builder = DocumentBuilder()
        builder.append(elementsOf: reply.body)
        builder.append("ok", .double(1))
        return builder.finish()
    }
}

extension SortSpecification {
    func isBefore(_ left: Document, _ right: Document) throws(CommandFailure) -> Bool {
        do throws(QueryError) {
            return try compare(left, right) < 0
        } catch {
            throw .error(error)
        }
    }
}
