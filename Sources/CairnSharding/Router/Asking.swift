import CairnBSON
import CairnDatabase
import CairnQuery
import CairnRaft
import CairnReplication

/// What became of a request to one group, once every repetition that is safe has been tried.
typealias GroupResult = Result<GroupReply, GroupFailure>

/// One request to one group, repeated while that is safe and time is left.
struct Question {
    var group: GroupID
    var request: GroupRequest
    /// Sent to a group that lacks it or has an older one.
    var descriptor: CollectionDescriptor?

    init(_ group: GroupID, _ request: GroupRequest, _ descriptor: CollectionDescriptor? = nil) {
        self.group = group
        self.request = request
        self.descriptor = descriptor
    }
}

extension Router {
    /// Asks several groups at once and waits for all of them; results are in the order of the questions.
    func ask(_ questions: [Question], deadline: UInt64) async -> [GroupResult] {
        let gathering = Gathering(count: questions.count)
        for (index, question) in questions.enumerated() {
            let attempt = Attempt(router: self, question: question, deadline: deadline) { result in
                gathering.set(index, result)
            }
            attempt.start()
        }
        await gathering.wait()
        return gathering.results()
    }

    func ask(_ question: Question, deadline: UInt64) async -> GroupResult {
        let gathering = Gathering(count: 1)
        Attempt(router: self, question: question, deadline: deadline) { gathering.set(0, $0) }.start()
        await gathering.wait()
        return gathering.results()[0]
    }

    /// Asks without waiting for the answer, for what is only a courtesy (closing cursors).
    func tell(_ question: Question) {
        let deadline = clock.nanoseconds + options.commandNanoseconds
        Attempt(router: self, question: question, deadline: deadline) { _ in }.start()
    }
}

/// Collects a fixed number of answers and wakes the one who waits for them.
///
/// Answers that came before the wait cost no suspension: a group on this loop answers cached reads at once.
private final class Gathering {
    private var answers: [GroupResult?]
    private var missing: Int
    private var waiter: CheckedContinuation<Void, Never>?

    init(count: Int) {
        answers = Array(repeating: nil, count: count)
        missing = count
    }

    func set(_ index: Int, _ result: GroupResult) {
        precondition(answers[index] == nil, "a group answered twice")
        answers[index] = result
        missing -= 1
        guard missing == 0, let waiter else { return }
        self.waiter = nil
        waiter.resume()
    }

    func wait() async {
        guard missing > 0 else { return }
        await withCheckedContinuation { waiter = $0 }
    }

    func results() -> [GroupResult] {
        answers.map { $0! }
    }
}

/// The life of one question: which node to ask, what to do about a refusal, when to give up.
private final class Attempt {
    private let router: Router
    private let question: Question
    private let deadline: UInt64
    private let completion: (GroupResult) -> Void
    private var pause: UInt64
    /// Descriptors sent on behalf of this question; a group that asks for more than a few is at odds with itself.
    private var installations = 0
    /// Refusals in a row that named another leader: believed without a pause, but not for ever.
    private var redirections = 0

    init(router: Router, question: Question, deadline: UInt64, completion: @escaping (GroupResult) -> Void) {
        self.router = router
        self.question = question
        self.deadline = deadline
        self.completion = completion
        pause = router.options.retryPauseNanoseconds
    }

    func start() {
        let group = question.group
        guard let node = router.gateway.leader(of: group) ?? router.leaders.node(leading: group) else {
            return completion(.failure(.error(QueryError(.shardNotFound, "there is no group \(group.rawValue)"))))
        }
        send(to: node)
    }

    private func send(to node: NodeID) {
        let now = router.clock.nanoseconds
        guard now < deadline else { return completion(.failure(.unavailable("the command ran out of time"))) }
        var request = question.request
        request.budgetMilliseconds = UInt32(clamping: (deadline - now) / 1_000_000 + 1)
        router.gateway.call(request, to: question.group, at: node, deadline: deadline) { result in
            self.receive(result, from: node)
        }
    }

    private func receive(_ result: GroupResult, from node: NodeID) {
        switch result {
        case .success:
            router.leaders.note(leader: node, of: question.group)
            completion(result)
        case .failure(.notLeader(let hint)):
            notLeader(node, hint: hint.map { NodeID(rawValue: $0) })
        case .failure(.unavailable):
            // The request may have been carried out. A cursor moves with each getMore, so that one cannot be repeated.
            guard question.request.isRepeatable else { return completion(result) }
            router.leaders.doubt(node, of: question.group)
            again(result)
        case .failure(.needsDescriptor):
            install(at: node, result)
        case .failure(.staleEpoch), .failure(.droppedCollection), .failure(.error):
            completion(result)
        }
    }

    private func notLeader(_ node: NodeID, hint: NodeID?) {
        let group = question.group
        if question.request.operation == .getMore {
            // Cursors live at the leader that opened them, and die with its office.
            return completion(.failure(.notLeader(hint: hint?.rawValue)))
        }
        if let hint, hint != node, redirections < 3 {
            redirections += 1
            router.leaders.note(leader: hint, of: group)
            return send(to: hint)
        }
        router.leaders.doubt(node, of: group)
        again(.failure(.unavailable("group \(group.rawValue) has no leader that could be found")))
    }

    /// Asks again after a pause, or ends with `result` when the time is up.
    private func again(_ result: GroupResult) {
        redirections = 0
        let now = router.clock.nanoseconds
        guard now + pause < deadline else { return completion(result) }
        // A random share keeps routers that lost the same leader from asking in step.
        let wait = pause / 2 + router.random() % (pause / 2 + 1)
        pause = min(pause * 2, router.options.retryPauseNanosecondsMax)
        router.clock.schedule(afterNanoseconds: wait) { self.start() }
    }

    private func install(at node: NodeID, _ result: GroupResult) {
        guard let descriptor = question.descriptor, installations < 5 else { return completion(result) }
        installations += 1
        let request = GroupRequest(
            .installDescriptor, collection: descriptor.id, epoch: descriptor.epoch, body: descriptor.document)
        Attempt(router: router, question: Question(question.group, request), deadline: deadline) { answer in
            switch answer {
            case .success: self.start()
            case .failure: self.completion(answer)
            }
        }.start()
    }
}

extension GroupRequest {
    /// Whether it may be sent again when it is unknown whether the first was carried out.
    fileprivate var isRepeatable: Bool {
        switch operation {
        case .insert, .update, .delete, .findAndModify: session != nil
        case .getMore: false
        default: true
        }
    }
}
