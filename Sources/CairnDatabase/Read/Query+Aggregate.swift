import CairnBSON
import CairnQuery
import CairnStorage

/// A pipeline over the documents that a plan brings.
final class AggregateStream: DocumentStream {
    private let source: QueryStream
    private let executor: PipelineExecutor

    init(source: QueryStream, pipeline: Pipeline) {
        self.source = source
        executor = pipeline.makeExecutor()
    }

    func next() throws -> Document? {
        while true {
            switch try executor.poll() {
            case .document(let document): return document
            case .finished: return nil
            case .needsInput:
                if let document = try source.next() { executor.feed(document) } else { executor.finishInput() }
            case .needsForeign(let request):
                throw QueryError(
                    .illegalOperation, "this part of a pipeline cannot read the collection '\(request.collection)'")
            }
        }
    }

    func liftLimit() { source.liftLimit() }
}

extension Query {
    func aggregate() throws -> QueryResult {
        let body = request.body
        var batchSize: Int?
        if let given = body["batchSize"] ?? body["cursor"]?.asDocument?["batchSize"] {
            batchSize = try FindArguments.count(given, "batchSize")
        }
        let (source, pipeline) = try aggregateSource(body)
        noteUse(of: source.plan)
        return try firstBatch(
            of: AggregateStream(source: source, pipeline: pipeline), batchSize: batchSize, isSingleBatch: false)
    }

    /// The plan for the leading `$match` and `$sort` of a pipeline, and what of the pipeline is left to run over it.
    func aggregateSource(
        _ body: Document
    ) throws -> sending (source: QueryStream, pipeline: Pipeline) {
        var stages: [Document] = []
        for value in body["pipeline"]?.asArray ?? [] {
            guard let stage = value.asDocument else {
                throw QueryError(.typeMismatch, "Each element of the 'pipeline' array must be an object")
            }
            stages.append(stage)
        }
        let arguments = try FindArguments(body)
        var context = queryContext(arguments.variables)
        context.collation = arguments.collation(in: collection)
        let pipeline = try Pipeline(parsing: stages, context: context, allowsInternal: true)
        try pipeline.checkCollation()
        let leading = try pipeline.leading()
        if pipeline.startsWithDocuments {
            let nothing = Plan(access: .nothing, providesSort: true)
            return (
                QueryStream(view: makeView(), collection: collection, filter: .all, plan: nothing, options: options),
                pipeline
            )
        }
        let plan = try Planner(collection: collection, readVersion: seen, collation: context.collation)
            .plan(leading.filter, sort: leading.sort, hint: arguments.hint)
        let source = QueryStream(
            view: makeView(), collection: collection, filter: leading.filter, plan: plan, options: options)
        return (source, leading.sort != nil && plan.providesSort ? leading.afterSort : leading.afterMatch)
    }
}
