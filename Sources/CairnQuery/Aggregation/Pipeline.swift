import CairnBSON

/// An aggregation pipeline, parsed and checked once.
///
/// Running it is pulling: a ``PipelineExecutor`` asks its last stage, which asks the one before, down to the documents
/// that the caller feeds. Nothing here does I/O; a stage that needs another collection says so and waits.
public struct Pipeline: Sendable {
    /// Stages that a pipeline may have after parsing, as in MongoDB.
    static let stagesMax = 1000
    /// Pipelines inside pipelines.
    static let depthMax = 20

    struct Step: Sendable {
        /// The stage as a document that parses to the same step: what travels to other nodes.
        let source: Document
        let stage: Stage
    }

    let steps: [Step]
    let context: QueryContext
    /// Where the results go instead of to the client; the steps are those in front of it.
    public let output: PipelineOutput?
    /// What the pipeline runs over instead of the collection's documents; the steps are those behind it.
    public let report: PipelineReport?

    /// Every stage that exists here, for error messages and the documentation's table.
    static let stageNames = Set(StageParser.table.keys)

    /// - Parameter allowsInternal: Whether stages that only ``split()`` makes may appear; never for a client's text.
    /// - Throws: code 40324 for an unknown stage, or what MongoDB says about the stage at fault.
    public init(
        parsing stages: [Document], context: QueryContext = QueryContext(), allowsInternal: Bool = false
    ) throws(QueryError) {
        try self.init(parsing: stages, context: context, allowsInternal: allowsInternal, depth: 0)
    }

    init(
        parsing stages: [Document], context: QueryContext, allowsInternal: Bool, depth: Int,
        place: StageParser.Place = .command
    ) throws(QueryError) {
        guard depth <= Self.depthMax else {
            throw QueryError(
                .maxSubPipelineDepthExceeded,
                "Maximum number of nested sub-pipelines exceeded. Limit is \(Self.depthMax)")
        }
        guard stages.count <= Self.stagesMax else {
            throw QueryError(.failedToParse, "Pipeline length must be no longer than \(Self.stagesMax) stages.")
        }
        self.context = context
        var parser = StageParser(context: context, allowsInternal: allowsInternal, depth: depth, place: place)
        var steps: [Step] = []
        var output: PipelineOutput?
        var report: PipelineReport?
        for stage in stages {
            guard let element = stage.first, stage.count == 1 else {
                throw QueryError(
                    .malformedStage, "A pipeline stage specification object must contain exactly one field.")
            }
            let name = element.name.string
            guard let parse = StageParser.table[name], allowsInternal || !name.hasPrefix("$_internal") else {
                throw QueryError(.unrecognizedStage, "Unrecognized pipeline stage name: '\(name)'")
            }
            if let output {
                throw QueryError(
                    ErrorCode(40601), "\(output.stageName) can only be the final stage in the pipeline")
            }
            let parsed = try parse(&parser, element.value, name)
            if case .output(let written)? = parsed.last?.stage {
                if let refusal = parser.refusal(ofWriting: name) { throw refusal }
                output = written
                continue
            }
            switch parsed.first?.stage {
            case .documents, .report:
                guard steps.isEmpty, report == nil else {
                    throw QueryError(ErrorCode(40602), "\(name) is only valid as the first stage in a pipeline.")
                }
            default: break
            }
            if case .report(let wanted)? = parsed.first?.stage {
                guard place == .command else {
                    throw QueryError(.notImplemented, "\(name) inside of another stage is not supported")
                }
                report = wanted
                continue
            }
            steps += parsed
        }
        self.steps = Self.optimized(steps)
        self.output = output
        self.report = report
    }

    init(steps: [Step], context: QueryContext) {
        self.steps = steps
        self.context = context
        output = nil
        report = nil
    }

    /// The stages as documents that parse to this pipeline, without its ``output``.
    public var source: [Document] { steps.map(\.source) }

    public var isEmpty: Bool { steps.isEmpty }

    /// True when the pipeline makes its own documents and reads no collection.
    public var startsWithDocuments: Bool {
        if case .documents? = steps.first?.stage { return true }
        return false
    }

    /// True when a stage needs documents of other collections, so that only an executor that is given
    /// ``ForeignDocuments`` can run it.
    public var needsForeignDocuments: Bool { steps.contains { $0.stage.needsForeignDocuments } }

    /// The other collections that the pipeline reads.
    public var foreignCollections: Set<String> {
        steps.reduce(into: []) { $0.formUnion($1.stage.foreignCollections) }
    }

    /// A running instance. It belongs to whoever made it and is used from one place at a time.
    public func makeExecutor() -> PipelineExecutor { PipelineExecutor(self) }

    // MARK: Optimizing

    /// Puts filters before sorts and tells sorts how many documents will be wanted.
    private static func optimized(_ steps: [Step]) -> [Step] {
        var steps = steps
        var index = 1
        while index < steps.count {
            if case .match = steps[index].stage, case .sort = steps[index - 1].stage {
                steps.swapAt(index, index - 1)
                index = max(1, index - 1)
            } else {
                index += 1
            }
        }
        for index in steps.indices {
            guard case .sort(let order, nil) = steps[index].stage else { continue }
            var skipped = 0
            scan: for next in steps[(index + 1)...] {
                switch next.stage {
                case .skip(let count): skipped = min(skipped + count, 1 << 40)
                case .limit(let count):
                    steps[index] = Step(
                        source: steps[index].source, stage: .sort(order, limit: min(count, 1 << 40) + skipped))
                    break scan
                case .transform: continue
                default: break scan
                }
            }
        }
        return steps
    }

    // MARK: What a planner can use

    /// The beginning of a pipeline that a query plan can take over.
    public struct Leading: Sendable {
        /// All leading `$match` stages as one filter; ``Filter/all`` without any.
        public let filter: Filter
        /// The `$sort` right after them.
        public let sort: SortSpecification?
        /// How many documents are wanted at most, when a `$limit` follows (after `$skip` counts added).
        public let limit: Int?
        /// The pipeline without the leading `$match` stages.
        public let afterMatch: Pipeline
        /// The pipeline without the `$match` stages and the `$sort`, for a plan that delivers in that order.
        public let afterSort: Pipeline
    }

    public func leading() throws(QueryError) -> Leading {
        var documents: [Document] = []
        var filters: [Filter] = []
        for step in steps {
            guard case .match(let filter) = step.stage else { break }
            documents.append(filter.source)
            filters.append(filter)
        }
        let rest = Array(steps.dropFirst(filters.count))
        let filter: Filter
        switch filters.count {
        case 0: filter = .all
        case 1: filter = filters[0]
        default:
            filter = try Filter(
                parsing: ["$and": .array(BSONArray(documents.map(Value.document)))], context: context)
        }
        var sort: SortSpecification?
        var limit: Int?
        var sorted = rest
        if case .sort(let order, let most)? = rest.first?.stage {
            sort = order
            limit = most
            sorted = Array(rest.dropFirst())
        } else {
            var skipped = 0
            scan: for step in rest {
                switch step.stage {
                case .skip(let count): skipped = min(skipped + count, 1 << 40)
                case .limit(let count):
                    limit = min(count, 1 << 40) + skipped
                    break scan
                case .transform: continue
                default: break scan
                }
            }
        }
        return Leading(
            filter: filter, sort: sort, limit: limit, afterMatch: Pipeline(steps: rest, context: context),
            afterSort: Pipeline(steps: sorted, context: context))
    }
}
