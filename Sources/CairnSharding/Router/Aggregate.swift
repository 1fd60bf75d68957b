import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// `aggregate`.
///
/// What can be done group by group is (``Pipeline/split()``): filters, projections, unwinding, partial groups, sorting. The
/// router merges and runs the rest, for which stages like `$lookup` read other collections through this router again.
/// When one group has all the documents and no other collection is asked, the group runs the whole pipeline.
extension Router {
    func aggregate(_ command: ClientCommand) async throws(QueryError) -> Document {
        if command.body.flag("explain") == true {
            return try await explain(
                ClientCommand(
                    name: "explain", database: command.database,
                    body: ["explain": .document(command.body.removing("explain")), "verbosity": "queryPlanner"],
                    deadline: command.deadline))
        }
        let deadline = command.deadline!
        guard let stages = try command.body.list("pipeline")?.documents(of: "pipeline") else {
            throw QueryError(
                .missingRequiredField, "BSON field 'aggregate.pipeline' is missing but a required field")
        }
        guard let cursorOptions = try command.body.nested("cursor") else {
            throw QueryError(
                .failedToParse,
                "The 'cursor' option is required, except for aggregate with the explain argument")
        }
        let given = try command.body.nested("collation")
        var arguments = AggregateArguments(
            stages: stages, variables: try await variables(of: command), hint: command.body["hint"],
            batchSize: try cursorOptions.count("batchSize"), collation: given,
            allowsDiskUse: command.body.flag("allowDiskUse") ?? true)
        let collation = try given.flatMap { (given) throws(QueryError) in try Collation.parse(given) }
        let pipeline = try await parse(arguments, collation, deadline: deadline)
        if pipeline.output != nil { arguments.stages.removeLast() }
        let cursor: RouterCursor
        if case .string(let name)? = command.body[command.name] {
            let namespace = try Namespace(database: command.database, collection: name.string)
            if !pipeline.startsWithDocuments, let view = try await view(namespace, deadline: deadline) {
                guard pipeline.report == nil else {
                    throw QueryError(
                        .commandNotSupportedOnView, "Namespace \(namespace) is a view, not a collection")
                }
                cursor = try await open(arguments, over: view, deadline: deadline)
            } else if let made = try await made(by: pipeline, of: namespace, deadline: deadline) {
                cursor = try self.cursor(
                    over: made, namespace: namespace.description,
                    executor: pipeline.isEmpty ? nil : MergeExecution(pipeline), database: command.database)
            } else {
                cursor = try await open(pipeline, arguments, over: namespace, deadline: deadline)
            }
        } else if let report = pipeline.report {
            cursor = try self.cursor(
                over: try await documents(of: report, inDatabase: command.database),
                namespace: "\(command.database).$cmd.aggregate",
                executor: pipeline.isEmpty ? nil : MergeExecution(pipeline), database: command.database)
        } else {
            guard pipeline.startsWithDocuments else {
                throw QueryError(
                    .invalidNamespace, "{aggregate: 1} is not valid for a pipeline that needs a collection.")
            }
            cursor = try RouterCursor(
                id: cursors.newID(random: random), namespace: "\(command.database).$cmd.aggregate", router: self,
                streams: [], executor: MergeExecution(pipeline), database: command.database)
        }
        if let output = pipeline.output {
            return try await write(cursor, to: output, for: command)
        }
        return try await firstReply(
            cursor, batchSize: firstBatchSize(arguments.batchSize), isSingleBatch: false, deadline: deadline)
    }

    /// Parses what a client sent, which may be long.
    func parse(
        _ arguments: AggregateArguments, _ collation: Collation?, deadline: UInt64
    ) async throws(QueryError) -> Pipeline {
        let stages = arguments.stages
        guard stages.reduce(0, { $0 + $1.byteCount }) > options.argumentBytesAtOnce else {
            return try parse(arguments, stages, collation)
        }
        let context = context(arguments, collation)
        return try await apart(deadline: deadline) { () throws(QueryError) in
            let pipeline = try Pipeline(parsing: stages, context: context)
            try pipeline.checkCollation()
            return pipeline
        }
    }

    private func context(_ arguments: AggregateArguments, _ collation: Collation?) -> QueryContext {
        var context = QueryContext(nowMilliseconds: clock.wallMilliseconds, randomSeed: random())
        context.sortBytesMax = options.stageMemory.sortBytesMax
        context.groupBytesMax = options.stageMemory.groupBytesMax
        context.memoryBytesMax = options.mergeBytesMax
        context.memory = MemoryAccount(bytesMax: options.queryBytesMax, parent: options.queryMemory)
        context.collation = collation
        if arguments.allowsDiskUse { context.spill = spill }
        for variable in arguments.variables ?? Document() {
            context.variables.append((variable.name.string, variable.value))
        }
        return context
    }

    func parse(
        _ arguments: AggregateArguments, _ stages: [Document], _ collation: Collation? = nil, isMerge: Bool = false
    ) throws(QueryError) -> Pipeline {
        let pipeline = try Pipeline(
            parsing: stages, context: context(arguments, collation), allowsInternal: isMerge)
        try pipeline.checkCollation()
        return pipeline
    }

