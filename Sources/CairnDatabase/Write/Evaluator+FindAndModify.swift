import CairnBSON
import CairnQuery
import CairnStorage

extension Evaluator {
    func findAndModify(
        _ request: GroupRequest, _ collection: CollectionState, _ context: EvaluationContext
    ) throws -> GroupReply {
        let body = request.body
        let isRemove = body["remove"]?.isTruthy ?? false
        var run = try beginStatements(request, context)
        if let earlier = run.earlierResult(0) {
            return Self.reply(earlier, isRemove: isRemove)
        }

        var queryContext = queryContext(context, of: body)
        let returnsNew = body["new"]?.isTruthy ?? false
        let arguments = try FindArguments(body)
        let collation = arguments.collation(in: collection)
        queryContext.collation = collation
        let sort = try arguments.sort.map { try SortSpecification(parsing: $0, collation: collation) }
        let projection = try arguments.projection.flatMap {
            $0.isEmpty ? nil : try Projection(parsing: $0, context: queryContext)
        }
        if isRemove, body["update"] != nil {
            throw QueryError(.failedToParse, "Cannot specify both an update and remove=true")
        }
        if isRemove, returnsNew {
            throw QueryError(
                .failedToParse,
                "Cannot specify both new=true and remove=true; 'remove' always returns the deleted document")
        }
        if isRemove, body["upsert"]?.isTruthy ?? false {
            throw QueryError(.failedToParse, "Cannot specify both upsert=true and remove=true")
        }
        guard isRemove || body["update"] != nil else {
            throw QueryError(.failedToParse, "Either an update or remove=true must be specified")
        }

        var result = StatementResult(n: 0)
        var image: Document?
        if isRemove {
            let filter = arguments.filter.isEmpty ? .all : try Filter(parsing: arguments.filter, context: queryContext)
            if let found = try firstMatch(
                filter, sort, arguments.hint, collection, collation, record: arguments.record)
            {
                image = try Self.project(found.document, projection, filter)
                try remove(found.document, record: found.key, from: collection)
                result.n = 1
            }
        } else {
            let statement = try UpdateStatement(body, updateName: "update", in: collection, context: queryContext)
            if let found = try firstMatch(
                statement.filter, sort, arguments.hint, collection, collation, record: arguments.record)
            {
                if !returnsNew { image = try Self.project(found.document, projection, statement.filter) }
                // The new document is projected before it is known to be written, so that an error leaves no trace.
                let outcome = try replace(found.document, statement, record: found.key, in: collection) { new throws in
                    if returnsNew { image = try Self.project(new, projection, statement.filter) }
                }
                result.n = 1
                result.nModified = outcome.isModified ? 1 : 0
            } else if statement.isUpsert {
                let inserted = try upsert(statement, into: collection, context)
                result = StatementResult(n: 1, nModified: 0, upserted: inserted["_id"])
                if returnsNew { image = try Self.project(inserted, projection, statement.filter) }
            }
        }
        // A copy: the document may be a slice of a block, and the session keeps it.
        result.image = image?.compacted()
        run.executed(0, result)
        run.flush(into: self)
        if isBatchFull { closeBatch(nowMilliseconds: context.nowMilliseconds) }
        return Self.reply(result, isRemove: isRemove)
    }

    private static func project(_ document: Document, _ projection: Projection?, _ filter: Filter) throws -> Document {
        guard let projection else { return document }
        var index: Int?
        if let path = projection.positionalPath { index = try filter.matchedArrayIndex(in: document, arrayPath: path) }
        return try projection.apply(document, matchedIndex: index)
    }

    private static func reply(_ result: StatementResult, isRemove: Bool) -> GroupReply {
        var body = DocumentBuilder()
        body.appendDocument("lastErrorObject") { inner in
            inner.append("n", result.n)
            if !isRemove {
                inner.append("updatedExisting", result.n > 0 && result.upserted == nil)
                if let id = result.upserted { inner.append("upserted", id) }
            }
        }
        body.append("value", result.image.map { .document($0) } ?? .null)
        return GroupReply(body: body.finish())
    }
}
