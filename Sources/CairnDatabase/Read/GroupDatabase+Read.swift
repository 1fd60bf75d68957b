import CairnBSON
import CairnQuery
import CairnStorage

// Reads see the applied state, at the version that it has when they begin or at one that the request names.
extension GroupDatabase {
    /// - Parameter mode: with `cacheOnly`, what memory cannot answer soon is deferred.
    func read(_ request: GroupRequest, _ context: EvaluationContext, _ mode: ReadMode) throws -> Evaluation {
        switch request.operation {
        case .getMore: return try getMore(request, context, mode)
        case .killCursors: return answer(killCursors(request))
        case .members: throw QueryError(.illegalOperation, "the database does not know who its replicas are")
        case .interrupt: throw QueryError(.illegalOperation, "the database does not know what is under way")
        case .statistics where catalog[request.collection] == nil: return answer(try statisticsOfNothing(request))
        default: break
        }
        do {
            let isStatistics = request.operation == .statistics
            let collection =
                isStatistics ? catalog[request.collection]! : try collectionForReading(request)
            let version = try readVersion(request, context)
            if request.operation == .find, let reply = try findByID(request, collection, version, context, mode) {
                return answer(reply)
            }
            var query = Query(
                engine: engine, group: group, options: options, collection: collection, request: request,
                context: context, version: version)
            if version == nil, request.body["settled"] != nil {
                query.settled = evaluator?.settledVersion(nowMilliseconds: context.nowMilliseconds)
            }
            if mode == .any { return answer(try reply(to: query, with: query.run())) }
            let isTriedFirst =
                !request.operation.scansEverything && request.body.byteCount <= options.argumentBytesAtOnce
            if isTriedFirst, let found = try inMemory(query) {
                return answer(try reply(to: query, with: found))
            }
            let pinned = version ?? engine.lastVersion
            try engine.retain(pinned)
            query.version = pinned
            query.isRepeated = isTriedFirst
            return Evaluation(.deferred(DeferredRead(.query(query), stepsMax: options.stepsOfShortReads)))
        } catch let postponed as Postponed {
            return Evaluation(.again, restsOn: postponed.until)
        }
    }

    private func answer(_ reply: GroupReply) -> Evaluation {
        Evaluation(.answer(.reply(reply)))
    }

