import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// `insert`.
///
/// **Ordered batches over several groups.** MongoDB's promise is that the first error stops the batch: nothing behind it is
/// stored. Sending the documents one group after the other would keep the promise and cost a round of replication a run, so it
/// is kept another way. What can go wrong with a document is known before the batch is sent: its `_id` exists already, or
/// occurs twice in the batch, or has a forbidden type (in a spread collection `_id` is the only unique index). So the
/// router asks all groups at once which of the `_id`s exist, and sends the documents before the first suspect to
/// their groups in parallel, then the suspect alone, and goes on behind it if it was no error after all. Collections with a
/// validator, whose verdict is not known before, are sent run by run. `_id`s that this router has just made need no asking.
///
/// What remains is a race: another client stores one of the `_id`s between question and batch. Then the error is reported for
/// that document as it should be, but documents behind it that went to other groups are stored, and `n` counts them.
extension Router {
    func insert(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        let documents = try statements(of: command, field: "documents")
        let deadline = command.deadline!
        let ordered = command.body.flag("ordered") ?? true
        let batch = try insertBatch(
            documents, statementIDs: try Router.statementIDs(of: command, count: documents.count))

        let stamp = command.session ?? command.routersStamp ?? takeSession()
        defer { if command.session == nil { giveBack(stamp) } }
        let writer = InsertWriter(
            router: self, namespace: namespace, batch: batch, stamp: stamp, isClients: command.session != nil,
            options: WriteOptions(command.body), deadline: deadline)
        try await writer.run(ordered: ordered)

        var builder = DocumentBuilder()
        builder.append("n", .int32(Int32(clamping: writer.stored)))
        Router.append(writeErrors: writer.errors, to: &builder)
        builder.append("ok", .double(1))
        return builder.finish()
    }

    /// The documents as the groups take them.
    func insertBatch(_ documents: [Document], statementIDs: [Int32]) throws(QueryError) -> InsertBatch {
        var documents = documents
        var batch = InsertBatch(statementIDs: statementIDs)
        batch.reserve(documents.count)
        for index in documents.indices {
            let (document, id, isOurs) = try withID(documents[index])
            documents[index] = document
            batch.append(id: id)
            batch.idsAreOurs = batch.idsAreOurs && isOurs
        }
        batch.documents = documents
        return batch
    }

    /// The document with `_id` as its first field, which is where the groups expect it.
    func withID(_ document: Document) throws(QueryError) -> (Document, id: Value, isOurs: Bool) {
        var isFirst = true
        for element in document {
            if element.name == "_id" {
                if isFirst { return (document, element.value, false) }
                var builder = DocumentBuilder()
                builder.append(element: element)
                for other in document where other.name != "_id" { builder.append(element: other) }
                return (builder.finish(), element.value, false)
            }
            isFirst = false
        }
        let id = Value.objectID(makeObjectID())
        var builder = DocumentBuilder()
        builder.reserve(document.byteCount + 20)
        builder.append("_id", id)
        builder.append(elementsOf: document)
        return (builder.finish(), id, true)
    }
}

struct InsertBatch {
    var documents: [Document] = []
    private(set) var ids: [Value] = []
    /// The hash of each `_id`'s encoding, which tells most different ones apart.
    private(set) var hashes: [UInt64] = []
    /// The slot of each `_id`, so that placing a document costs no second encoding.
    private(set) var slots: [UInt16] = []
    var idsAreOurs = true
    var statementIDs: [Int32]

    init(statementIDs: [Int32]) {
        self.statementIDs = statementIDs
    }

    mutating func reserve(_ count: Int) {
        ids.reserveCapacity(count)
        hashes.reserveCapacity(count)
        slots.reserveCapacity(count)
    }

    mutating func append(id: Value) {
        let key = KeyEncoding.encode(id)
        ids.append(id)
        hashes.append(XXH64.hash(key))
        slots.append(HashSlot.slot(ofEncodedKey: key[...]))
    }
}

/// Carries one insert command through.
final class InsertWriter {
    private let router: Router
    private let namespace: Namespace
    private let batch: InsertBatch
    private let stamp: SessionStamp
    /// Whether the client numbered the write, so that it may be a repetition of one that was carried out in part.
    private let isClients: Bool
    private let deadline: UInt64
    private let options: WriteOptions
    private var descriptor: CollectionDescriptor!

    private(set) var stored = 0
    private(set) var errors: [(index: Int, error: Document)] = []

