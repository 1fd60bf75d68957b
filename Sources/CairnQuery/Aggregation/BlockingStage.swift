import CairnBSON

/// A stage that takes all of its input before it gives anything.
class BlockingRunner: StageRunner {
    private let upstream: StageRunner
    private var isDrained = false

    init(_ upstream: StageRunner) { self.upstream = upstream }

    /// Takes one document of the input.
    func take(_ document: Document) throws(QueryError) {}

    /// Called once, when there is no more input.
    func finishInput() throws(QueryError) {}

    /// The next result; nil when there are no more.
    func give() throws(QueryError) -> Document? { nil }

    final override func poll() throws(QueryError) -> PipelinePoll {
        while !isDrained {
            switch try upstream.poll() {
            case .document(let document):
                try WorkMeter.count(8)
                try take(document)
            case .finished:
                isDrained = true
                try finishInput()
            case let waiting: return waiting
            }
        }
        guard let document = try give() else { return .finished }
        try WorkMeter.count(bytes: document.byteCount)
        return .document(document)
    }
}
