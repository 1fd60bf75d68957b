import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// The catalog, as the router reads and changes it in the meta group.
///
/// The meta group is a group like the others; the catalog is a collection in it (``CatalogCollections``). What that buys: its
/// writes are evaluated on the leader and replicated like any other, a repeated one acts once, and an index keeps names
/// unique.
extension Router {
    func askCatalog(
        _ operation: GroupOperation, _ descriptor: CollectionDescriptor, body: Document = Document(),
        documents: [Document] = [], deadline: UInt64
    ) async throws(QueryError) -> GroupReply {
        var request = GroupRequest(
            operation, collection: descriptor.id, epoch: descriptor.epoch, body: body, documents: documents)
        let stamp = operation.isWrite ? takeSession() : nil
        defer { if let stamp { giveBack(stamp) } }
        request.session = stamp
        let result = await ask(Question(.meta, request, descriptor), deadline: deadline)
        do throws(CommandFailure) {
            return try result.reply()
        } catch {
            switch error {
            case .error(let error): throw error
            case .stale: throw QueryError(.internalError, "the meta group does not know the catalog")
            }
        }
    }

    /// The entry of a name, straight from the meta group's leader.
    func catalogEntry(_ namespace: Namespace, deadline: UInt64) async throws(QueryError) -> CatalogEntry? {
        let body: Document = [
            "filter": ["ns": .string(BSONString(namespace.description))], "limit": 1, "singleBatch": true,
        ]
        let reply = try await askCatalog(.find, CatalogCollections.collections, body: body, deadline: deadline)
        guard let document = reply.documents.first else { return nil }
        return try CatalogEntry(document)
    }

    /// All entries, dropped ones included, or those of one database.
    ///
    /// - Parameter changedSince: only those in the middle of a change, or changed after that time in milliseconds since 1970.
    func catalogEntries(
        database: String? = nil, changedSince: Int64? = nil, deadline: UInt64
    ) async throws(QueryError) -> [CatalogEntry] {
        var entries: [CatalogEntry] = []
        var last: Int64 = 0
        while true {
            // By number instead of by cursor: a cursor would die with the leader, and changes between pages do no harm.
            var filter: Document = ["_id": ["$gt": .int64(last)]]
            if let database { filter.set("db", .string(BSONString(database))) }
            if let changedSince {
                filter.set(
                    "$or",
                    [
                        ["state": ["$ne": .string(BSONString(CatalogEntry.State.ready.rawValue))]],
                        ["since": ["$gt": .date(milliseconds: changedSince)]],
                    ])
            }
            let body: Document = [
                "filter": .document(filter), "sort": ["_id": 1], "limit": 1000, "batchSize": 1000, "singleBatch": true,
            ]
            let reply = try await askCatalog(.find, CatalogCollections.collections, body: body, deadline: deadline)
            for document in reply.documents { entries.append(try CatalogEntry(document)) }
            guard let entry = entries.last, Int64(entry.descriptor.id.rawValue) > last else { return entries }
            last = Int64(entry.descriptor.id.rawValue)
        }
    }

    /// A number that no collection had before.
    func nextCollectionID(deadline: UInt64) async throws(QueryError) -> CollectionID {
        let body: Document = [
            "query": ["_id": "collection"], "update": ["$inc": ["last": .int64(1)]], "upsert": true, "new": true,
        ]
        let reply = try await askCatalog(.findAndModify, CatalogCollections.counters, body: body, deadline: deadline)
        guard case .document(let counter)? = reply.body["value"], let last = try counter.integer("last"),
            let id = UInt32(exactly: last - 1 + CatalogCollections.firstUserID)
        else { throw QueryError(.internalError, "no more numbers for collections") }
        return CollectionID(id)
    }

    /// Adds an entry.
    /// - Returns: false when the name is taken.
    func addCatalogEntry(_ entry: CatalogEntry, deadline: UInt64) async throws(QueryError) -> Bool {
        let reply = try await askCatalog(
            .insert, CatalogCollections.collections, documents: [entry.document], deadline: deadline)
        guard let error = try firstWriteError(reply) else { return true }
        guard error.code == .duplicateKey else { throw error }
        return false
    }

    /// Replaces the entry of `entry`'s collection if its epoch still is `epoch`.
    /// - Returns: false when somebody else changed it, or the new name is taken.
    func replaceCatalogEntry(
        _ entry: CatalogEntry, ifEpoch epoch: UInt64, deadline: UInt64
    ) async throws(QueryError) -> Bool {
        let reply = try await askCatalog(
            .update, CatalogCollections.collections, documents: [Router.replacement(entry, ifEpoch: epoch)],
            deadline: deadline)
        if let error = try firstWriteError(reply) {
            guard error.code == .duplicateKey else { throw error }
            return false
        }
        return try reply.body.integer("n") == 1
    }

    /// The statement that replaces an entry whose epoch still is `epoch`.
    static func replacement(_ entry: CatalogEntry, ifEpoch epoch: UInt64) -> Document {
        [
            "q": [
                "_id": .int64(Int64(entry.descriptor.id.rawValue)), "epoch": .int64(Int64(bitPattern: epoch)),
            ],
            "u": .document(entry.document),
        ]
    }

    func removeCatalogEntry(_ id: CollectionID, deadline: UInt64) async throws(QueryError) {
        let statement: Document = ["q": ["_id": .int64(Int64(id.rawValue))], "limit": 1]
        let reply = try await askCatalog(
            .delete, CatalogCollections.collections, documents: [statement], deadline: deadline)
        if let error = try firstWriteError(reply) { throw error }
    }

    func firstWriteError(_ reply: GroupReply) throws(QueryError) -> QueryError? {
        guard let error = try reply.body.list("writeErrors")?.documents(of: "writeErrors").first else { return nil }
        let code = ErrorCode(rawValue: Int32(clamping: try error.integer("code") ?? 1))
        return QueryError(code, try error.string("errmsg") ?? "the write failed")
    }
}

extension Router {
    /// A stamp for a write whose client gave none; every one taken is given back.
    func takeSession() -> SessionStamp {
        sessions.take(random: random)
    }

    func giveBack(_ stamp: SessionStamp) {
        sessions.giveBack(stamp)
    }
}
