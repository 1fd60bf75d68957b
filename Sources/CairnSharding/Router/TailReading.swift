import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// A tailable cursor over a capped collection: it stays open at the end, where more may come.
///
/// The router keeps the place up to which it has read, the group keeps nothing: so the cursor outlives its group's leader. It
/// ends when the document at that place is gone, with the collection, or when its limit is reached.
final class TailReading {
    /// The longest time for which a group is asked to wait at once; then it is asked again.
    private static let waitNanosecondsMax: UInt64 = 5_000_000_000

    private let router: Router
    private let namespace: Namespace
    private let collection: CollectionID
    private let query: FindArguments
    private var position: Int64 = 0
    private var skip: Int64
    /// Documents that may still be given out; nil without a limit.
    private var remaining: Int64?
    /// How long the next batch may take to have a document in it.
    var patienceNanoseconds: UInt64 = 0
    private(set) var isFinished = false

    var awaitsData: Bool { query.awaitsData }

    init(_ query: FindArguments, of collection: CollectionID, _ namespace: Namespace, router: Router) {
        self.router = router
        self.namespace = namespace
        self.collection = collection
        self.query = query
        skip = query.skip
        remaining = query.limit > 0 ? query.limit : nil
    }

    func nextBatch(_ size: Int?) async throws(QueryError) -> [Document] {
        let end = router.clock.nanoseconds + patienceNanoseconds
        while true {
            let now = router.clock.nanoseconds
            let batch = try await read(
                size, patience: min(end - min(end, now), Self.waitNanosecondsMax),
                deadline: now + router.options.commandNanoseconds)
            if !batch.isEmpty || isFinished || router.clock.nanoseconds >= end { return batch }
            if Task.isCancelled { throw QueryError(.interrupted, "operation was interrupted: its client is gone") }
        }
    }

    private func read(_ size: Int?, patience: UInt64, deadline: UInt64) async throws(QueryError) -> [Document] {
        var retries = StaleRetries()
        var isFresh = false
        while true {
            guard let descriptor = try await router.collection(namespace, fresh: isFresh, deadline: deadline),
                descriptor.id == collection, let group = descriptor.groups.first
            else {
                isFinished = true
                throw QueryError(.queryPlanKilled, "collection dropped")
            }
            let request = GroupRequest(
                .find, collection: descriptor.id, epoch: descriptor.epoch, body: body(size, patience))
            do throws(CommandFailure) {
                return try note(
                    try await router.ask(Question(GroupID(group), request, descriptor), deadline: deadline).reply())
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await retries.next(router, deadline: deadline)
                isFresh = true
            }
        }
    }

    private func body(_ size: Int?, _ patience: UInt64) -> Document {
        var query = query
        query.sort = nil
        query.hint = nil
        query.skip = skip
        query.limit = remaining ?? 0
        query.batchSize = size.map { Int64($0) }
        var body = query.groupBody(isMerged: false, withoutProjection: false)
        var place: Document = ["after": .int64(position)]
        if patience >= 1_000_000 { place.set("awaitMilliseconds", .int64(Int64(patience / 1_000_000))) }
        body.set("tail", .document(place))
        return body
    }

    private func note(_ reply: GroupReply) throws(CommandFailure) -> [Document] {
        position = try reply.body.countField("position")
        skip -= try reply.body.countField("skipped")
        if let left = remaining { remaining = left - Int64(reply.documents.count) }
        // As in MongoDB, nobody waits for the first document of an empty collection.
        let isEmpty = try reply.body.countField() == 0
        isFinished = remaining == 0 || isEmpty
        return reply.documents
    }
}

extension Router {
    /// Opens a tailable cursor.
    ///
    /// - Throws: code 2 when the collection is not capped.
    func openTail(
        _ query: FindArguments, of descriptor: CollectionDescriptor, _ namespace: Namespace
    ) throws(QueryError) -> RouterCursor {
        guard descriptor.cappedLimits != nil else {
            throw QueryError(
                .badValue,
                "error processing query: ns=\(namespace): tailable cursor requested on non capped collection")
        }
        let cursor = try RouterCursor(
            id: cursors.newID(random: random), namespace: namespace.description, router: self, streams: [])
        cursor.tail = TailReading(query, of: descriptor.id, namespace, router: self)
        return cursor
    }
}

extension FindArguments {
    /// - Throws: what MongoDB says to a tailable cursor that makes no sense.
    func checkTailing() throws(QueryError) {
        guard isTailable else {
            if awaitsData {
                throw QueryError(.failedToParse, "Cannot set 'awaitData' without also setting 'tailable'")
            }
            return
        }
        if isSingleBatch {
            throw QueryError(.failedToParse, "Cannot use tailable option with the 'singleBatch' option")
        }
        guard let sort else { return }
        guard sort.count == 1, let natural = sort["$natural"]?.numericDouble, natural > 0 else {
            throw QueryError(.badValue, "cannot use tailable option with a sort other than {$natural: 1}")
        }
    }
}