    /// Opens the pipeline on its groups.
    ///
    /// - Parameter name: what clients know the cursor by, if that is not the collection.
    func open(
        _ pipeline: Pipeline, _ arguments: AggregateArguments, over namespace: Namespace, named name: Namespace? = nil,
        deadline: UInt64
    ) async throws(QueryError) -> RouterCursor {
        let given = try arguments.collation.flatMap { (given) throws(QueryError) in try Collation.parse(given) }
        var pipeline = pipeline
        if pipeline.startsWithDocuments {
            return try RouterCursor(
                id: cursors.newID(random: random), namespace: (name ?? namespace).description, router: self,
                streams: [], executor: MergeExecution(pipeline), database: namespace.database)
        }
        var retries = StaleRetries()
        var isFresh = false
        while let descriptor = try await collection(namespace, fresh: isFresh, deadline: deadline) {
            let collation = try descriptor.collation(asGiven: arguments.collation)
            if collation != given { pipeline = try parse(arguments, arguments.stages, collation) }
            let filter = try pipeline.leading().filter.source
            let split = pipeline.split()
            let groups = try await groups(for: filter, in: descriptor, collation, deadline: deadline)
            let isWhole = groups.count == 1 && !pipeline.needsForeignDocuments
            do throws(CommandFailure) {
                let streams = try await openStreams(
                    .aggregate, body: arguments.groupBody(isWhole ? arguments.stages : split.shard, isWhole: isWhole),
                    on: groups, of: descriptor, deadline: deadline)
                return try merge(streams, split, arguments, collation, isWhole: isWhole, name ?? namespace)
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await retries.next(self, deadline: deadline)
                isFresh = true
            }
        }
        // No collection, no documents; what the pipeline makes of none is for the pipeline to say.
        return try RouterCursor(
            id: cursors.newID(random: random), namespace: (name ?? namespace).description, router: self, streams: [],
            executor: MergeExecution(pipeline), database: namespace.database)
    }

    private func merge(
        _ streams: [CursorStream], _ split: Pipeline.Split, _ arguments: AggregateArguments,
        _ collation: Collation?, isWhole: Bool, _ namespace: Namespace
    ) throws(CommandFailure) -> RouterCursor {
        let id = cursors.newID(random: random)
        do throws(QueryError) {
            if isWhole {
                return try RouterCursor(id: id, namespace: namespace.description, router: self, streams: streams)
            }
            let rest = split.sorted?.merge ?? split.merge
            let executor =
                rest.isEmpty
                ? nil : MergeExecution(try parse(arguments, rest, collation, isMerge: true))
            return try RouterCursor(
                id: id, namespace: namespace.description, router: self, streams: streams, order: split.sorted?.by,
                executor: executor, database: namespace.database)
        } catch {
            throw .error(error)
        }
    }

    /// A cursor over what a stage needs of another collection.
    ///
    /// - Parameter depth: how many cursors wait for this one, each for the next.
    func cursor(
        for request: MergeExecution.Question, in database: String, depth: Int, deadline: UInt64
    ) async throws(QueryError) -> RouterCursor {
        // Views can read each other in a circle, see `ViewGraph`.
        guard depth <= Router.foreignDepthMax else {
            throw QueryError(
                .maxSubPipelineDepthExceeded,
                "Maximum number of nested sub-pipelines exceeded. Limit is \(Router.foreignDepthMax)")
        }
        let namespace = try Namespace(database: database, collection: request.collection)
        let arguments = AggregateArguments(
            stages: request.pipeline, variables: request.variables.isEmpty ? nil : request.variables, batchSize: 1000)
        let cursor: RouterCursor
        if let view = try await view(namespace, deadline: deadline) {
            cursor = try await open(arguments, over: view, deadline: deadline)
        } else {
            let pipeline = try await parse(arguments, nil, deadline: deadline)
            cursor = try await open(pipeline, arguments, over: namespace, deadline: deadline)
        }
        cursor.depth = depth
        return cursor
    }

    private static let foreignDepthMax = 20

    /// Everything that a stage needs of another collection.
    func documents(
        for request: MergeExecution.Question, in database: String, depth: Int, deadline: UInt64
    ) async throws(QueryError) -> [Document] {
        let cursor = try await cursor(for: request, in: database, depth: depth, deadline: deadline)
        var documents: [Document] = []
        var bytes = 0
        do throws(QueryError) {
            while !cursor.isFinished {
                let batch = try await cursor.nextBatch(1000, deadline: deadline)
                bytes += batch.reduce(0) { $0 + $1.byteCount }
                guard bytes <= options.mergeBytesMax else {
                    throw QueryError(
                        .queryExceededMemoryLimitNoDiskUseAllowed,
                        "Total size of documents in \(request.collection) that a stage needs exceeds \(options.mergeBytesMax) bytes"
                    )
                }
                documents += batch
                if batch.isEmpty { break }
            }
        } catch {
            closeAtGroups(cursor)
            throw error
        }
        closeAtGroups(cursor)
        return documents
    }
}

/// The arguments of `aggregate`.
struct AggregateArguments {
    var stages: [Document]
    /// Values, no expressions: the groups take them as they are.
    var variables: Document?
    var hint: Value?
    var batchSize: Int64?
    var collation: Document?
    /// As MongoDB's `allowDiskUseByDefault` has it.
    var allowsDiskUse = true

    /// What a group is asked.
    func groupBody(_ stages: [Document], isWhole: Bool) -> Document {
        var builder = DocumentBuilder()
        builder.append("pipeline", .array(BSONArray(stages.map { .document($0) })))
        // Documents on their way into a merge are not what the client counts.
        let size = isWhole ? batchSize ?? 101 : 1000
        builder.append("batchSize", .int32(Int32(clamping: min(size, 10_000))))
        if let hint { builder.append("hint", hint) }
        if let variables { builder.append("let", .document(variables)) }
        if let collation { builder.append("collation", .document(collation)) }
        if !allowsDiskUse { builder.append("allowDiskUse", false) }
        return builder.finish()
    }
}
