import CairnBSON

/// One compiled stage.
indirect enum Stage: Sendable {
    case match(Filter)
    case transform(DocumentTransform)
    case unwind(UnwindSpecification)
    /// Fields and `$$CURRENT` are those of the level at hand; `$$ROOT`, in the slot, stays the whole document.
    case redact(ExpressionProgram, rootSlot: Int)
    case group(GroupSpecification)
    /// `limit`: how many documents at most anyone will ask for, when that is known.
    case sort(SortSpecification, limit: Int?)
    case limit(Int)
    case skip(Int)
    case sample(Int)
    case bucketAuto(BucketAutoSpecification)
    case facet([(name: BSONString, pipeline: Pipeline)])
    case lookup(LookupSpecification)
    case densify(DensifySpecification)
    case windowFields(WindowFieldsSpecification)
    case graphLookup(GraphLookupSpecification)
    case unionWith(collection: String?, pipeline: Pipeline)
    case documents(ExpressionProgram)
    /// Only while a pipeline is parsed: it becomes ``Pipeline/output``.
    case output(PipelineOutput)
    /// Only while a pipeline is parsed: it becomes ``Pipeline/report``.
    case report(PipelineReport)

    var needsForeignDocuments: Bool {
        switch self {
        case .lookup, .graphLookup: true
        case .unionWith(let collection, let pipeline): collection != nil || pipeline.needsForeignDocuments
        case .facet(let facets): facets.contains { $0.pipeline.needsForeignDocuments }
        default: false
        }
    }

    var foreignCollections: Set<String> {
        switch self {
        case .lookup(let lookup): lookup.foreignCollections
        case .graphLookup(let search): [search.collection]
        case .unionWith(let collection, let pipeline):
            pipeline.foreignCollections.union(collection.map { [$0] } ?? [])
        case .facet(let facets): facets.reduce(into: []) { $0.formUnion($1.pipeline.foreignCollections) }
        default: []
        }
    }

    func makeRunner(upstream: StageRunner, context: QueryContext, index: Int) -> StageRunner {
        switch self {
        case .match(let filter): MatchRunner(filter, upstream)
        case .transform(let transform): TransformRunner(transform, upstream)
        case .unwind(let unwind): UnwindRunner(unwind, upstream)
        case .redact(let expression, let slot): RedactRunner(expression, rootSlot: slot, upstream)
        case .group(let group): GroupRunner(group, upstream, context)
        case .sort(let order, let limit): SortRunner(order, limit: limit, upstream, context)
        case .limit(let count): LimitRunner(count, upstream)
        case .skip(let count): SkipRunner(count, upstream)
        case .sample(let count): SampleRunner(count, seed: context.randomSeed &+ UInt64(index), upstream, context)
        case .bucketAuto(let buckets): BucketAutoRunner(buckets, upstream, context)
        case .facet(let facets): FacetRunner(facets, upstream, context)
        case .lookup(let lookup): LookupRunner(lookup, upstream, context)
        case .densify(let densify): DensifyRunner(densify, upstream, context)
        case .windowFields(let fields): WindowRunner(fields, upstream, context)
        case .graphLookup(let search): GraphLookupRunner(search, upstream, context)
        case .unionWith(let collection, let pipeline): UnionRunner(collection, pipeline, upstream)
        case .documents(let expression): DocumentsRunner(expression)
        case .output, .report: preconditionFailure("outputs and reports are no steps of a pipeline")
        }
    }
}

/// What asking a running stage for a document gives.
public enum PipelinePoll {
    case document(Document)
    /// The stage waits for documents of the collection that the pipeline runs over.
    case needsInput
    /// The stage waits for documents of another collection.
    case needsForeign(ForeignRequest)
    case finished
}

/// A question that a stage asks about another collection; whoever runs the pipeline answers with
/// ``fulfil(_:isComplete:)``.
public final class ForeignRequest {
    public let collection: String
    /// What to run there; parses as a client's pipeline.
    public let pipeline: [Document]
    /// The values of the variables that the pipeline may name.
    public let variables: Document
    /// Whether the stage takes the answer in pieces and asks again for the next.
    public let takesPieces: Bool
    private(set) var result: [Document]?
    private(set) var isComplete = false

    init(collection: String, pipeline: [Document], context: QueryContext, takesPieces: Bool = false) {
        self.collection = collection
        self.pipeline = pipeline
        self.takesPieces = takesPieces
        var variables = DocumentBuilder()
        var names: Set<String> = []
        // The binding that was made last hides the others of its name.
        for (name, value) in context.variables.reversed() where names.insert(name).inserted {
            variables.append(name, value)
        }
        self.variables = variables.finish()
    }

