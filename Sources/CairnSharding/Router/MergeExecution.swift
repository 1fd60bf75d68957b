import CairnBSON
import CairnQuery
import Synchronization

/// The merging part of a pipeline, run a step at a time on any thread.
///
/// What it needs from elsewhere is fetched between two steps on the router's loop, which the steps themselves do not hold up.
final class MergeExecution: Sendable {
    /// What a stage asks about another collection.
    struct Question: Sendable, Equatable {
        /// Tells the questions of one execution apart; pieces of an answer are asked for under the same.
        let number: Int
        let collection: String
        let pipeline: [Document]
        let variables: Document
        let takesPieces: Bool

        static func == (left: Question, right: Question) -> Bool { left.number == right.number }
    }

    /// What has to be there before it can go on.
    enum Need: Sendable, Equatable {
        /// Only its turn.
        case turn
        case documents
        case foreign(Question)
        /// Nothing: it is at its end.
        case nothing
    }

    /// What is given to it.
    enum Input: Sendable {
        case none
        case documents([Document])
        /// There are no more.
        case end
        case answer([Document], isComplete: Bool)
    }

    struct Step: Sendable {
        var documents: [Document] = []
        var needs = Need.turn
        /// The questions to which more answers may be asked for.
        var open: Set<Int> = []
    }

    /// Bytes of results after which a step ends.
    private static let stepBytes = 1 << 20

    private struct State {
        let executor: PipelineExecutor
        var pending: ForeignRequest?
        /// A stage that ended early has let go of its request.
        var asked: [(number: Int, request: WeakRequest)] = []
        var lastNumber = 0
    }

    private struct WeakRequest {
        weak var request: ForeignRequest?
    }

    private let state: Mutex<State>

    init(_ pipeline: Pipeline) {
        state = Mutex(State(executor: pipeline.makeExecutor()))
    }

    /// Takes what it waited for and goes on, until it needs something else or has made enough.
    ///
    /// - Parameter most: documents after which the step ends.
    func advance(_ input: Input, most: Int) throws(QueryError) -> Step {
        // A mutex hands errors on without their type.
        let result = state.withLock { state -> Result<Step, QueryError> in
            do throws(QueryError) {
                return .success(try Self.advance(&state, input, most: most))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func advance(_ state: inout State, _ input: Input, most: Int) throws(QueryError) -> Step {
        switch input {
        case .none: break
        case .documents(let documents): state.executor.feed(documents)
        case .end: state.executor.finishInput()
        case .answer(let documents, let isComplete):
            state.pending?.fulfil(documents, isComplete: isComplete)
            state.pending = nil
        }
        var step = Step()
        var bytes = 0
        polling: while step.documents.count < most, bytes < stepBytes {
            switch try state.executor.poll() {
            case .document(let document):
                step.documents.append(document)
                bytes += document.byteCount
            case .needsInput:
                step.needs = .documents
                break polling
            case .needsForeign(let request):
                step.needs = .foreign(question(request, &state))
                break polling
            case .finished:
                step.needs = .nothing
                break polling
            }
        }
        state.asked.removeAll { $0.request.request == nil }
        step.open = Set(state.asked.map(\.number))
        return step
    }

    private static func question(_ request: ForeignRequest, _ state: inout State) -> Question {
        let number: Int
        if let known = state.asked.first(where: { $0.request.request === request }) {
            number = known.number
        } else {
            state.lastNumber += 1
            number = state.lastNumber
            state.asked.append((number, WeakRequest(request: request)))
        }
        state.pending = request
        return Question(
            number: number, collection: request.collection, pipeline: request.pipeline, variables: request.variables,
            takesPieces: request.takesPieces)
    }
}
