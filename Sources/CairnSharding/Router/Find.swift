import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication
import CairnStorage

/// `find`.
///
/// With one group to ask, the group does everything and the router passes its batches on. With several, each sorts its share
/// and gives at most skip + limit documents; the router merges, skips, limits and, when the order needs fields that the
/// projection leaves out, projects. All groups read at one version (``RouterOptions/scansReadOneVersion``).
extension Router {
    func find(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        var query = try FindArguments(command.body)
        let deadline = command.deadline!
        query.variables = try await values(of: query.variables, deadline: deadline)
        try query.checkTailing()
        if let view = try await view(namespace, deadline: deadline) {
            return try await find(query, over: view, deadline: deadline)
        }
        var retries = StaleRetries()
        var isFresh = false
        while let descriptor = try await collection(namespace, fresh: isFresh, deadline: deadline) {
            if !isFresh, query.isAhead(of: descriptor) {
                isFresh = true
                continue
            }
            if query.isTailable {
                let cursor = try openTail(query, of: descriptor, namespace)
                return try await firstReply(
                    cursor, batchSize: firstBatchSize(query.batchSize), isSingleBatch: false, deadline: deadline)
            }
            let bounded = try query.bounded(in: descriptor)
            let collation = try descriptor.collation(asGiven: query.collation)
            let groups = try await groups(for: query.filter, in: descriptor, collation, deadline: deadline)
            do throws(CommandFailure) {
                let cursor = try await openFind(
                    bounded, collation, on: groups, of: descriptor, namespace, deadline: deadline)
                return try await replyOrFail(cursor, query, deadline: deadline)
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await retries.next(self, deadline: deadline)
                isFresh = true
            }
        }
        try query.check()
        return Router.cursorReply(id: 0, namespace: namespace.description, batch: [], isFirst: true)
    }

    /// A cursor over what a query finds; nil when there is no such collection.
    func openCursor(
        _ query: FindArguments, over namespace: Namespace, deadline: UInt64
    ) async throws(QueryError) -> RouterCursor? {
        var retries = StaleRetries()
        var isFresh = false
        while let descriptor = try await collection(namespace, fresh: isFresh, deadline: deadline) {
            if !isFresh, query.isAhead(of: descriptor) {
                isFresh = true
                continue
            }
            let collation = try descriptor.collation(asGiven: query.collation)
            do throws(CommandFailure) {
                return try await openFind(
                    try query.boundedOrFail(in: descriptor), collation, on: descriptor.groups, of: descriptor,
                    namespace,
                    deadline: deadline)
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await retries.next(self, deadline: deadline)
                isFresh = true
            }
        }
        return nil
    }

    private func replyOrFail(
        _ cursor: RouterCursor, _ query: FindArguments, deadline: UInt64
    ) async throws(CommandFailure) -> Document {
        do throws(QueryError) {
            return try await firstReply(
                cursor, batchSize: firstBatchSize(query.batchSize), isSingleBatch: query.isSingleBatch,
                deadline: deadline)
        } catch {
            throw .error(error)
        }
    }

    private func openFind(
        _ query: FindArguments, _ collation: Collation?, on groups: [UInt32], of descriptor: CollectionDescriptor,
        _ namespace: Namespace, deadline: UInt64
    ) async throws(CommandFailure) -> RouterCursor {
        let isMerged = groups.count > 1
        let order: SortSpecification?
        let shape: FindShape?
        do throws(QueryError) {
            order = isMerged ? try query.sortSpecification(collation) : nil
            shape = order != nil ? try FindShape(query) : nil
        } catch {
            throw .error(error)
        }
        if let order, let share = query.share(of: groups.count) {
            let body = query.groupBody(isMerged: true, withoutProjection: shape != nil, share: share)
            var streams = try await openStreams(.find, body: body, on: groups, of: descriptor, deadline: deadline)
            do throws(QueryError) {
                for index in streams.indices { try streams[index].makeKeys(order) }
            } catch {
                throw .error(error)
            }
            if streams.suffice(for: query.skip + query.limit, share: Int(share)) {
                return try merge(streams, query, order, shape, namespace)
            }
            for stream in streams where !stream.isExhausted { close(stream) }
        }
        let body = query.groupBody(isMerged: isMerged, withoutProjection: shape != nil)
        let streams = try await openStreams(
            .find, body: body, on: groups, of: descriptor, deadline: deadline)
        return try merge(streams, query, order, shape, namespace)
    }

    private func merge(
        _ streams: [CursorStream], _ query: FindArguments, _ order: SortSpecification?, _ shape: FindShape?,
        _ namespace: Namespace
    ) throws(CommandFailure) -> RouterCursor {
        let isMerged = streams.count > 1
        do throws(QueryError) {
            return try RouterCursor(
                id: cursors.newID(random: random), namespace: namespace.description, router: self, streams: streams,
                order: order, shape: shape, skip: isMerged ? query.skip : 0,
                limit: isMerged && query.limit > 0 ? query.limit : nil)
        } catch {
            throw .error(error)
        }
    }
}

