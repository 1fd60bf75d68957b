import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// Commands about collections and databases. A database exists while it has a collection.
extension Router {
    /// Options that change nothing in Cairn, or whose absence a client cannot tell from their presence.
    static let ignoredOptions: Set<String> = [
        "create", "$db", "lsid", "$clusterTime", "writeConcern", "autoIndexId", "storageEngine", "maxTimeMS",
        "indexOptionDefaults", "$readPreference", "readConcern", "txnNumber", "apiVersion", "apiStrict",
        "apiDeprecationErrors", "idIndex", "flags",
    ]

    /// `create`. `placement: "single"` keeps the collection in one group.
    func create(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        try refuseCatalogWrite(namespace)
        if namespace.collection.hasPrefix("system.") {
            throw QueryError(.invalidNamespace, "Invalid system namespace: \(namespace)")
        }
        if command.body["viewOn"] != nil { return try await createView(namespace, command) }
        let options = try CollectionOptions(creating: command.body)
        while true {
            if let existing = try await catalogued(namespace, fresh: true, deadline: command.deadline!) {
                // The same again is no error, as in MongoDB 7.
                guard existing.options == options.document else {
                    throw QueryError(.namespaceExists, "Collection \(namespace) already exists.")
                }
                return Router.done
            }
            if try await createCollection(
                namespace, options: options.document, placement: options.placement, deadline: command.deadline!) != nil
            {
                return Router.done
            }
        }
    }

    /// `drop`. On return every group has deleted the collection's documents and refuses its number for good.
    func drop(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        try refuseCatalogWrite(namespace)
        guard let dropped = try await dropCollection(namespace, deadline: command.deadline!) else { return Router.done }
        if dropped.isView { return ["ns": .string(BSONString(namespace.description)), "ok": 1.0] }
        return [
            "nIndexesWas": .int32(Int32(dropped.indexes.count + 1)), "ns": .string(BSONString(namespace.description)),
            "ok": 1.0,
        ]
    }

    /// `dropDatabase`: all its collections, one by one.
    func dropDatabase(_ command: ClientCommand) async throws(QueryError) -> Document {
        try Namespace.check(database: command.database)
        try refuseCatalogWrite(Namespace(trusted: command.database, ""))
        var dropped = false
        for entry in try await catalogEntries(database: command.database, deadline: command.deadline!)
        where entry.state != .dropping {
            let namespace = Namespace(trusted: entry.descriptor.database, entry.descriptor.name)
            _ = try await dropCollection(namespace, deadline: command.deadline!)
            dropped = true
        }
        if !dropped { return Router.done }
        return ["dropped": .string(BSONString(command.database)), "ok": 1.0]
    }

