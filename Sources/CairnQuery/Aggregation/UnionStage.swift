import CairnBSON

/// `$unionWith`: the documents of another pipeline after those of this one.
///
/// It holds one piece of the other side at a time.
final class UnionRunner: StageRunner {
    private let collection: String?
    private let pipeline: Pipeline
    private let upstream: StageRunner
    private var request: ForeignRequest?
    private var own: PipelineExecutor?
    private var isUpstreamDone = false
    private var piece: [Document] = []
    private var position = 0

    init(_ collection: String?, _ pipeline: Pipeline, _ upstream: StageRunner) {
        self.collection = collection
        self.pipeline = pipeline
        self.upstream = upstream
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        if !isUpstreamDone {
            let polled = try upstream.poll()
            guard case .finished = polled else { return polled }
            isUpstreamDone = true
        }
        guard let collection else {
            if own == nil {
                own = pipeline.makeExecutor()
                own?.finishInput()
            }
            return try own?.poll() ?? .finished
        }
        let request =
            request
            ?? ForeignRequest(
                collection: collection, pipeline: pipeline.source, context: pipeline.context, takesPieces: true)
        self.request = request
        while true {
            if position < piece.count {
                position += 1
                return .document(piece[position - 1])
            }
            if let next = request.takePiece() {
                piece = next
                position = 0
            } else {
                return request.isComplete ? .finished : .needsForeign(request)
            }
        }
    }
}
