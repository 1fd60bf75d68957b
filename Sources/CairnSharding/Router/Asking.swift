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
    /// The one replica to ask, leader or not: a cursor lives where it was opened.
    var node: NodeID?

    init(
        _ group: GroupID, _ request: GroupRequest, _ descriptor: CollectionDescriptor? = nil, at node: NodeID? = nil
    ) {
        self.group = group
        self.request = request
        self.descriptor = descriptor
        self.node = node
    }
}

extension Router {
    /// Asks several groups at once and waits for all of them; results are in the order of the questions.
    func ask(_ questions: [Question], deadline: UInt64) async -> [GroupResult] {
        await gather(questions, deadline: deadline).results()
    }

    /// As ``ask(_:deadline:)``, and says which node each answer came from.
    func askNoting(_ questions: [Question], deadline: UInt64) async -> [(result: GroupResult, node: NodeID)] {
        await gather(questions, deadline: deadline).answers()
    }

    private func gather(_ questions: [Question], deadline: UInt64) async -> Gathering {
        let gathering = Gathering(count: questions.count)
        for (index, question) in questions.enumerated() {
            let attempt = Attempt(router: self, question: question, deadline: deadline) { result, node in
                gathering.set(index, result, node)
            }
            attempt.start()
        }
        await gathering.wait()
        return gathering
    }

    /// Asks one group and waits for its answer.
    func ask(_ question: Question, deadline: UInt64) async -> GroupResult {
        let awaited = Awaited()
        Attempt(router: self, question: question, deadline: deadline) { result, _ in awaited.set(result) }.start()
        return await awaited.result()
    }

    /// Asks one group and calls back, perhaps before this returns.
    func start(_ question: Question, deadline: UInt64, completion: @escaping (GroupResult) -> Void) {
        Attempt(router: self, question: question, deadline: deadline) { result, _ in completion(result) }.start()
    }

    /// Asks without waiting for the answer, for what is only a courtesy (closing cursors).
    func tell(_ question: Question) {
        let deadline = clock.nanoseconds + options.commandNanoseconds
        Attempt(router: self, question: question, deadline: deadline) { _, _ in }.start()
    }
}

/// One answer, for which no collection is needed.
private final class Awaited {
    private var answer: GroupResult?
    private var waiter: CheckedContinuation<Void, Never>?

    func set(_ result: GroupResult) {
        precondition(answer == nil, "a group answered twice")
        answer = result
        waiter?.resume()
        waiter = nil
    }

    func result() async -> GroupResult {
        if answer == nil {
            await withCheckedContinuation { waiter in
                // As below: the answer may have been quicker.
                if answer != nil { waiter.resume() } else { self.waiter = waiter }
            }
        }
        return answer!
    }
}

/// Collects a fixed number of answers and wakes the one who waits for them.
///
/// Answers that came before the wait cost no suspension: a group on this loop answers cached reads at once.
private final class Gathering {
    private var slots: [(result: GroupResult, node: NodeID)?]
    private var missing: Int
    private var waiter: CheckedContinuation<Void, Never>?

    init(count: Int) {
        slots = Array(repeating: nil, count: count)
        missing = count
    }

    func set(_ index: Int, _ result: GroupResult, _ node: NodeID) {
        precondition(slots[index] == nil, "a group answered twice")
        slots[index] = (result, node)
        missing -= 1
        guard missing == 0, let waiter else { return }
        self.waiter = nil
        waiter.resume()
    }

    func wait() async {
        guard missing > 0 else { return }
        await withCheckedContinuation { waiter in
            // The way here may lead over an executor's queue, and the last answer may have been quicker.
            if missing == 0 { waiter.resume() } else { self.waiter = waiter }
        }
    }

    func results() -> [GroupResult] {
        slots.map { $0!.result }
    }

    func answers() -> [(result: GroupResult, node: NodeID)] {
        slots.map { $0! }
    }
}

/// The life of one question: which node to ask, what to do about a refusal, when to give up.
private final class Attempt {
    private let router: Router
    private let question: Question
    private let deadline: UInt64
    private let completion: (GroupResult, NodeID) -> Void
    private var pause: UInt64
    /// Descriptors sent on behalf of this question; a group that asks for more than a few is at odds with itself.
    private var installations = 0
    /// Refusals in a row that named another leader: believed without a pause, but not for ever.
    private var redirections = 0
    /// The node asked last.
    private var asked = NodeID(rawValue: 0)

    init(router: Router, question: Question, deadline: UInt64, completion: @escaping (GroupResult, NodeID) -> Void) {
        self.router = router
        self.question = question
        self.deadline = deadline
        self.completion = completion
        pause = router.options.retryPauseNanoseconds
    }

    func start() {
        let group = question.group
        guard let node = question.node ?? router.gateway.leader(of: group) ?? router.leaders.node(leading: group) else {
            return finish(.failure(.error(QueryError(.shardNotFound, "there is no group \(group.rawValue)"))))
        }
        asked = node
        send(to: node)
    }

    private func send(to node: NodeID) {
        let now = router.clock.nanoseconds
        guard now < deadline else { return finish(.failure(.unavailable("the command ran out of time"))) }
        asked = node
        var request = question.request
        request.budgetMilliseconds = UInt32(clamping: (deadline - now) / 1_000_000 + 1)
        router.gateway.call(request, to: question.group, at: node, deadline: deadline) { result in
            self.receive(result, from: node)
        }
    }

    private func finish(_ result: GroupResult) {
        completion(result, asked)
    }

    private func receive(_ result: GroupResult, from node: NodeID) {
        if question.node != nil { return finish(result) }
        switch result {
        case .success:
            router.leaders.note(leader: node, of: question.group)
            finish(result)
        case .failure(.notLeader(let hint)):
            notLeader(node, hint: hint.map { NodeID(rawValue: $0) })
        case .failure(.unavailable):
            // The request may have been carried out. A cursor moves with each getMore, so that one cannot be repeated.
            guard question.request.isRepeatable else { return finish(result) }
            router.leaders.doubt(node, of: question.group)
            again(result)
        case .failure(.needsDescriptor):
            install(at: node, result)
        case .failure(.staleEpoch), .failure(.droppedCollection), .failure(.claimLost), .failure(.error):
            finish(result)
        }
    }

    private func notLeader(_ node: NodeID, hint: NodeID?) {
        let group = question.group
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
        guard now + pause < deadline else { return finish(result) }
        // A random share keeps routers that lost the same leader from asking in step.
        let wait = pause / 2 + router.random() % (pause / 2 + 1)
        pause = min(pause * 2, router.options.retryPauseNanosecondsMax)
        router.clock.schedule(afterNanoseconds: wait) { self.start() }
    }

    private func install(at node: NodeID, _ result: GroupResult) {
        guard let descriptor = question.descriptor, installations < 5 else { return finish(result) }
        installations += 1
        let request = GroupRequest(
            .installDescriptor, collection: descriptor.id, epoch: descriptor.epoch, body: descriptor.document)
        Attempt(router: router, question: Question(question.group, request), deadline: deadline) { answer, _ in
            switch answer {
            case .success: self.start()
            case .failure: self.finish(answer)
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
