import CairnBSON

/// The try of a numbered write that may carry it out in this group.
struct WriteClaim: Hashable {
    var transactionNumber: Int64
    var attempt: UInt64
}

// A write that names no `_id` may find its document in any group. A client that hears nothing sends it again, perhaps to another
// router, while the first try is still under way; then each could find a document in a group of its own, and the write
// would happen twice. So every try asks all groups first whether the write was carried out, and claims it with a number of its
// own. A group carries it out only for the try that claimed it last. Of two tries the one that asks a group later finds there
// either that the other was carried out, or has put an end to it.
//
// Claims live in the leader's memory for its term: a new leader knows of none and refuses, and the try begins again. A leader that was
// deposed without knowing can propose for an old claim, but nothing of it commits that the new leader's log does not have, and
// that is part of the tip which the next try asks.
extension Evaluator {
    func claim(_ session: SessionID, _ claim: WriteClaim) {
        // To forget them is safe: their tries begin again.
        if claims.count >= options.cachedSessionsMax { claims.removeAll(keepingCapacity: true) }
        claims[session] = claim
    }

    /// - Throws: ``GroupFailure/claimLost`` when another try may have been told that this one will not be carried out. What was carried
    ///   out before is reported again to anyone.
    func requireClaim(of request: GroupRequest, _ run: StatementRun) throws {
        guard let attempt = request.attempt, let stamp = request.session else { return }
        let count = max(request.documents.count, 1)
        if (0..<count).allSatisfy({ run.earlierResult($0) != nil }) { return }
        let wanted = WriteClaim(transactionNumber: stamp.transactionNumber, attempt: attempt)
        guard claims[SessionID(stamp)] == wanted else { throw GroupFailure.claimLost }
    }
}