    /// `renameCollection`, over databases too: the documents stay where they are, under the same number.
    func renameCollection(_ command: ClientCommand) async throws(QueryError) -> Document {
        guard let fromName = try command.body.string(command.name), let toName = try command.body.string("to") else {
            throw QueryError(.missingRequiredField, "BSON field 'renameCollection.to' is missing but a required field")
        }
        guard command.database == "admin" else {
            throw QueryError(.unauthorized, "renameCollection may only be run against the admin database.")
        }
        let from = try Namespace(parsing: fromName)
        let to = try Namespace(parsing: toName)
        try refuseCatalogWrite(from)
        try refuseCatalogWrite(to)
        guard from != to else {
            throw QueryError(.illegalOperation, "Can't rename a collection to itself")
        }
        for namespace in [from, to] where namespace.collection.hasPrefix("system.") {
            throw QueryError(
                .illegalOperation, "error with namespace \(namespace): system collections keep their names")
        }
        let deadline = command.deadline!
        guard let source = try await catalogued(from, fresh: true, deadline: deadline) else {
            throw QueryError(.namespaceNotFound, "Source collection \(from) does not exist")
        }
        if source.isView { throw QueryError(.commandNotSupportedOnView, "cannot rename view: \(from)") }
        if let target = try await catalogued(to, fresh: true, deadline: deadline) {
            if target.isView {
                throw QueryError(.namespaceExists, "a view already exists with that name: \(to)")
            }
            guard command.body.flag("dropTarget") == true else {
                throw QueryError(.namespaceExists, "target namespace exists")
            }
            try await replaceCollection(from, over: to, deadline: deadline)
            return Router.done
        }
        var retries = StaleRetries()
        while let current = try await changeable(from, deadline: deadline) {
            var renamed = current
            renamed.database = to.database
            renamed.name = to.collection
            renamed.epoch += 1
            let entry = CatalogEntry(renamed, since: clock.wallMilliseconds)
            if try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) {
                try await finishRename(renamed, from: from, to: to, deadline: deadline)
                return Router.done
            }
            guard try await collection(to, fresh: true, deadline: deadline) == nil else {
                throw QueryError(.namespaceExists, "target namespace exists")
            }
            try await retries.next(self, deadline: deadline)
        }
        throw QueryError(.namespaceNotFound, "Source collection \(from) does not exist")
    }

    /// `listCollections`.
    func listCollections(_ command: ClientCommand) async throws(QueryError) -> Document {
        try Namespace.check(database: command.database)
        let filter = try command.body.nested("filter").flatMap { (filter) throws(QueryError) in
            filter.isEmpty ? nil : try Filter(parsing: filter)
        }
        let namesOnly = command.body.flag("nameOnly") ?? false
        var documents: [Document] = []
        let entries = try await catalogEntries(database: command.database, deadline: command.deadline!)
        for entry in entries.sorted(by: { $0.descriptor.name < $1.descriptor.name }) where entry.state != .dropping {
            let descriptor = entry.descriptor
            let type: Value = descriptor.isView ? "view" : "collection"
            var whole: Document = [
                "name": .string(BSONString(descriptor.name)), "type": type,
                "options": .document(descriptor.options), "info": ["readOnly": true],
            ]
            if !descriptor.isView {
                whole.set("info", ["readOnly": false, "uuid": .binary(Binary(descriptor.uuid, subtype: .uuid))])
                whole.set("idIndex", .document(Router.idIndex))
            }
            if let filter, try !filter.matches(whole) { continue }
            if namesOnly {
                documents.append(["name": .string(BSONString(descriptor.name)), "type": type])
            } else {
                documents.append(whole)
            }
        }
        let size = try command.body.nested("cursor")?.count("batchSize")
        return try await firstReply(
            try cursor(over: documents, namespace: "\(command.database).$cmd.listCollections"),
            batchSize: size.map { Int(clamping: $0) } ?? .max, isSingleBatch: false, deadline: command.deadline!)
    }

    static let idIndex: Document = ["v": 2, "key": ["_id": 1], "name": "_id_"]

    /// `listDatabases`. Sizes are those of the documents, and are only counted when they are asked for.
    func listDatabases(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namesOnly = command.body.flag("nameOnly") ?? false
        let filter = try command.body.nested("filter").flatMap { (filter) throws(QueryError) in
            filter.isEmpty ? nil : try Filter(parsing: filter)
        }
        var collections: [String: [CollectionDescriptor]] = [:]
        for entry in try await catalogEntries(deadline: command.deadline!) where entry.state == .ready {
            collections[entry.descriptor.database, default: []].append(entry.descriptor)
        }
        var databases: [Value] = []
        var total: Int64 = 0
        for name in collections.keys.sorted() {
            var document: Document = ["name": .string(BSONString(name))]
            if !namesOnly {
                var size: Int64 = 0
                for descriptor in collections[name]! where !descriptor.isView {
                    let namespace = Namespace(trusted: descriptor.database, descriptor.name)
                    size += try await statistics(of: namespace, deadline: command.deadline!)?.size ?? 0
                }
                document.set("sizeOnDisk", .int64(size))
                document.set("empty", .bool(false))
                total += size
            }
            if let filter, try !filter.matches(document) { continue }
            databases.append(.document(document))
        }
        var reply: Document = ["databases": .array(BSONArray(databases))]
        if !namesOnly {
            reply.set("totalSize", .int64(total))
            reply.set("totalSizeMb", .int64(total >> 20))
        }
        reply.set("ok", .double(1))
        return reply
    }
}
