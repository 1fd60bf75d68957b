import CairnBSON
import CairnQuery
import CairnStorage

// Reads see the applied state, at the version that it has when they begin or at one that the request names.
extension GroupDatabase {
    func read(_ request: GroupRequest, _ context: EvaluationContext) throws -> Evaluation {
        switch request.operation {
        case .getMore: return try answer(getMore(request, context))
        case .killCursors: return answer(killCursors(request))
        case .statistics: return try answer(statistics(request))
        default: break
        }
        do {
            let collection = try collectionForReading(request)
            let view = ReadView(engine: engine, version: try readVersion(request, context), tip: nil)
            switch request.operation {
            case .find: return try answer(find(request, collection, view, context))
            case .count: return try answer(count(request, collection, view, context))
            case .distinct: return try answer(distinct(request, collection, view, context))
            case .aggregate: return try answer(aggregate(request, collection, view, context))
            case .explain: return try answer(explain(request, collection, view, context))
            case .validate: return try answer(validate(collection, view))
            default: preconditionFailure("\(request.operation) is no read")
            }
        } catch let postponed as Postponed {
            return Evaluation(.again, restsOn: postponed.until)
        }
    }

    private func answer(_ reply: GroupReply) -> Evaluation {
        Evaluation(.answer(.reply(reply)))
    }

    /// The version to read at: nil for the newest.
    ///
    /// - Throws: ``Postponed`` when the promise for the version has to get into the log first, or writes at or below it
    ///   are still under way.
    private func readVersion(_ request: GroupRequest, _ context: EvaluationContext) throws -> Version? {
        guard let wanted = request.readVersion else { return nil }
        guard let evaluator else {
            // A follower promises nothing, but what it has applied is final.
            guard wanted <= engine.lastVersion else {
                throw GroupFailure.unavailable("version \(wanted) is not applied on this replica")
            }
            return wanted
        }
        guard evaluator.clock.observe(wanted, nowMilliseconds: context.nowMilliseconds) else {
            throw QueryError(.badValue, "read version \(wanted) is too far in the future")
        }
        let position = try evaluator.promise(wanted)
        guard position == 0 else { throw Postponed(until: position) }
        return wanted
    }

    func queryContext(_ context: EvaluationContext, variables: Document? = nil) -> QueryContext {
        QueryContext(
            nowMilliseconds: Int64(clamping: context.nowMilliseconds),
            variables: variables.map { $0.map { ($0.name.string, $0.value) } } ?? [],
            randomSeed: context.nowMilliseconds &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(group))
    }

    // MARK: - find

    private func find(
        _ request: GroupRequest, _ collection: CollectionState, _ view: ReadView, _ context: EvaluationContext
    ) throws -> GroupReply {
        let arguments = try FindArguments(request.body)
        if let found = try findByID(arguments, collection, view) { return found }
        let pinned = ReadView(engine: engine, version: view.version ?? engine.lastVersion, tip: nil)
        let stream = try QueryStream(
            view: pinned, collection: collection, arguments: arguments,
            context: queryContext(context, variables: arguments.variables), options: options)
        return try firstBatch(
            of: stream, batchSize: arguments.batchSize, isSingleBatch: arguments.singleBatch,
            collection: collection.id, version: pinned.version ?? engine.lastVersion, context)
    }

    /// The shortest way: nothing but `{_id: value}`. Nil when the request is anything else.
    private func findByID(
        _ arguments: FindArguments, _ collection: CollectionState, _ view: ReadView
    ) throws -> GroupReply? {
        guard arguments.sort == nil, arguments.projection == nil, arguments.skip == 0, arguments.hint == nil,
            arguments.batchSize != 0, let condition = arguments.filter.first, condition.isNamed("_id"),
            condition.bytes.count + 5 == arguments.filter.byteCount
        else { return nil }
        let id = condition.value
        switch id {
        case .objectID, .string, .int32, .int64, .double, .date, .bool, .binary: break
        default: return nil
        }
        let slot = KeySpace.makeRecordKey(collection.id, id: id, in: &keyScratch)
        guard collection.owned.contains(slot), let bytes = try view.get(keyScratch[...]) else {
            return GroupReply(body: exhausted(view))
        }
        return GroupReply(body: exhausted(view), documents: [Document(trusted: bytes)])
    }

