import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// What the groups counted of one collection, together.
struct CollectionStatistics {
    var count: Int64 = 0
    /// Bytes of the documents.
    var size: Int64 = 0
    var storageSize: Int64 = 0
    var indexSize: Int64 = 0
    var indexSizes: [(name: String, size: Int64)] = [("_id_", 0)]
    var groups: [(group: UInt32, count: Int64, size: Int64)] = []
    /// Of a capped collection; nil for any other.
    var capped: CappedLimits?

    /// The fields of `collStats`.
    func append(to builder: inout DocumentBuilder, scale: Int64) {
        builder.append("sharded", .bool(groups.count > 1))
        builder.append("size", Router.number(size / scale))
        builder.append("count", Router.number(count))
        if count > 0 { builder.append("avgObjSize", Router.number(size / count)) }
        builder.append("storageSize", Router.number(storageSize / scale))
        builder.append("capped", .bool(capped != nil))
        if let capped {
            builder.append("maxSize", Router.number(capped.bytes / scale))
            builder.append("max", Router.number(capped.documents ?? 0))
        }
        builder.append("nindexes", .int32(Int32(indexSizes.count)))
        builder.append("totalIndexSize", Router.number(indexSize / scale))
        builder.append("totalSize", Router.number((storageSize + indexSize) / scale))
        builder.append(
            "indexSizes",
            .document(Document(indexSizes.map { ($0.name, Router.number($0.size / scale)) })))
        builder.append("scaleFactor", Router.number(scale))
        builder.append(
            "shards",
            .document(
                Document(
                    groups.map { part in
                        (
                            "g\(part.group)",
                            .document(["count": Router.number(part.count), "size": Router.number(part.size / scale)])
                        )
                    })))
    }
}

extension Router {
    /// Asks every owner; nil when there is no such collection.
    func statistics(of namespace: Namespace, deadline: UInt64) async throws(QueryError) -> CollectionStatistics? {
        guard let descriptor = try await collection(namespace, deadline: deadline) else { return nil }
        let (replies, _) = try await askOwners(
            namespace, filter: Document(), nil, operation: .statistics, body: Document(), deadline: deadline)
        var statistics = CollectionStatistics()
        statistics.capped = descriptor.cappedLimits
        for (group, reply) in zip(descriptor.groups, replies) {
            let count = try reply.body.integer("count") ?? 0
            let size = try reply.body.integer("size") ?? 0
            statistics.count += count
            statistics.size += size
            statistics.storageSize += try reply.body.integer("storageSize") ?? 0
            statistics.indexSize += try reply.body.integer("totalIndexSize") ?? 0
            statistics.groups.append((group, count, size))
            for index in try reply.body.list("indexes")?.documents(of: "indexes") ?? [] {
                let name = try index.string("name") ?? "?"
                let size = try index.integer("size") ?? 0
                if let position = statistics.indexSizes.firstIndex(where: { $0.name == name }) {
                    statistics.indexSizes[position].size += size
                } else {
                    statistics.indexSizes.append((name, size))
                }
            }
        }
        return statistics
    }

    /// `collStats`.
    func collectionStatistics(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        let scale = max(1, try command.body.integer("scale") ?? 1)
        let found = try await statistics(of: namespace, deadline: command.deadline!)
        var builder = DocumentBuilder()
        builder.append("ns", .string(BSONString(namespace.description)))
        (found ?? CollectionStatistics(indexSizes: [])).append(to: &builder, scale: scale)
        builder.append("ok", .double(1))
        return builder.finish()
    }

    /// What `$collStats` gives: one document.
    func statisticsDocument(
        of namespace: Namespace, storageScale scale: Int64?, count: Bool, deadline: UInt64
    ) async throws(QueryError) -> Document {
        let found = try await statistics(of: namespace, deadline: deadline)
        var builder = DocumentBuilder()
        builder.append("ns", .string(BSONString(namespace.description)))
        builder.append("localTime", .date(milliseconds: clock.wallMilliseconds))
        if let scale {
            var storage = DocumentBuilder()
            (found ?? CollectionStatistics(indexSizes: [])).append(to: &storage, scale: scale)
            builder.append("storageStats", storage.finish())
        }
        if count {
            guard let found else { throw QueryError(.namespaceNotFound, "Collection [\(namespace)] not found.") }
            builder.append("count", Router.number(found.count))
        }
        return builder.finish()
    }

    /// `dbStats`.
    func databaseStatistics(_ command: ClientCommand) async throws(QueryError) -> Document {
        try Namespace.check(database: command.database)
        let scale = max(1, try command.body.integer("scale") ?? 1)
        var total = CollectionStatistics(indexSizes: [])
        var collections = 0
        var indexes = 0
        var views = 0
        for entry in try await catalogEntries(database: command.database, deadline: command.deadline!)
        where entry.state == .ready {
            if entry.descriptor.isView {
                views += 1
                continue
            }
            let namespace = Namespace(trusted: entry.descriptor.database, entry.descriptor.name)
            guard let part = try await statistics(of: namespace, deadline: command.deadline!) else { continue }
            collections += 1
            indexes += entry.descriptor.indexes.count + 1
            total.count += part.count
            total.size += part.size
            total.storageSize += part.storageSize
            total.indexSize += part.indexSize
        }
        return [
            "db": .string(BSONString(command.database)), "collections": .int32(Int32(collections)),
            "views": .int32(Int32(views)),
            "objects": Router.number(total.count),
            "avgObjSize": .double(total.count == 0 ? 0 : Double(total.size) / Double(total.count)),
            "dataSize": .double(Double(total.size) / Double(scale)),
            "storageSize": .double(Double(total.storageSize) / Double(scale)), "indexes": .int32(Int32(indexes)),
            "indexSize": .double(Double(total.indexSize) / Double(scale)),
            "totalSize": .double(Double(total.storageSize + total.indexSize) / Double(scale)),
            "scaleFactor": Router.number(scale), "ok": 1.0,
        ]
    }
}