    /// What the query finds in memory, among few documents and with few steps; nil when that is not enough.
    private func inMemory(_ query: Query) throws -> QueryResult? {
        let meter = WorkMeter(steps: options.stepsAtOnce)
        do {
            var limited = query
            limited.documentsMax = options.documentsReadAtOnce
            let found = try meter.run { () throws in try limited.run() }
            return meter.isSpent ? nil : found
        } catch  where meter.isSpent || ReadLimit.isReached(error) {
            return nil
        }
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

    /// The shortest way: nothing but `{_id: value}`. Nil when the request is anything else, or the mode does not allow an
    /// answer.
    private func findByID(
        _ request: GroupRequest, _ collection: CollectionState, _ version: Version?, _ context: EvaluationContext,
        _ mode: ReadMode
    ) throws -> GroupReply? {
        let arguments = try FindArguments(request.body)
        guard arguments.sort == nil, arguments.projection == nil, arguments.skip == 0, arguments.hint == nil,
            arguments.batchSize != 0, request.body["tail"] == nil, !arguments.returnsKey,
            !arguments.showsRecordID, let condition = arguments.filter.first, condition.isNamed("_id"),
            condition.bytes.count + 5 == arguments.filter.byteCount
        else { return nil }
        let id = condition.value
        // Under a collation a string means all that are equal to it.
        guard KeySpace.isPlainID(id), id.asString == nil || arguments.collation(in: collection) == nil else {
            return nil
        }
        let slot = KeySpace.makeRecordKey(collection.id, id: id, in: &keyScratch)
        let body = cursorBody(0, version: version ?? engine.lastVersion)
        guard collection.owned.contains(slot) else { return GroupReply(body: body) }
        let bytes: ArraySlice<UInt8>?
        if mode == .any {
            bytes = try engine.get(keyScratch[...], at: version)
        } else {
            guard case .value(let found) = try engine.getCached(keyScratch[...], at: version) else { return nil }
            bytes = found
        }
        collection.idUse.note(now: context.nowMilliseconds)
        return GroupReply(body: body, documents: bytes.map { [Document(trusted: $0)] } ?? [])
    }

    /// - Parameters:
    ///   - cursor: 0 for none.
    ///   - settled: until which version the answer is the same, for a router that asked.
    private func cursorBody(_ cursor: Int64, version: Version, settled: Version? = nil) -> Document {
        var body = DocumentBuilder(capacity: 80)
        body.append("cursor", cursor)
        body.append("exhausted", cursor == 0)
        body.append("version", Int64(bitPattern: version.rawValue))
        if let settled { body.append("settled", Int64(bitPattern: settled.rawValue)) }
        return body.finish()
    }

    /// Turns what a query found into its answer, and takes its cursor in.
    private func reply(to query: Query, with result: QueryResult) throws -> GroupReply {
        switch result {
        case .reply(let reply): return reply
        case .firstBatch(let documents, let cursor, let version):
            var id: Int64 = 0
            if let cursor {
                id = try cursors.add(cursor, now: query.context.monotonicMilliseconds, engine: engine)
            }
            return GroupReply(
                body: cursorBody(id, version: version, settled: query.settled), documents: documents)
        }
    }

    private func statisticsOfNothing(_ request: GroupRequest) throws -> GroupReply {
        if catalog.dropped.contains(request.collection) { throw GroupFailure.droppedCollection }
        return GroupReply(body: [
            "count": .int64(0), "size": .int64(0), "avgObjSize": .int64(0), "storageSize": .int64(0),
            "totalIndexSize": .int64(0), "indexes": [],
        ])
    }

    // MARK: - Cursors

    private func getMore(
        _ request: GroupRequest, _ context: EvaluationContext, _ mode: ReadMode
    ) throws -> Evaluation {
        let id = request.body["cursor"]?.int64Exactly ?? 0
        guard let cursor = cursors.use(id, now: context.monotonicMilliseconds) else {
            throw QueryError(.cursorNotFound, "cursor id \(id) not found")
        }
        if catalog.dropped.contains(cursor.collection) {
            cursors.remove(id, engine: engine)
            throw QueryError(.queryPlanKilled, "collection dropped")
        }
        var count = try request.body["batchSize"].map { try FindArguments.count($0, "batchSize") } ?? Int.max
        if count == 0 { count = Int.max }
        let read = DeferredRead(.more(cursor, id: id, count: count), isLong: cursor.isLong)
        guard mode == .any else { return Evaluation(.deferred(read)) }
        return Evaluation(.answer(conclude(read.run(), context)!))
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

    // MARK: - Deferred reads

    /// Lets go of a deferred read that will not be run.
    public func abandon(_ read: DeferredRead) {
        if case .query(let query) = read.work { query.engine.release(query.version!) }
    }

    /// Turns what came of a deferred read into the answer to its request. To be called exactly once for each that was run.
    ///
    /// - Returns: nil when the read only prepared a write: evaluate the request again then, in mode `any`.
    public func conclude(_ outcome: DeferredRead.Outcome, _ context: EvaluationContext) -> GroupAnswer? {
        if let damage = outcome.damage { note(damage) }
        do {
            switch outcome.found {
            case .preparation(let refusal):
                guard let refusal else { return nil }
                throw refusal
            case .unfinished: preconditionFailure("a read that goes on elsewhere has no answer yet")
            case .query(let query, let result):
                defer { query.engine.release(query.version!) }
                let found = try result.get()
                guard query.engine === engine else {
                    throw GroupFailure.unavailable("the replica took a snapshot while it was read")
                }
                return .reply(try reply(to: query, with: found))
            case .more(let cursor, let id, let result):
                let (documents, isExhausted) = try result.get()
                if isExhausted { cursors.remove(id, engine: engine) }
                return .reply(
                    GroupReply(
                        body: cursorBody(isExhausted ? 0 : id, version: cursor.version), documents: documents))
            }
        } catch {
            // What was read before the error is lost, so nothing may go on from here.
            if case .more(_, let id, _) = outcome.found { cursors.remove(id, engine: engine) }
            return .failure(GroupFailure(wrapping: error))
        }
    }
}
