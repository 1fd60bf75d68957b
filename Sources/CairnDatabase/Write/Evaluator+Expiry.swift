import CairnBSON
import CairnQuery
import CairnStorage

/// One bounded step of deleting the documents whose time is over, as an index says.
///
/// The index's entries are in the order of dates, so what is past lies together at one end: a step costs as much as it
/// deletes. Of an array each date has an entry, so the earliest decides. What is no date lies elsewhere and stays.
struct Expiry {
    let collection: CollectionState
    let index: IndexState
    let beforeMilliseconds: Int64
    let documentsMax: Int

    /// - Returns: nil when the index is not there, is not filled yet or deletes nothing.
    init?(_ request: GroupRequest, in collection: CollectionState) throws {
        guard let number = request.body["index"]?.int64Exactly.flatMap({ UInt16(exactly: $0) }),
            case .date(let before)? = request.body["before"]
        else { throw QueryError(.failedToParse, "expireDocuments needs an index and a date") }
        guard let index = collection.index(IndexID(number)), index.isReady,
            index.descriptor.expireAfterSeconds != nil, index.paths.count == 1, index.extractor.wildcard == nil,
            index.extractor.hashedField == nil
        else { return nil }
        self.collection = collection
        self.index = index
        beforeMilliseconds = before
        documentsMax = min(max(request.body["limit"]?.intExactly ?? 1_000, 1), 100_000)
    }

    /// The documents that are to go in this step, and whether there are more.
    func records(
        _ view: ReadView, bytesMax: Int
    ) throws -> (records: [(key: [UInt8], document: Document)], hasMore: Bool) {
        let past: Document = [index.paths[0]: ["$lte": .date(milliseconds: beforeMilliseconds)]]
        let bounds = IndexBounds(index, try Filter(parsing: past))
        let source = RecordSource(
            view: view, collection: collection, access: .index(index, bounds, descending: index.descending[0]))
        var records: [(key: [UInt8], document: Document)] = []
        var bytes = 0
        while try source.next() {
            if records.count == documentsMax || bytes >= bytesMax { return (records, true) }
            records.append((source.key, source.document))
            bytes += source.document.byteCount
        }
        return (records, false)
    }
}

extension Evaluator {
    /// Deletes as a client's deletion would, with all entries, in as many log entries as one request may have.
    func expireDocuments(
        _ request: GroupRequest, _ collection: CollectionState, _ context: EvaluationContext
    ) throws -> GroupReply {
        guard let expiry = try Expiry(request, in: collection) else {
            return GroupReply(body: ["n": 0, "more": false])
        }
        // All are read before the first goes: a read that needs the disk puts the request aside while nothing is written.
        let (records, hasMore) = try expiry.records(view, bytesMax: options.proposalBytesMax)
        for (key, document) in records { try remove(document, record: key, from: collection) }
        if isBatchFull { closeBatch(nowMilliseconds: context.nowMilliseconds) }
        return GroupReply(body: ["n": .int32(Int32(records.count)), "more": .bool(hasMore)])
    }
}

extension GroupDatabase {
    /// The indexes of the applied state that delete documents, with the collection's epoch.
    public var expiringIndexes: [(collection: CollectionID, epoch: UInt64, index: IndexID, afterSeconds: Int64)] {
        catalog.collections.values.flatMap { collection in
            collection.indexes.compactMap { index in
                guard let seconds = index.descriptor.expireAfterSeconds, index.isReady, !collection.owned.isEmpty else {
                    return nil
                }
                return (collection.id, collection.epoch, index.id, seconds)
            }
        }.sorted { ($0.0, $0.2) < ($1.0, $1.2) }
    }
}