/// The arguments of `find`.
struct FindArguments {
    var filter: Document
    var projection: Document?
    var sort: Document?
    var skip: Int64
    /// 0 for none.
    var limit: Int64
    var batchSize: Int64?
    var isSingleBatch: Bool
    var hint: Value?
    var variables: Document?
    var collation: Document?
    /// Whether the cursor stays open at the end of a capped collection, and waits there for more.
    var isTailable = false
    var awaitsData = false
    /// The first key of the hinted index to look at, and the first not to.
    var minimum: Document?
    var maximum: Document?
    /// Whether the keys of the index that is used are wanted instead of documents.
    var returnsKey = false
    var showsRecordID = false

    /// The option that only a collection can be asked for, no pipeline.
    var collectionOnlyOption: String? {
        if isTailable { return "tailable" }
        if minimum != nil { return "min" }
        if maximum != nil { return "max" }
        if returnsKey { return "returnKey" }
        return showsRecordID ? "showRecordId" : nil
    }
    var allowsDiskUse: Bool?

    init(_ body: Document) throws(QueryError) {
        filter = try body.nested("filter") ?? Document()
        projection = try body.nested("projection").flatMap { $0.isEmpty ? nil : $0 }
        sort = try body.nested("sort").flatMap { $0.isEmpty ? nil : $0 }
        skip = try body.count("skip") ?? 0
        limit = try body.integer("limit") ?? 0
        batchSize = try body.count("batchSize")
        isSingleBatch = body.flag("singleBatch") ?? false
        if limit < 0 {
            // As in the time before `singleBatch`.
            limit = limit == .min ? .max : -limit
            isSingleBatch = true
        }
        hint = body["hint"]
        if case .document(let document)? = hint, document.isEmpty { hint = nil }
        variables = try body.nested("let")
        collation = try body.nested("collation")
        isTailable = body.flag("tailable") ?? false
        awaitsData = body.flag("awaitData") ?? false
        minimum = try body.nested("min").flatMap { $0.isEmpty ? nil : $0 }
        maximum = try body.nested("max").flatMap { $0.isEmpty ? nil : $0 }
        returnsKey = body.flag("returnKey") ?? false
        showsRecordID = body.flag("showRecordId") ?? false
        allowsDiskUse = body.flag("allowDiskUse")
    }

    /// The query's mistakes, when there is no collection whose groups would find them.
    func check() throws(QueryError) {
        _ = try Filter(parsing: filter)
        _ = try sortSpecification(collation.flatMap { (given) throws(QueryError) in try Collation.parse(given) })
        _ = try parsedProjection()
    }

    func sortSpecification(_ collation: Collation?) throws(QueryError) -> SortSpecification? {
        guard let sort else { return nil }
        // `$natural` is the order in which the groups give documents out.
        if sort["$natural"] != nil { return nil }
        return try SortSpecification(parsing: sort, collation: collation)
    }

    func parsedProjection() throws(QueryError) -> Projection? {
        guard let projection else { return nil }
        return try Projection(parsing: projection)
    }

    /// What a group is asked.
    ///
    /// - Parameter share: how many documents are asked for, all at once; nil for what the query says.
    func groupBody(isMerged: Bool, withoutProjection: Bool, share: Int64? = nil) -> Document {
        var builder = DocumentBuilder()
        builder.append("filter", .document(filter))
        if let projection, !withoutProjection { builder.append("projection", .document(projection)) }
        if let sort { builder.append("sort", .document(sort)) }
        if let share {
            builder.append("limit", .int64(share))
            builder.append("batchSize", .int64(share))
        } else if isMerged {
            let (needed, overflow) = skip.addingReportingOverflow(limit)
            if limit > 0, !overflow { builder.append("limit", .int64(needed)) }
        } else {
            if skip > 0 { builder.append("skip", .int64(skip)) }
            if limit > 0 { builder.append("limit", .int64(limit)) }
        }
        // A merge needs something of everyone at once, also when the client wants an empty first batch.
        if let batchSize, share == nil, !(isMerged && batchSize == 0) {
            let wanted = isMerged ? batchSize.addingReportingOverflow(skip).partialValue : batchSize
            builder.append("batchSize", .int32(Int32(clamping: min(max(wanted, 0), 10_000))))
        }
        if isSingleBatch, !isMerged { builder.append("singleBatch", .bool(true)) }
        if let hint { builder.append("hint", hint) }
        if let minimum { builder.append("min", .document(minimum)) }
        if let maximum { builder.append("max", .document(maximum)) }
        if returnsKey {
            builder.append("returnKey", .bool(true))
            if withoutProjection { builder.append("keepDocuments", .bool(true)) }
        }
        if showsRecordID { builder.append("showRecordId", .bool(true)) }
        if let allowsDiskUse { builder.append("allowDiskUse", .bool(allowsDiskUse)) }
        if let variables { builder.append("let", .document(variables)) }
        if let collation { builder.append("collation", .document(collation)) }
        return builder.finish()
    }
}
