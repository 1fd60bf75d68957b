import CairnBSON
import CairnDatabase

// An index is filled by the router that was told to make it, step by step. When that router dies, the leader of each group goes on:
// the index is in the catalog, clients see it, and writes maintain it already, so it must be finished. Both may build for a while; a
// step that is done twice writes nothing twice.
extension DataGroup {
    /// The indexes that nobody seems to fill, and the one that is being filled.
    struct IndexBuilds {
        struct Index: Hashable {
            let collection: CollectionID
            let index: IndexID
        }

        /// Since when an index that is not finished has been waiting for a step, by the monotonic clock.
        var waitingSince: [Index: UInt64] = [:]
        /// Whether a step of the leader's own has no answer yet.
        var isUnderWay = false
        /// Steps of the leader's own since the replica was opened.
        var steps: Int64 = 0
    }

    /// How long an index waits for its router before the leader takes over, and after a failure before it tries again.
    private static let patienceNanoseconds: UInt64 = 10_000_000_000

    /// To be called for every step that is asked for from outside.
    func noteIndexBuild(_ request: GroupRequest) {
        guard let number = request.body["index"]?.int64Exactly.flatMap({ UInt16(exactly: $0) }) else { return }
        let index = IndexBuilds.Index(collection: request.collection, index: IndexID(number))
        indexBuilds.waitingSince[index] = clock.nanoseconds
    }

    /// Takes over what has waited for too long; to be called about once a second.
    func resumeIndexBuilds() {
        guard database.isLeading else {
            indexBuilds.waitingSince = [:]
            return
        }
        let unfinished = database.unfinishedIndexes
        let now = clock.nanoseconds
        var waiting: [IndexBuilds.Index: UInt64] = [:]
        for (collection, _, index) in unfinished {
            let index = IndexBuilds.Index(collection: collection, index: index)
            waiting[index] = indexBuilds.waitingSince[index] ?? now
        }
        indexBuilds.waitingSince = waiting
        guard !indexBuilds.isUnderWay else { return }
        for (collection, epoch, index) in unfinished {
            let index = IndexBuilds.Index(collection: collection, index: index)
            guard now - waiting[index]! >= Self.patienceNanoseconds else { continue }
            return build(index, epoch: epoch, resume: nil)
        }
    }

    private func build(_ index: IndexBuilds.Index, epoch: UInt64, resume: Value?) {
        var body: Document = ["index": .int32(Int32(index.index.rawValue))]
        if let resume { body.set("resume", resume) }
        indexBuilds.isUnderWay = true
        indexBuilds.steps += 1
        let request = GroupRequest(.buildIndex, collection: index.collection, epoch: epoch, body: body)
        carryOut(request) { [weak self] result in
            guard let self else { return }
            indexBuilds.isUnderWay = false
            guard case .success(let reply) = result, reply.body["done"]?.asBool != true, let next = reply.body["resume"]
            else {
                // Finished, or not to be had now: documents that a unique index cannot have, a new epoch, a lost office.
                indexBuilds.waitingSince[index] = clock.nanoseconds
                return
            }
            // At the next flush: an answer may be given from within the call.
            later { [weak self] in
                guard let self, database.isLeading, !indexBuilds.isUnderWay else { return }
                build(index, epoch: epoch, resume: next)
            }
        }
    }
}
