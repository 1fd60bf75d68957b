import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// Commands about indexes.
///
/// An index comes to be in three steps, each of which can be repeated: the catalog's descriptor gets it; every group that
/// owns slots gets the descriptor and keeps the index up to date from then on; every group fills it from the documents
/// it has. A query uses it in a group as soon as that group is done. `createIndexes` answers when all are, and the same command
/// again finishes what a former one began.
///
/// A unique index can only be kept by one group. A collection that is spread and empty is moved to one when such an index is
/// asked for; a populated one is refused.
extension Router {
    /// `createIndexes`.
    func createIndexes(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        try refuseCatalogWrite(namespace)
        let deadline = command.deadline!
        guard let specifications = try command.body.list("indexes")?.documents(of: "indexes"), !specifications.isEmpty
        else { throw QueryError(.badValue, "Must specify at least one index to create") }
        var wanted: [IndexDescriptor] = []
        for specification in specifications {
            if let index = try IndexSpecification(specification).descriptor { wanted.append(index) }
        }
        let needsOneGroup = wanted.contains { $0.isUnique && !$0.key.contains("_id") }

        var createdCollection = false
        while try await collection(namespace, fresh: true, deadline: deadline) == nil {
            if try await createCollection(namespace, placement: needsOneGroup ? .single : .spread, deadline: deadline)
                != nil
            {
                createdCollection = true
            }
        }
        var before = 0
        var retries = StaleRetries()
        var indexes: [IndexDescriptor] = []
        var descriptor: CollectionDescriptor
        while true {
            let current = try await collectionForWriting(namespace, deadline: deadline)
            var lacksUnique = false
            for index in wanted where index.isUnique && !index.key.contains("_id") {
                if try IndexSpecification.existing(index, in: current) == nil { lacksUnique = true }
            }
            if lacksUnique, current.groups.count > 1 {
                guard try await placeInOneGroup(namespace, deadline: deadline) else {
                    throw QueryError(
                        .cannotCreateIndex,
                        "cannot create a unique index on \(namespace): the collection is spread over "
                            + "\(current.groups.count) groups and has documents. Create the index while the collection is "
                            + "empty, or copy the documents to a collection created with {placement: \"single\"}")
                }
            }
            do throws(QueryError) {
                (descriptor, _) = try await changeCollection(namespace, deadline: deadline) {
                    (current) throws(QueryError) in
                    before = current.indexes.count + 1
                    indexes = []
                    var new = current
                    for var index in wanted {
                        if let existing = try IndexSpecification.existing(index, in: new) {
                            indexes.append(existing)
                            continue
                        }
                        if index.isUnique, !index.key.contains("_id"), current.groups.count > 1 {
                            throw QueryError(
                                .conflictingOperationInProgress, "the collection was placed anew meanwhile")
                        }
                        if index.expireAfterSeconds != nil, current.cappedLimits != nil {
                            throw QueryError(
                                .cannotCreateIndex, "Cannot create TTL index on a capped collection")
                        }
                        guard new.indexes.count < 63 else {
                            throw QueryError(.cannotCreateIndex, "add index fails, too many indexes for \(namespace)")
                        }
                        index = IndexSpecification.resolved(index, in: new)
                        index.id = IndexID(new.nextIndexID)
                        new.nextIndexID += 1
                        new.indexes.append(index)
                        indexes.append(index)
                    }
                    return new.indexes.count == current.indexes.count ? nil : new
                }
            } catch  where error.code == .conflictingOperationInProgress {
                try await retries.next(self, deadline: deadline)
                continue
            }
            break
        }
        // Also when nothing changed: a former command may have been cut short before its groups were told.
        try await install(descriptor, deadline: deadline)
        for index in indexes {
            try await build(
                index, of: descriptor, namespace,
                isNew: index.id.rawValue + UInt16(wanted.count) >= descriptor.nextIndexID)
        }
        var reply: Document = [
            "numIndexesBefore": .int32(Int32(before)), "numIndexesAfter": .int32(Int32(descriptor.indexes.count + 1)),
            "createdCollectionAutomatically": .bool(createdCollection),
        ]
        if descriptor.indexes.count + 1 == before, !createdCollection {
            reply.set("note", "all indexes already exist")
        }
        reply.set("ok", .double(1))
        return reply
    }

    /// Fills an index in every group; takes it away again when documents stand in its way.
    private func build(
        _ index: IndexDescriptor, of descriptor: CollectionDescriptor, _ namespace: Namespace, isNew: Bool
    ) async throws(QueryError) {
        do throws(QueryError) {
            try await fill(index, of: descriptor)
        } catch  where error.code != .hostUnreachable && error.code != .namespaceNotFound {
            if isNew {
                let deadline = clock.nanoseconds + options.commandNanoseconds
                _ = try await changeCollection(namespace, deadline: deadline) { (current) throws(QueryError) in
                    guard current.id == descriptor.id, current.indexes.contains(where: { $0.id == index.id }) else {
                        return nil
                    }
                    var new = current
                    new.indexes.removeAll { $0.id == index.id }
                    return new
                }
            }
            throw error
        }
    }

