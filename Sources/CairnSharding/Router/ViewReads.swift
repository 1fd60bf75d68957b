import CairnBSON
import CairnDatabase
import CairnQuery

/// Reads of views: each becomes a pipeline behind the view's own, over the collection below.
extension Router {
    func find(_ query: FindArguments, over view: ResolvedView, deadline: UInt64) async throws(QueryError) -> Document {
        if let option = query.collectionOnlyOption {
            throw QueryError(.invalidPipelineOperator, "Option \(option) not supported in aggregation.")
        }
        var arguments = AggregateArguments(
            stages: try query.stages(), variables: query.variables, hint: query.hint, batchSize: query.batchSize,
            collation: query.collation, allowsDiskUse: query.allowsDiskUse ?? true)
        if let natural = query.sort?["$natural"] { arguments.hint = .document(["$natural": natural]) }
        let cursor = try await open(arguments, over: view, deadline: deadline)
        return try await firstReply(
            cursor, batchSize: firstBatchSize(query.batchSize), isSingleBatch: query.isSingleBatch, deadline: deadline)
    }

    func count(_ command: ClientCommand, over view: ResolvedView) async throws(QueryError) -> Document {
        var query = FindArguments(filter: try command.body.nested("query") ?? Document())
        query.skip = try command.body.count("skip") ?? 0
        let limit = try command.body.integer("limit") ?? 0
        query.limit = limit == .min ? .max : abs(limit)
        let arguments = AggregateArguments(
            stages: try query.stages() + [["$count": "n"]], hint: command.body["hint"],
            collation: try command.body.nested("collation"))
        let cursor = try await open(arguments, over: view, deadline: command.deadline!)
        let found = try await firstBatch(of: cursor, deadline: command.deadline!)
        return ["n": Router.number(try found.first?.integer("n") ?? 0), "ok": 1.0]
    }

    func distinct(_ key: String, _ command: ClientCommand, over view: ResolvedView) async throws(QueryError) -> Document
    {
        let query = FindArguments(filter: try command.body.nested("query") ?? Document())
        let arguments = AggregateArguments(
            stages: try query.stages(), hint: command.body["hint"], collation: try command.body.nested("collation"))
        let collation = try Collation.parse(view.collation)
        let cursor = try await open(arguments, over: view, deadline: command.deadline!)
        var distinct = try Distinct(path: key, collation: collation)
        do throws(QueryError) {
            while !cursor.isFinished {
                let batch = try await cursor.nextBatch(1000, deadline: command.deadline!)
                if batch.isEmpty { break }
                for document in batch { try distinct.add(document) }
            }
        } catch {
            closeAtGroups(cursor)
            throw error
        }
        let sorted = distinct.values.sorted {
            Value.compare(collation?.folded($0) ?? $0, collation?.folded($1) ?? $1) < 0
        }
        return ["values": .array(BSONArray(sorted)), "ok": 1.0]
    }

    /// `explain` of a read of a view: that of the pipeline which it becomes.
    func explain(
        _ inner: Document, over view: ResolvedView, verbosity: String, deadline: UInt64
    ) async throws(QueryError) -> Document {
        let stages: [Document]
        switch inner.first!.name.string {
        case "find": stages = try FindArguments(inner).stages()
        case "aggregate": stages = try inner.list("pipeline")?.documents(of: "pipeline") ?? []
        case "count":
            stages =
                try FindArguments(filter: try inner.nested("query") ?? Document()).stages() + [["$count": "n"]]
        case "distinct": stages = try FindArguments(filter: try inner.nested("query") ?? Document()).stages()
        default:
            throw QueryError(.commandNotSupportedOnView, "Namespace \(view.namespace) is a view, not a collection")
        }
        try view.checkCollation(try inner.nested("collation"))
        var aggregate: Document = [
            "aggregate": .string(BSONString(view.collection.collection)),
            "pipeline": .array(BSONArray((view.pipeline + stages).map { .document($0) })), "cursor": [:],
            "collation": .document(view.collation),
        ]
        for name in ["hint", "let"] { if let value = inner[name] { aggregate.set(name, value) } }
        return try await explain(
            ClientCommand(
                name: "explain", database: view.collection.database,
                body: ["explain": .document(aggregate), "verbosity": .string(BSONString(verbosity))],
                deadline: deadline))
    }

    /// Opens a pipeline behind that of a view.
    func open(
        _ arguments: AggregateArguments, over view: ResolvedView, deadline: UInt64
    ) async throws(QueryError) -> RouterCursor {
        try view.checkCollation(arguments.collation)
        var arguments = arguments
        arguments.stages = view.pipeline + arguments.stages
        arguments.collation = view.collation
        let pipeline = try await parse(arguments, try Collation.parse(view.collation), deadline: deadline)
        guard view.collection.collection != ResolvedView.systemViews else {
            return try cursor(
                over: try await viewDocuments(of: view.collection.database, deadline: deadline),
                namespace: view.namespace.description, executor: pipeline.isEmpty ? nil : MergeExecution(pipeline),
                database: view.collection.database)
        }
        return try await open(
            pipeline, arguments, over: view.collection, named: view.namespace, deadline: deadline)
    }

    private func firstBatch(of cursor: RouterCursor, deadline: UInt64) async throws(QueryError) -> [Document] {
        do throws(QueryError) {
            let batch = try await cursor.nextBatch(1, deadline: deadline)
            closeAtGroups(cursor)
            return batch
        } catch {
            closeAtGroups(cursor)
            throw error
        }
    }
}

extension FindArguments {
    /// All documents that match.
    init(filter: Document) {
        self.filter = filter
        skip = 0
        limit = 0
        isSingleBatch = false
    }

    /// The stages of a pipeline that gives what the query asks for.
    func stages() throws(QueryError) -> [Document] {
        var stages: [Document] = []
        if !filter.isEmpty { stages.append(["$match": .document(filter)]) }
        if let sort, sort["$natural"] == nil { stages.append(["$sort": .document(sort)]) }
        if skip > 0 { stages.append(["$skip": .int64(skip)]) }
        if limit > 0 { stages.append(["$limit": .int64(limit)]) }
        if let projection {
            for element in projection {
                let name = element.name.string
                let isOperator =
                    name.hasSuffix(".$") || element.value.asDocument?["$elemMatch"] != nil
                    || element.value.asDocument?["$slice"]?.isNumber == true
                guard !isOperator else {
                    throw QueryError(
                        ErrorCode(31324),
                        "Cannot use positional projection, $elemMatch or $slice in an aggregation: \(name)")
                }
            }
            stages.append(["$project": .document(projection)])
        }
        return stages
    }
}
