import CairnBSON
import CairnDatabase

// Documents whose time is over are deleted by the group that has them: its leader goes over the indexes that say so about
// once a minute, in steps that each are one request like a client's. What a step may delete is decided when it is asked for,
// by the clock of the moment. A leader that loses office finds its request refused, and its successor begins a pass of its own.
extension DataGroup {
    /// The state of the pass over the indexes.
    struct ExpiryPass {
        /// When the next pass begins, by the monotonic clock.
        var startsAt: UInt64 = 0
        /// Steps that are still to be asked for in this pass.
        var steps: [(collection: CollectionID, epoch: UInt64, index: IndexID, afterSeconds: Int64)] = []
        /// Whether a step has no answer yet.
        var isUnderWay = false
        /// The documents that passes have deleted since the replica was opened.
        var deleted: Int64 = 0
    }

    /// Begins a pass when it is time; to be called about once a second.
    func expireDocuments() {
        guard database.isLeading else {
            expiry.steps = []
            return
        }
        let now = clock.nanoseconds
        if expiry.steps.isEmpty, now >= expiry.startsAt {
            expiry.startsAt = now &+ UInt64(max(0, options.expirySleepMilliseconds)) * 1_000_000
            expiry.steps = database.expiringIndexes
        }
        runExpiryStep()
    }

    /// Asks for the next step, if none is under way.
    private func runExpiryStep() {
        guard database.isLeading, !expiry.isUnderWay, let step = expiry.steps.first else { return }
        expiry.isUnderWay = true
        let before = clock.wallMilliseconds - step.afterSeconds * 1_000
        let request = GroupRequest(
            .expireDocuments, collection: step.collection, epoch: step.epoch,
            body: [
                "index": .int32(Int32(step.index.rawValue)), "before": .date(milliseconds: before),
                "limit": .int32(Int32(options.expiryStepDocuments)),
            ])
        execute(request) { [weak self] result in
            guard let self else { return }
            expiry.isUnderWay = false
            var hasMore = false
            if case .success(let reply) = result {
                expiry.deleted += reply.body["n"]?.int64Exactly ?? 0
                hasMore = reply.body["more"]?.asBool ?? false
            }
            // An index that is gone, changed or out of reach is met again in the next pass, as it is then. The next step is
            // asked for with the next tick, or at once while there is something to delete.
            if !hasMore, !expiry.steps.isEmpty { expiry.steps.removeFirst() }
            nextExpiryStep()
        }
    }

    /// Goes on at the next flush: an answer may be given from within ``execute(_:completion:)``.
    private func nextExpiryStep() {
        guard !expiry.steps.isEmpty else { return }
        later { [weak self] in self?.runExpiryStep() }
    }
}
