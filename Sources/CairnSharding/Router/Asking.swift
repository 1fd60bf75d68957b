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
    ///
    /// When the command is cancelled meanwhile, reads are not waited for: their results are error 11601, and the groups are told
    /// to end them. Writes are waited for, because what becomes of them is not for the router to say.
    func ask(_ questions: [Question], deadline: UInt64) async -> [GroupResult] {
        await gather(questions, deadline: deadline).map(\.result)
    }

    /// As ``ask(_:deadline:)``, and says which node each answer came from.
    func askNoting(_ questions: [Question], deadline: UInt64) async -> [(result: GroupResult, node: NodeID)] {
        await gather(questions, deadline: deadline)
    }

    private func gather(
        _ questions: [Question], deadline: UInt64
    ) async -> [(result: GroupResult, node: NodeID)] {
        let answers = Answers(count: questions.count, isInterruptible: questions.allSatisfy(\.isInterruptible))
        var attempts: [Attempt] = []
        attempts.reserveCapacity(questions.count)
        for (index, question) in questions.enumerated() {
            let attempt = Attempt(router: self, question: question, deadline: deadline) { result, node in
                answers.set(index, result, node)
            }
            attempts.append(attempt)
            attempt.start()
        }
        let unanswered = await answers.wait()
        for index in unanswered { attempts[index].abandon() }
        return answers.all
    }

    /// Asks one group and waits for its answer.
    func ask(_ question: Question, deadline: UInt64) async -> GroupResult {
        let awaited = Awaited<GroupResult>()
        let attempt = Attempt(router: self, question: question, deadline: deadline) { result, _ in awaited.set(result) }
        attempt.start()
        if let result = await awaited.result(isInterruptible: question.isInterruptible) { return result }
        attempt.abandon()
        return .failure(.error(Router.interrupted))
    }

    /// Asks one group and calls back, perhaps before this returns.
    func start(_ question: Question, deadline: UInt64, completion: @escaping (GroupResult) -> Void) {
        Attempt(router: self, question: question, deadline: deadline) { result, _ in completion(result) }.start()
    }

    /// As ``start(_:deadline:completion:)``, and says which node the answer came from.
    ///
    /// - Returns: what ends it before its time, with ``interrupted``; nil when it has ended already.
    func startNoting(
        _ question: Question, deadline: UInt64, completion: @escaping (GroupResult, NodeID) -> Void
    ) -> (() -> Void)? {
        let attempt = Attempt(router: self, question: question, deadline: deadline, completion: completion)
        attempt.start()
        return attempt.isFinished ? nil : attempt.giveUp
    }

    /// Asks without waiting for the answer, for what is only a courtesy (closing cursors).
    func tell(_ question: Question) {
        let deadline = clock.nanoseconds + options.commandNanoseconds
        Attempt(router: self, question: question, deadline: deadline) { _, _ in }.start()
    }
}

extension Question {
    /// Whether nothing is left behind when nobody waits for the answer. What the meta group is asked belongs to changes of several steps.
    fileprivate var isInterruptible: Bool { request.operation.isInterruptible && group != .meta }
}

extension Router {
    static let interrupted = QueryError(.interrupted, "operation was interrupted")

    /// Lets others have the loop when this command has had it for long.
    ///
    /// - Throws: when the command is cancelled.
    func makeWay(since begin: inout UInt64) async throws(QueryError) {
        if Task.isCancelled { throw Router.interrupted }
        let now = clock.nanoseconds
        guard now &- begin > options.turnNanoseconds else { return }
        await Task.yield()
        begin = clock.nanoseconds
        if Task.isCancelled { throw Router.interrupted }
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
    /// Whether nobody waits for the answer any more.
    private var isAbandoned = false
    private(set) var isFinished = false
    /// By which the group knows the read, should it have to end.
    private var token: UInt64?

    init(router: Router, question: Question, deadline: UInt64, completion: @escaping (GroupResult, NodeID) -> Void) {
        self.router = router
        self.question = question
        self.deadline = deadline
        self.completion = completion
        pause = router.options.retryPauseNanoseconds
    }

    /// Has the group end what it does for this question, and asks nobody any more.
    func abandon() {
        isAbandoned = true
        guard let token else { return }
        router.tell(
            Question(
                question.group,
                GroupRequest(.interrupt, collection: .system, body: ["token": .int64(Int64(bitPattern: token))]),
                at: asked))
    }

    /// Abandons it and says so to whoever asked.
    func giveUp() {
        guard !isFinished, !isAbandoned else { return }
        abandon()
        finish(.failure(.error(Router.interrupted)))
    }

    func start() {
        guard !isAbandoned else { return }
        let group = question.group
        guard let node = question.node ?? router.gateway.leader(of: group) ?? router.leaders.node(leading: group) else {
            return finish(.failure(.error(QueryError(.shardNotFound, "there is no group \(group.rawValue)"))))
        }
        asked = node
        send(to: node)
    }

    private func send(to node: NodeID) {
        if question.isInterruptible, token == nil { token = router.makeToken() }
        let now = router.clock.nanoseconds
        guard now < deadline else { return finish(.failure(.unavailable("the command ran out of time"))) }
        asked = node
        var request = question.request
        request.token = token
        // A little less than there is, so that a group's word that the time is over comes before nobody waits for it.
        let milliseconds = (deadline - now) / 1_000_000
        request.budgetMilliseconds = UInt32(clamping: milliseconds - min(milliseconds / 10, 500) + 1)
        router.gateway.call(request, to: question.group, at: node, deadline: deadline) { result in
            self.receive(result, from: node)
        }
    }

    private func finish(_ result: GroupResult) {
        isFinished = true
        completion(result, asked)
    }

    private func receive(_ result: GroupResult, from node: NodeID) {
        if isAbandoned {
            // It was quicker than the request to end it. Nobody will ask for the rest.
            if case .success(let reply) = result, reply.openCursor != 0 {
                router.close(CursorStream(group: question.group, node: node, cursor: reply.openCursor, buffer: []))
            }
            return
        }
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
