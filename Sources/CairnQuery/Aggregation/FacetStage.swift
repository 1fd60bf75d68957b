import CairnBSON

/// `$facet`: several pipelines over the same documents, their results as arrays of one document.
final class FacetRunner: StageRunner {
    private let names: [BSONString]
    private let executors: [PipelineExecutor]
    private var isFinished: [Bool]
    private var results: [ArrayBuilder]
    private let upstream: StageRunner
    private let bytesMax: Int
    /// Bytes of all results together, which are to become one document.
    private var resultBytes = 0
    /// The facets from here on have not seen what was fed last.
    private var current = 0
    private var inputEnded = false
    private var isDone = false

    init(_ facets: [(name: BSONString, pipeline: Pipeline)], _ upstream: StageRunner, _ context: QueryContext) {
        names = facets.map(\.name)
        executors = facets.map { $0.pipeline.makeExecutor() }
        isFinished = facets.map { _ in false }
        results = facets.map { _ in ArrayBuilder() }
        self.upstream = upstream
        bytesMax = context.memoryBytesMax
        current = facets.count
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        guard !isDone else { return .finished }
        while true {
            while current < executors.count {
                switch isFinished[current] ? .finished : try executors[current].poll() {
                case .document(let document):
                    results[current].append(document)
                    resultBytes += document.byteCount
                    if resultBytes > bytesMax { throw Self.memoryExceeded("$facet", bytesMax) }
                case .needsForeign(let request): return .needsForeign(request)
                case .needsInput: current += 1
                case .finished:
                    isFinished[current] = true
                    current += 1
                }
            }
            if inputEnded {
                isDone = true
                var builder = DocumentBuilder()
                for index in names.indices { builder.append(names[index], .array(results[index].finish())) }
                let document = builder.finish()
                guard document.byteCount <= Update.documentBytesMax else {
                    throw QueryError(
                        .bsonObjectTooLarge, "the document that $facet makes exceeds \(Update.documentBytesMax) bytes")
                }
                return .document(document)
            }
            switch try upstream.poll() {
            case .document(let document):
                try WorkMeter.count(executors.count)
                for index in executors.indices where !isFinished[index] { executors[index].feed(document) }
            case .finished:
                inputEnded = true
                for executor in executors { executor.finishInput() }
            case let waiting: return waiting
            }
            current = 0
        }
    }
}
