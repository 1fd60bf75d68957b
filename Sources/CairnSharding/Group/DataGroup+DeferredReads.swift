import CairnDatabase
import CairnStorage

// Requests whose blocks are not in memory, or that look at many documents, wait among the readers, so that neither the loop
// nor the requests behind them do.
extension DataGroup {
    /// How far an evaluation may go where it stands.
    var readMode: ReadMode { readers == nil ? .any : .cacheOnly }

    /// Runs the part of a request for which nobody may wait, and then goes on with it.
    func runDeferred(_ read: DeferredRead, for waiting: Waiting) {
        readers!.run({ read.run() }) { [weak self] outcome in
            guard let self else { return waiting.completion(.failure(.unavailable("the node is shutting down"))) }
            if let answer = database.conclude(outcome, context) {
                finish(waiting, answer.result)
            } else {
                resumeWrite(waiting)
            }
        }
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
