import CairnBSON
import CairnQuery

extension Query {
    /// What of a capped collection comes behind a place in its order: how a tailable cursor reads.
    ///
    /// The group keeps nothing between two such reads, so that the cursor outlives its leader.
    func tail(_ arguments: FindArguments, _ place: Document) throws -> GroupReply {
        guard collection.cappedLimits != nil else {
            throw QueryError(
                .badValue, "error processing query: tailable cursor requested on non capped collection")
        }
        let view = makeView()
        let state = try view.cappedState(collection.id)
        var position: UInt64 = 0
        if let after = place["after"]?.int64Exactly, after > 0 {
            position = UInt64(after)
            guard try view.get(CappedOrder.orderKey(collection.id, position)[...]) != nil else {
                throw QueryError(
                    .cappedPositionLost,
                    "CollectionScan died due to position in capped collection being deleted. Last seen record id: "
                        + "RecordId(\(position))")
            }
        }
        var context = queryContext(arguments.variables)
        context.collation = arguments.collation(in: collection)
        let filter = arguments.filter.isEmpty ? .all : try Filter(parsing: arguments.filter, context: context)
        let projection = try arguments.projection.flatMap {
            $0.isEmpty ? nil : try Projection(parsing: $0, context: context)
        }
        let source = RecordSource(view: view, collection: collection, access: .tail(after: position))
        let wanted = min(
            arguments.batchSize.flatMap { $0 == 0 ? nil : $0 } ?? .max, arguments.limit == 0 ? .max : arguments.limit)
        var documents: [Document] = []
        var bytes = 0
        var skipped = 0
        while documents.count < wanted, bytes < options.replyBytesMax, try source.next() {
            position = source.sequence
            guard try filter.isAlwaysTrue || filter.matches(source.document) else { continue }
            if skipped < arguments.skip {
                skipped += 1
                continue
            }
            let document = try project(source.document, projection, filter)
            documents.append(document.compacted())
            bytes += document.byteCount
        }
        return GroupReply(
            body: [
                "position": .int64(Int64(position)), "skipped": .int64(Int64(skipped)),
                "count": .int64(Int64(state.count)), "next": .int64(Int64(state.next)),
            ], documents: documents)
    }

    private func project(_ document: Document, _ projection: Projection?, _ filter: Filter) throws -> Document {
        guard let projection else { return document }
        var index: Int?
        if let path = projection.positionalPath { index = try filter.matchedArrayIndex(in: document, arrayPath: path) }
        return try projection.apply(document, matchedIndex: index)
    }

    /// Compares the order of a capped collection with its documents: how many lack a place, and how many places are no
    /// document's or miscounted.
    func checkOrder(_ view: ReadView) throws -> (missing: Int64, extra: Int64) {
        let prefix = CappedOrder.orderPrefix(collection.id)
        let state = try view.cappedState(collection.id)
        var extra: Int64 = 0
        var found = CappedOrder.State()
        let cursor = try view.range(lower: prefix[...], upper: (ByteOrder.successor(ofPrefix: prefix) ?? [])[...])
        while try cursor.next() {
            let entry = try CappedOrder.Entry(decoding: cursor.value)
            let record = entry.recordKey(collection.id)
            let sequence = CappedOrder.sequence(ofOrder: cursor.key)
            let size = try view.get(record[...]).map { $0.count }
            let place = try view.get(CappedOrder.placeKey(collection.id, record: record[...])[...])
                .flatMap(SystemKey.number)
            guard size == Int(entry.size), place == sequence, sequence >= state.first, sequence < state.next else {
                extra += 1
                continue
            }
            found.count += 1
            found.bytes += UInt64(entry.size)
        }
        var records: Int64 = 0
        let lower = KeySpace.prefix(collection.id, .records)
        let documents = try view.range(lower: lower[...], upper: KeySpace.prefix(collection.id, IndexID(1))[...])
        while try documents.next() { records += 1 }
        if found.count != state.count || found.bytes != state.bytes { extra += 1 }
        return (max(0, records - Int64(found.count)), extra)
    }
}

extension GroupDatabase {
    /// The sequence that the next document of a capped collection gets; nil when it is not in memory.
    package func cappedNext(_ collection: CollectionID) -> UInt64? {
        guard case .value(let value)? = try? engine.getCached(CappedOrder.stateKey(collection)[...], at: nil) else {
            return nil
        }
        guard let value else { return 1 }
        return try? CappedOrder.State(decoding: value).next
    }
}