    init(
        router: Router, namespace: Namespace, batch: InsertBatch, stamp: SessionStamp, isClients: Bool,
        options: WriteOptions, deadline: UInt64
    ) {
        self.router = router
        self.options = options
        self.namespace = namespace
        self.batch = batch
        self.stamp = stamp
        self.isClients = isClients
        self.deadline = deadline
    }

    func run(ordered: Bool) async throws(QueryError) {
        descriptor = try await router.collectionForWriting(namespace, deadline: deadline)
        if batch.documents.count == 1 { return try await sendOne(ordered: ordered) }
        let everything = Array(batch.documents.indices)
        if !ordered {
            return try await send(everything, ordered: false)
        }
        if descriptor.groups.count == 1 {
            return try await send(everything, ordered: true)
        }
        if descriptor.options["validator"] != nil {
            return try await sendRunByRun(everything)
        }
        try await sendAroundSuspects(everything)
    }

    private func group(of index: Int) -> UInt32 {
        // Chunks cover every slot, an invariant of descriptors.
        descriptor.group(owning: batch.slots[index])!
    }

    /// The only document of a batch, which is what most inserts are: there is nothing to be divided among groups.
    private func sendOne(ordered: Bool) async throws(QueryError) {
        var retries = StaleRetries()
        while true {
            let result = await router.ask(question(group(of: 0), [0], ordered: ordered), deadline: deadline)
            do throws(CommandFailure) {
                _ = try note(try result.reply(), [0])
                return
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await refresh(&retries)
            }
        }
    }

    /// In parallel up to each suspect, the suspects alone.
    private func sendAroundSuspects(_ everything: [Int]) async throws(QueryError) {
        var pending = everything
        var suspects = batch.idsAreOurs ? [] : try await findSuspects()
        if isClients, !suspects.isEmpty {
            // A repetition: what the first try stored is no error and need not be sent again.
            let executed = try await executedStatements()
            if !executed.isEmpty {
                stored += executed.count
                pending.removeAll(where: executed.contains)
                suspects.subtract(executed)
            }
        }
        var start = 0
        for suspect in suspects.sorted() {
            guard let position = pending[start...].firstIndex(of: suspect) else { continue }
            try await send(Array(pending[start..<position]), ordered: true)
            if !errors.isEmpty { return }
            try await send([suspect], ordered: true)
            if !errors.isEmpty { return }
            start = position + 1
        }
        try await send(Array(pending[start...]), ordered: true)
    }

    /// One group after the other, as the documents come.
    private func sendRunByRun(_ everything: [Int]) async throws(QueryError) {
        var start = 0
        while start < everything.count, errors.isEmpty {
            let group = group(of: everything[start])
            var end = start + 1
            while end < everything.count, self.group(of: everything[end]) == group { end += 1 }
            try await send(Array(everything[start..<end]), ordered: true)
            start = end
        }
    }

    /// The documents that will, as far as can be known, be refused.
    private func findSuspects() async throws(QueryError) -> Set<Int> {
        var suspects: Set<Int> = []
        // By a 64-bit hash of the id's encoding: two different ids that share one make a suspect of an innocent, which
        // costs it a round trip of its own.
        var byHash: [UInt64: Int] = [:]
        byHash.reserveCapacity(batch.ids.count)
        var perGroup: [UInt32: [Value]] = [:]
        for (index, id) in batch.ids.enumerated() {
            switch id {
            case .array, .regex, .undefined:
                suspects.insert(index)
                continue
            default: break
            }
            if byHash[batch.hashes[index]] != nil {
                suspects.insert(index)
                continue
            }
            byHash[batch.hashes[index]] = index
            perGroup[group(of: index), default: []].append(id)
        }
        var retries = StaleRetries()
        while true {
            let questions = perGroup.map { group, ids in
                let filter: Document = ["_id": .document(["$in": .array(BSONArray(ids))])]
                return Question(
                    GroupID(group),
                    GroupRequest(
                        .find, collection: descriptor.id, epoch: descriptor.epoch,
                        body: [
                            "filter": .document(filter), "projection": ["_id": 1],
                            "batchSize": .int32(Int32(ids.count)), "singleBatch": true,
                        ]), descriptor)
            }
            do throws(CommandFailure) {
                for reply in try await router.ask(questions, deadline: deadline).replies() {
                    for document in reply.documents {
                        guard let id = document["_id"] else { continue }
                        if let index = byHash[XXH64.hash(KeyEncoding.encode(id))] { suspects.insert(index) }
                    }
                }
                return suspects
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await refresh(&retries)
                // Placement may differ now; the ids are the same.
                let ids = perGroup.values.flatMap { $0 }
                perGroup = [:]
                for id in ids { perGroup[Targeting.group(of: id, in: descriptor), default: []].append(id) }
            }
        }
    }

