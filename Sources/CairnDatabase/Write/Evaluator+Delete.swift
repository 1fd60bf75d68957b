import CairnBSON
import CairnQuery
import CairnStorage

extension Evaluator {
    func delete(
        _ request: GroupRequest, _ collection: CollectionState, _ context: EvaluationContext
    ) throws -> GroupReply {
        var run = try beginStatements(request, context)
        try lookAhead(request.documents, in: collection)
        var queryContext = queryContext(context, of: request.body)
        for (index, document) in request.documents.enumerated() {
            if run.isStopped { break }
            if let earlier = run.earlierResult(index) {
                run.count(index, earlier)
                continue
            }
            try statement(index, of: &run, context) { run throws in
                var withoutLimit = try FindArguments(document.removing("limit"))
                withoutLimit.limit = 0
                queryContext.collation = withoutLimit.collation(in: collection)
                let filter =
                    withoutLimit.filter.isEmpty ? .all : try Filter(parsing: withoutLimit.filter, context: queryContext)
                let limit = document["limit"]?.int64Exactly ?? 0
                guard limit == 0 || limit == 1 else {
                    throw QueryError(
                        .failedToParse, "The limit field in delete objects must be 0 or 1. Got \(limit)")
                }
                var n: Int32 = 0
                if limit == 1 {
                    if let found = try firstMatch(
                        filter, nil, withoutLimit.hint, collection, queryContext.collation,
                        record: withoutLimit.record)
                    {
                        try remove(found.document, record: found.key, from: collection)
                        n = 1
                    }
                } else {
                    for key in try matchingKeys(
                        filter, withoutLimit.hint, collection, queryContext.collation)
                    {
                        guard let bytes = try view.get(key[...]) else { continue }
                        try remove(Document(trusted: bytes), record: key, from: collection)
                        n += 1
                        if isBatchFull { closeBatch(nowMilliseconds: context.nowMilliseconds) }
                    }
                }
                let result = StatementResult(n: n)
                run.count(index, result)
                run.executed(index, result)
            }
        }
        run.flush(into: self)
        return run.reply(counts: false)
    }

    /// Deletes a document and its index entries.
    func remove(_ document: Document, record: [UInt8], from collection: CollectionState) throws {
        let place = try place(of: record, in: collection)
        if collection.indexes.isEmpty {
            delete(record)
        } else {
            let changes = try indexChanges(collection, record: record, old: document, new: nil)
            try write(collection, record: record, document: nil, changes)
        }
        if let place { forget(document, record: record, at: place, of: collection) }
    }
}
