import CairnBSON
import CairnQuery
import CairnStorage

extension Query {
    func find() throws -> QueryResult {
        let arguments = try FindArguments(request.body)
        if let place = request.body["tail"]?.asDocument { return .reply(try tail(arguments, place)) }
        let stream = try QueryStream(
            view: makeView(), collection: collection, arguments: arguments,
            context: queryContext(arguments.variables), options: options)
        noteUse(of: stream.plan)
        return try firstBatch(of: stream, batchSize: arguments.batchSize, isSingleBatch: arguments.singleBatch)
    }

    /// Reads the first batch, and makes a cursor if there is more.
    func firstBatch(
        of stream: sending any DocumentStream, batchSize: Int?, isSingleBatch: Bool
    ) throws -> QueryResult {
        let cursor = OpenCursor(
            collection: collection.id, version: seen, bytesMax: options.replyBytesMax, isLong: isLong,
            interruption: interruption,
            stream: stream)
        let (documents, isExhausted) = try cursor.batch(count: batchSize ?? options.firstBatchDocuments)
        if isExhausted || isSingleBatch { return .firstBatch(documents, nil, version: cursor.version) }
        if documentsMax != nil { cursor.liftLimit() }
        return .firstBatch(documents, cursor, version: cursor.version)
    }
}