    private func exhausted(_ view: ReadView) -> Document {
        cursorBody(0, isExhausted: true, version: view.version ?? engine.lastVersion)
    }

    func cursorBody(_ cursor: Int64, isExhausted: Bool, version: Version) -> Document {
        var body = DocumentBuilder(capacity: 56)
        body.append("cursor", cursor)
        body.append("exhausted", isExhausted)
        body.append("version", Int64(bitPattern: version.rawValue))
        return body.finish()
    }

    // MARK: - Batches

    /// Reads the first batch, and keeps a cursor if there is more.
    func firstBatch(
        of stream: any DocumentStream, batchSize: Int?, isSingleBatch: Bool, collection: CollectionID,
        version: Version, _ context: EvaluationContext
    ) throws -> GroupReply {
        let cursor = OpenCursor(
            collection: collection, version: version, stream: stream, pending: nil,
            lastUsed: context.monotonicMilliseconds)
        let (documents, isExhausted) = try batch(of: cursor, count: batchSize ?? options.firstBatchDocuments)
        var id: Int64 = 0
        if !isExhausted, !isSingleBatch { id = try cursors.add(cursor, engine: engine) }
        return GroupReply(
            body: cursorBody(id, isExhausted: id == 0, version: version), documents: documents)
    }

    private func batch(of cursor: OpenCursor, count: Int) throws -> (documents: [Document], isExhausted: Bool) {
        guard count > 0 else { return ([], false) }
        var documents: [Document] = []
        var bytes = 0
        while let document = try cursor.pending ?? cursor.stream.next() {
            cursor.pending = nil
            documents.append(document)
            bytes += document.byteCount
            if documents.count >= count || bytes >= options.replyBytesMax {
                cursor.pending = try cursor.stream.next()
                return (documents, cursor.pending == nil)
            }
        }
        return (documents, true)
    }

    private func getMore(_ request: GroupRequest, _ context: EvaluationContext) throws -> GroupReply {
        let id = request.body["cursor"]?.int64Exactly ?? 0
        guard let cursor = cursors[id] else {
            throw QueryError(.cursorNotFound, "cursor id \(id) not found")
        }
        if catalog.dropped.contains(cursor.collection) {
            cursors.remove(id, engine: engine)
            throw QueryError(.queryPlanKilled, "collection dropped")
        }
        cursor.lastUsed = context.monotonicMilliseconds
        var count = try request.body["batchSize"].map { try FindArguments.count($0, "batchSize") } ?? Int.max
        if count == 0 { count = Int.max }
        do {
            let (documents, isExhausted) = try batch(of: cursor, count: count)
            if isExhausted { cursors.remove(id, engine: engine) }
            return GroupReply(
                body: cursorBody(isExhausted ? 0 : id, isExhausted: isExhausted, version: cursor.version),
                documents: documents)
        } catch {
            // What was read before the error is lost, so nothing may go on from here.
            cursors.remove(id, engine: engine)
            throw error
        }
    }

    private func killCursors(_ request: GroupRequest) -> GroupReply {
        var killed: [Value] = []
        var unknown: [Value] = []
        for value in request.body["cursors"]?.asArray ?? [] {
            guard let id = value.int64Exactly else { continue }
            if cursors.remove(id, engine: engine) { killed.append(.int64(id)) } else { unknown.append(.int64(id)) }
        }
        return GroupReply(body: ["killed": .array(BSONArray(killed)), "unknown": .array(BSONArray(unknown))])
    }
}