    /// Step by step in all groups side by side. Each step has a deadline of its own: a large collection takes its time.
    private func fill(_ index: IndexDescriptor, of descriptor: CollectionDescriptor) async throws(QueryError) {
        let namespace = Namespace(trusted: descriptor.database, descriptor.name)
        let build = indexBuilds.begin(index, on: namespace, descriptor)
        defer { indexBuilds.end(build) }
        var unfinished: [(group: UInt32, resume: Value?)] = descriptor.groups.map { ($0, nil) }
        var epoch = descriptor.epoch
        var newest = descriptor
        var retries = StaleRetries()
        while !unfinished.isEmpty {
            let deadline = clock.nanoseconds + options.commandNanoseconds
            let questions = unfinished.map { group, resume in
                var body: Document = ["index": .int32(Int32(index.id.rawValue))]
                if let resume { body.set("resume", resume) }
                return Question(
                    GroupID(group), GroupRequest(.buildIndex, collection: descriptor.id, epoch: epoch, body: body),
                    newest)
            }
            if Task.isCancelled { throw Router.interrupted }
            var next: [(group: UInt32, resume: Value?)] = []
            var isStale = false
            for ((group, resume), result) in zip(unfinished, await ask(questions, deadline: deadline)) {
                do throws(CommandFailure) {
                    let reply = try result.reply()
                    indexBuilds.note(reply.body, of: group, build)
                    if reply.body.flag("done") != true { next.append((group, reply.body["resume"] ?? resume)) }
                } catch {
                    guard case .stale = error else { throw error.queryError }
                    isStale = true
                    next.append((group, resume))
                }
            }
            unfinished = next
            guard isStale else { continue }
            // Another change of the collection; go on under its epoch, if the index is still wanted.
            try await retries.next(self, deadline: deadline)
            guard let current = try await collection(namespace, fresh: true, deadline: deadline),
                current.id == descriptor.id,
                current.indexes.contains(where: { $0.id == index.id })
            else { throw QueryError(.indexBuildAborted, "the index was dropped while it was built") }
            epoch = current.epoch
            newest = current
            let owners = Set(current.groups)
            unfinished.removeAll { !owners.contains($0.group) }
        }
    }

    /// `listIndexes`.
    func listIndexes(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        guard let descriptor = try await collection(namespace, fresh: true, deadline: command.deadline!) else {
            throw QueryError(.namespaceNotFound, "ns does not exist: \(namespace)")
        }
        var documents = [Router.idIndex]
        for index in descriptor.indexes {
            documents.append(Router.specification(of: index))
        }
        let size = try command.body.nested("cursor")?.count("batchSize")
        return try await firstReply(
            try cursor(over: documents, namespace: namespace.description),
            batchSize: size.map { Int(clamping: $0) } ?? .max, isSingleBatch: false, deadline: command.deadline!)
    }

    /// An index as `createIndexes` would be told to make it.
    static func specification(of index: IndexDescriptor) -> Document {
        var builder = DocumentBuilder()
        builder.append("v", .int32(2))
        builder.append("key", .document(index.key))
        builder.append("name", .string(BSONString(index.name)))
        if index.isUnique { builder.append("unique", .bool(true)) }
        if index.isSparse { builder.append("sparse", .bool(true)) }
        if let filter = index.partialFilter { builder.append("partialFilterExpression", .document(filter)) }
        for element in index.options { builder.append(element: element) }
        return builder.finish()
    }

    /// `dropIndexes`: by name, by key, several names, or all but the one on `_id`.
    func dropIndexes(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        try refuseCatalogWrite(namespace)
        guard let selector = command.body["index"] else {
            throw QueryError(.missingRequiredField, "BSON field 'dropIndexes.index' is missing but a required field")
        }
        var before = 0
        _ = try await changeCollection(namespace, deadline: command.deadline!) { (current) throws(QueryError) in
            before = current.indexes.count + 1
            let doomed = try Router.indexes(selector, in: current)
            guard !doomed.isEmpty else { return nil }
            var new = current
            new.indexes.removeAll { doomed.contains($0.id) }
            return new
        }
        return ["nIndexesWas": .int32(Int32(before)), "ok": 1.0]
    }

    private static func indexes(
        _ selector: Value, in descriptor: CollectionDescriptor
    ) throws(QueryError) -> Set<IndexID> {
        func named(_ name: String) throws(QueryError) -> IndexID {
            if name == "_id_" { throw QueryError(.invalidOptions, "cannot drop _id index") }
            guard let index = descriptor.index(named: name) else {
                throw QueryError(.indexNotFound, "index not found with name [\(name)]")
            }
            return index.id
        }
        switch selector {
        case .string("*"):
            return Set(descriptor.indexes.map(\.id))
        case .string(let name):
            return [try named(name.string)]
        case .array(let names):
            var ids: Set<IndexID> = []
            for value in names {
                guard case .string(let name) = value else {
                    throw QueryError(.typeMismatch, "dropIndexes.index must hold names")
                }
                ids.insert(try named(name.string))
            }
            return ids
        case .document(let key):
            if key == Router.idIndex["key"]?.asDocument { throw QueryError(.invalidOptions, "cannot drop _id index") }
            // By value, so that 1 and 1.0 mean the same direction.
            let found = descriptor.indexes.filter { Value.document($0.key) == .document(key) }
            guard let index = found.first else {
                throw QueryError(.indexNotFound, "can't find index with key: \(key)")
            }
            guard found.count == 1 else {
                throw QueryError(
                    .ambiguousIndexKeyPattern,
                    "\(found.count) indexes found for key: \(key), use the index name instead")
            }
            return [index.id]
        default:
            throw QueryError(.typeMismatch, "dropIndexes.index must be a name, a list of names or a key")
        }
    }
}
