import CairnBSON
import CairnDatabase
import CairnStorage

// Requests whose blocks are not in memory, or that look at many documents, wait among the readers, so that neither the loop
// nor the requests behind them do.
extension DataGroup {
    /// How far an evaluation may go where it stands.
    var readMode: ReadMode { readers == nil ? .any : .cacheOnly }

    /// Runs the part of a request for which nobody may wait, and then goes on with it.
    func runDeferred(_ read: DeferredRead, for waiting: Waiting) {
        let readers = readers!
        let token = waiting.request.token
        if let token, let interruption = read.interruption { running[token] = interruption }
        let clock = readers.monotonicClock
        let isOverdue = waiting.deadline.map { deadline in { @Sendable in clock() >= deadline } }
        let conclude: (DeferredRead.Outcome) -> Void = { [weak self] outcome in
            guard let self else { return waiting.completion(.failure(.unavailable("the node is shutting down"))) }
            if let token { running[token] = nil }
            if let read = outcome.longRead { return runDeferred(read, for: waiting) }
            if let answer = database.conclude(outcome, context) {
                finish(waiting, answer.result)
            } else {
                resumeWrite(waiting)
            }
        }
        if read.isLong {
            readers.runLong({ read.run(isOverdue: isOverdue) }, then: conclude)
        } else {
            readers.run({ read.run(isOverdue: isOverdue) }, then: conclude)
        }
    }

    /// Ends the read that came with a number, if it is still under way. It is answered with an error, and its cursor is closed.
    func interrupt(_ request: GroupRequest) -> GroupReply {
        let token = request.body["token"]?.int64Exactly.map { UInt64(bitPattern: $0) }
        let interruption = token.flatMap { running[$0] }
        interruption?.raise()
        return GroupReply(body: ["found": .bool(interruption != nil)])
    }

    /// Goes on with a write that has been prepared, which has not been evaluated at all.
    private func resumeWrite(_ waiting: Waiting) {
        guard case .leader = role else { return finish(waiting, .failure(notLeader)) }
        if isTooLate(waiting) {
            finish(waiting, .failure(.unavailable("the request waited too long for group \(group.rawValue)")))
        } else if database.isLeading {
            evaluate(waiting, isNew: false, mode: .any)
        } else {
            parked.append(waiting)
        }
    }
}