    /// Answers.
    ///
    /// - Parameter isComplete: False only where ``takesPieces`` is true and there may be more to come.
    public func fulfil(_ documents: [Document], isComplete: Bool = true) {
        result = documents
        self.isComplete = isComplete
    }

    /// Takes the piece that came, so that the question is open again.
    func takePiece() -> [Document]? {
        defer { result = nil }
        return result
    }
}

/// A running stage: it pulls from the one before it.
class StageRunner {
    func poll() throws(QueryError) -> PipelinePoll { .finished }

    /// What a blocking stage that has used up its memory answers.
    static func memoryExceeded(_ name: String, _ limit: Int) -> QueryError {
        QueryError(
            .queryExceededMemoryLimitNoDiskUseAllowed,
            "Exceeded memory limit for \(name), but didn't allow external spilling; pass allowDiskUse:true to opt in")
    }
}

/// Runs a pipeline over documents that are fed to it.
///
/// Not `Sendable`: it lives on one event loop, or in one task. Without stages that need other collections it never
/// waits for anything but input.
public final class PipelineExecutor {
    private let input: InputRunner
    private let last: StageRunner

    init(_ pipeline: Pipeline) {
        input = InputRunner()
        var runner: StageRunner = input
        for (index, step) in pipeline.steps.enumerated() {
            if case .unwind(let unwind) = step.stage, (runner as? LookupRunner)?.absorb(unwind) == true { continue }
            runner = step.stage.makeRunner(upstream: runner, context: pipeline.context, index: index)
        }
        last = runner
    }

    /// Gives documents of the collection.
    public func feed(_ documents: [Document]) { input.feed(documents) }

    public func feed(_ document: Document) { input.feed(document) }

    /// Says that there are no more.
    public func finishInput() { input.finish() }

    /// The next document, or what is missing for it.
    public func poll() throws(QueryError) -> PipelinePoll { try last.poll() }

    /// The next document of a pipeline that needs no other collections, pulling from `source` (nil is its end).
    public func next(
        from source: () throws(QueryError) -> Document?
    ) throws(QueryError) -> Document? {
        while true {
            switch try last.poll() {
            case .document(let document): return document
            case .finished: return nil
            case .needsInput:
                if let document = try source() { input.feed(document) } else { input.finish() }
            case .needsForeign(let request):
                throw QueryError(
                    .illegalOperation, "this part of a pipeline cannot read the collection '\(request.collection)'")
            }
        }
    }

    /// Runs to the end over documents that are all there.
    public func run(_ documents: some Sequence<Document>) throws(QueryError) -> [Document] {
        var iterator = documents.makeIterator()
        var results: [Document] = []
        while let document = try next(from: { () throws(QueryError) in iterator.next() }) { results.append(document) }
        return results
    }

    /// The next document, waiting for input and other collections as needed. It stays on the caller's executor.
    public func next(
        source: any DocumentSource, foreign: any ForeignDocuments
    ) async throws(QueryError) -> Document? {
        while true {
            switch try last.poll() {
            case .document(let document): return document
            case .finished: return nil
            case .needsInput:
                if let batch = try await source.nextBatch() { input.feed(batch) } else { input.finish() }
            case .needsForeign(let request):
                request.fulfil(try await foreign.documents(for: request))
            }
        }
    }
}

/// Where a pipeline's input comes from when it has to be waited for.
public protocol DocumentSource: AnyObject {
    /// Some more documents (perhaps none yet), or nil at the end.
    func nextBatch() async throws(QueryError) -> [Document]?
}

/// The other collections of the database, for `$lookup`, `$graphLookup` and `$unionWith`.
public protocol ForeignDocuments: AnyObject {
    /// Everything that the request's pipeline gives over its collection.
    func documents(for request: ForeignRequest) async throws(QueryError) -> [Document]
}

/// The bottom of the chain: a queue of fed documents.
final class InputRunner: StageRunner {
    private var queue: [Document] = []
    private var position = 0
    private var isFinished = false

    func feed(_ document: Document) {
        compact()
        queue.append(document)
    }

    func feed(_ documents: [Document]) {
        compact()
        if queue.isEmpty { queue = documents } else { queue += documents }
    }

    private func compact() {
        if position == queue.count && position > 0 {
            queue.removeAll(keepingCapacity: true)
            position = 0
        }
    }

    func finish() { isFinished = true }

    override func poll() throws(QueryError) -> PipelinePoll {
        guard position < queue.count else { return isFinished ? .finished : .needsInput }
        try WorkMeter.count(4)
        position += 1
        return .document(queue[position - 1])
    }
}