    /// Which documents of the batch a former try of the same command stored.
    private func executedStatements() async throws(QueryError) -> Set<Int> {
        let executed = try await router.executed(
            stamp, statementIDs: batch.statementIDs, groups: descriptor.groups, deadline: deadline)
        var indexes: Set<Int> = []
        for (index, id) in batch.statementIDs.enumerated() where executed[id] != nil { indexes.insert(index) }
        return indexes
    }

    private func refresh(_ retries: inout StaleRetries) async throws(QueryError) {
        try await retries.next(router, deadline: deadline)
        descriptor = try await router.collectionForWriting(namespace, fresh: true, deadline: deadline)
    }

    /// Sends documents to their groups, all groups at once, and notes what came of each.
    private func send(_ indexes: [Int], ordered: Bool) async throws(QueryError) {
        var pending = indexes
        var retries = StaleRetries()
        while !pending.isEmpty {
            var perGroup: [UInt32: [Int]] = [:]
            for index in pending {
                perGroup[group(of: index), default: []].append(index)
            }
            let groups = perGroup.keys.sorted()
            var queues = groups.map { perGroup[$0]![...] }
            var stale: [Int] = []
            var failure: QueryError?
            // More than a request may carry goes in several rounds.
            while failure == nil, queues.contains(where: { !$0.isEmpty }) {
                var parts: [(queue: Int, indexes: ArraySlice<Int>)] = []
                var questions: [Question] = []
                for queue in queues.indices where !queues[queue].isEmpty {
                    let part = nextPart(of: &queues[queue])
                    parts.append((queue, part))
                    questions.append(question(groups[queue], part, ordered: ordered))
                }
                let results = await router.ask(questions, deadline: deadline)
                for (part, result) in zip(parts, results) {
                    do throws(CommandFailure) {
                        let hadError = try note(try result.reply(), part.indexes)
                        if hadError && ordered { queues[part.queue] = [] }
                    } catch {
                        switch error {
                        case .stale:
                            stale.append(contentsOf: part.indexes)
                            stale.append(contentsOf: queues[part.queue])
                            queues[part.queue] = []
                        case .error(let error): failure = failure ?? error
                        }
                    }
                }
            }
            if let failure { throw failure }
            if ordered, !errors.isEmpty { break }
            pending = stale.sorted()
            if !pending.isEmpty { try await refresh(&retries) }
        }
        errors.sort { $0.index < $1.index }
        // Several groups may each have met an error of their own; an ordered batch reports the first.
        if ordered, errors.count > 1 { errors.removeSubrange(1...) }
    }

    private func nextPart(of queue: inout ArraySlice<Int>) -> ArraySlice<Int> {
        var bytes = 0
        var end = queue.startIndex
        while end < queue.endIndex {
            bytes += batch.documents[queue[end]].byteCount
            if end > queue.startIndex, bytes > router.options.requestBytesMax { break }
            end += 1
        }
        let part = queue[queue.startIndex..<end]
        queue = queue[end...]
        return part
    }

    private func question(_ group: UInt32, _ indexes: ArraySlice<Int>, ordered: Bool) -> Question {
        var body: Document = ordered ? Document() : ["ordered": false]
        options.set(in: &body)
        let request = GroupRequest(
            .insert, collection: descriptor.id, epoch: descriptor.epoch, session: stamp,
            statementIDs: indexes.map { batch.statementIDs[$0] }, body: body,
            documents: indexes.map { batch.documents[$0] })
        return Question(GroupID(group), request, descriptor)
    }

    /// - Returns: whether a document was refused.
    private func note(_ reply: GroupReply, _ indexes: ArraySlice<Int>) throws(CommandFailure) -> Bool {
        stored += Int(try reply.body.countField("n"))
        let refused = try reply.body.writeErrors()
        for (position, error) in refused {
            guard position < indexes.count else { continue }
            let index = indexes[indexes.startIndex + position]
            errors.append((index, Router.writeError(error, at: index)))
        }
        return !refused.isEmpty
    }
}
