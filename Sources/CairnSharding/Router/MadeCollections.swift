import CairnBSON
import CairnDatabase
import CairnQuery

/// Collections that clients can read like any other and nobody can write: their documents are made when they are asked for, from
/// the catalog, the layout, or what the node knows.
///
/// - `config.shards`, `config.databases`, `config.collections`: the cluster in the shape of MongoDB's catalog. A data group takes a
///   shard's place.
/// - `system.profile` of every database: what the profiler of this node wrote down.
extension Router {
    /// Answers a command on such a collection.
    ///
    /// - Returns: nil when the command is about something else.
    func answerFromMade(_ command: ClientCommand) async throws(QueryError) -> Document? {
        guard case .string(let name)? = command.body.first?.value,
            command.database == "config" || name == "system.profile"
        else { return nil }
        let namespace = try Namespace(database: command.database, collection: name.string)
        if name == "system.profile", let reports, command.name == "drop" {
            guard try reports.dropProfile(of: command.database) else { return Router.done }
            return ["nIndexesWas": 1, "ns": .string(BSONString(namespace.description)), "ok": 1.0]
        }
        if name == "system.profile", ["insert", "update", "delete", "findAndModify"].contains(command.name) {
            throw QueryError(.invalidNamespace, "cannot write to '\(namespace)'")
        }
        // `aggregate` comes here by itself.
        guard ["find", "count", "distinct"].contains(command.name),
            let documents = try await madeDocuments(of: namespace, deadline: command.deadline!)
        else { return nil }
        switch command.name {
        case "find": return try await find(command, in: documents, of: namespace)
        case "count": return try count(command, in: documents)
        default: return try await distinct(command, in: documents, of: namespace)
        }
    }

    /// The documents of such a collection; nil when it is a collection like others.
    func madeDocuments(of namespace: Namespace, deadline: UInt64) async throws(QueryError) -> [Document]? {
        if namespace.collection == "system.profile" { return reports?.profile(of: namespace.database) }
        guard namespace.database == "config" else { return nil }
        switch namespace.collection {
        case "shards":
            return layout.groups.filter { $0.id != .meta }.map { group in
                let hosts = group.voters.compactMap { layout.node($0)?.clientAddress }.joined(separator: ",")
                let name = "g\(group.id.rawValue)"
                return [
                    "_id": .string(BSONString(name)), "host": .string(BSONString("\(name)/\(hosts)")),
                    "state": .int32(1),
                    "topologyTime": .timestamp(Timestamp(rawValue: layout.version)),
                ]
            }
        case "collections":
            return try await readyEntries(deadline).map { entry in
                let descriptor = entry.descriptor
                return [
                    "_id": .string(BSONString(descriptor.namespace)),
                    "lastmodEpoch": .int64(Int64(bitPattern: descriptor.epoch)),
                    "lastmod": .date(milliseconds: entry.since),
                    "uuid": .binary(Binary(descriptor.uuid, subtype: .uuid)), "key": ["_id": "hashed"],
                    "unique": false, "dropped": false, "unsplittable": .bool(descriptor.placement == .single),
                ]
            }
        case "databases":
            var primaries: [String: UInt32] = [:]
            for entry in try await readyEntries(deadline) {
                let group = entry.descriptor.groups.first ?? 1
                primaries[entry.descriptor.database] = min(primaries[entry.descriptor.database] ?? group, group)
            }
            return primaries.sorted { $0.key < $1.key }.map { name, group in
                [
                    "_id": .string(BSONString(name)), "primary": .string(BSONString("g\(group)")), "partitioned": true,
                ]
            }
        default: return nil
        }
    }

    private func readyEntries(_ deadline: UInt64) async throws(QueryError) -> [CatalogEntry] {
        try await catalogEntries(deadline: deadline).filter { $0.state == .ready }
            .sorted { $0.descriptor.namespace < $1.descriptor.namespace }
    }

    private func matching(
        _ filter: Document, _ collation: Collation?, _ documents: [Document]
    ) throws(QueryError) -> [Document] {
        var context = QueryContext(nowMilliseconds: clock.wallMilliseconds)
        context.collation = collation
        let filter = try Filter(parsing: filter, context: context)
        var found: [Document] = []
        for document in documents where try filter.matches(document) { found.append(document) }
        return found
    }

    private func find(
        _ command: ClientCommand, in documents: [Document], of namespace: Namespace
    ) async throws(QueryError) -> Document {
        let query = try FindArguments(command.body)
        let collation = try query.collation.flatMap { (given) throws(QueryError) in try Collation.parse(given) }
        var found = try matching(query.filter, collation, documents)
        if let order = try query.sortSpecification(collation) {
            var keyed: [(key: [UInt8], document: Document)] = []
            for document in found { keyed.append((try order.sortKey(of: document), document)) }
            keyed.sort { $0.key.lexicographicallyPrecedes($1.key) }
            found = keyed.map(\.document)
        } else if query.sort?["$natural"]?.numericDouble == -1 {
            found.reverse()
        }
        found.removeFirst(min(found.count, Int(clamping: query.skip)))
        if query.limit > 0 { found = Array(found.prefix(Int(clamping: query.limit))) }
        if let projection = try query.parsedProjection() {
            for index in found.indices { found[index] = try projection.apply(found[index]) }
        }
        return try await firstReply(
            try cursor(over: found, namespace: namespace.description), batchSize: firstBatchSize(query.batchSize),
            isSingleBatch: query.isSingleBatch, deadline: command.deadline!)
    }

    private func count(_ command: ClientCommand, in documents: [Document]) throws(QueryError) -> Document {
        let collation = try command.body.nested("collation").flatMap { (given) throws(QueryError) in
            try Collation.parse(given)
        }
        let found = try matching(try command.body.nested("query") ?? Document(), collation, documents)
        var count = max(0, Int64(found.count) - (try command.body.count("skip") ?? 0))
        if let limit = try command.body.integer("limit"), limit != 0 {
            count = min(count, Int64(clamping: limit.magnitude))
        }
        return ["n": Router.number(count), "ok": 1.0]
    }

    private func distinct(
        _ command: ClientCommand, in documents: [Document], of namespace: Namespace
    ) async throws(QueryError) -> Document {
        guard let key = try command.body.string("key") else {
            throw QueryError(.missingRequiredField, "BSON field 'distinct.key' is missing but a required field")
        }
        let pipeline = try Pipeline(
            parsing: [
                ["$match": .document(try command.body.nested("query") ?? Document())],
                ["$unwind": .string(BSONString("$\(key)"))],
                ["$group": ["_id": .string(BSONString("$\(key)"))]], ["$sort": ["_id": 1]],
            ], context: QueryContext(nowMilliseconds: clock.wallMilliseconds))
        let cursor = try cursor(
            over: documents, namespace: namespace.description, executor: MergeExecution(pipeline),
            database: command.database)
        let values = try await cursor.nextBatch(nil, deadline: command.deadline!).map { $0["_id"] ?? .null }
        return ["values": .array(BSONArray(values)), "ok": 1.0]
    }
}
