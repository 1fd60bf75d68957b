import CairnBSON
import CairnDatabase
import CairnQuery
import CairnRaft
import CairnReplication

/// One group's share of a cursor.
struct CursorStream {
    let group: GroupID
    /// The replica that has the cursor. It keeps it when another comes to lead.
    let node: NodeID
    /// The group's own cursor; 0 when it has none left.
    var cursor: Int64
    /// Documents that came and are not yet given out, in order.
    var buffer: ArraySlice<Document>
    /// The sort keys of `buffer`, when streams are merged by them.
    var keys: ArraySlice<[UInt8]> = []
    /// The sort key of the last document that came, and how many that are equal to it came before.
    private var runKey: [UInt8] = []
    private var run: UInt32 = 0

    init(group: GroupID, node: NodeID, cursor: Int64, buffer: ArraySlice<Document>) {
        self.group = group
        self.node = node
        self.cursor = cursor
        self.buffer = buffer
    }

    /// Whether the group has nothing more.
    var isExhausted: Bool { cursor == 0 }

    /// Makes the sort keys of what came.
    ///
    /// Documents that are equal to the order are numbered within each group, and the number is part of the key: so the groups
    /// take turns with them, in a way that depends neither on where batches end nor on how many documents are wanted.
    mutating func makeKeys(_ order: SortSpecification) throws(QueryError) {
        var made: [[UInt8]] = []
        made.reserveCapacity(buffer.count)
        for document in buffer {
            var key = try order.sortKey(of: document)
            run = key == runKey ? run &+ 1 : 0
            runKey = key
            for shift in [24, 16, 8, 0] as [UInt32] { key.append(UInt8(truncatingIfNeeded: run >> shift)) }
            made.append(key)
        }
        keys = made[...]
    }
}

/// A cursor that a client holds: streams of groups, merged.
final class RouterCursor {
    let id: Int64
    let namespace: String
    private let router: Router
    private var streams: [CursorStream]
    /// Set when the streams are merged by it instead of one after the other.
    private let order: SortSpecification?
    /// Set when the groups sent whole documents because merging needed fields that the client did not ask for.
    private let shape: FindShape?
    /// The merging part of a pipeline, fed by the streams.
    private let executor: MergeExecution?
    /// What the executor has given and was not given out yet, in order.
    private var made: ArraySlice<Document> = []
    /// What the executor waits for.
    private var wants = MergeExecution.Need.turn
    /// The stages that need other collections of this database ask for them in its name.
    private let database: String
    /// The cursors of which stages take the answer in pieces. A stage that ended early has let go of its request.
    private var foreign: [ForeignCursor] = []
    /// A document that did not fit into the last batch.
    private var heldBack: Document?
    private var skip: Int64
    /// When the command that reads from it last let others have the loop, and how often it looked since.
    private var turnBegan: UInt64 = 0
    private var steps = 0
    /// Documents that may still be given out; nil without a limit.
    private var remaining: Int64?
    /// When a batch was last asked for.
    var usedAt: UInt64
    /// Set when the cursor stays open at the end of a capped collection: it has no streams then.
    var tail: TailReading?
    /// How many cursors wait for documents of this one, each for the next.
    var depth = 0
    /// A cursor serves one request at a time.
    var isBusy = false

    init(
        id: Int64, namespace: String, router: Router, streams: [CursorStream], order: SortSpecification? = nil,
        shape: FindShape? = nil, skip: Int64 = 0, limit: Int64? = nil, executor: MergeExecution? = nil,
        database: String = ""
    ) throws(QueryError) {
        self.id = id
        self.namespace = namespace
        self.router = router
        self.streams = streams
        self.order = order
        self.shape = shape
        self.executor = executor
        self.database = database
        self.skip = skip
        remaining = limit
        usedAt = router.clock.nanoseconds
        if let order {
            for index in self.streams.indices where self.streams[index].keys.count != self.streams[index].buffer.count {
                try self.streams[index].makeKeys(order)
            }
        }
    }

    /// Whether nothing more will come, as far as is known without asking.
    var isFinished: Bool {
        if heldBack != nil { return false }
        if let tail { return tail.isFinished }
        if executor != nil { return made.isEmpty && wants == .nothing }
        return remaining == 0 || streams.allSatisfy { $0.isExhausted && $0.buffer.isEmpty }
    }

    /// The cursors that are still open at groups.
    var openStreams: [CursorStream] {
        streams.filter { !$0.isExhausted } + foreign.flatMap(\.cursor.openStreams)
    }

    /// Gathers the next documents.
    ///
    /// - Parameter batchSize: at most so many; nil for as many as a reply holds.
    func nextBatch(_ batchSize: Int?, deadline: UInt64) async throws(QueryError) -> [Document] {
        if let tail { return try await tail.nextBatch(batchSize) }
        var batch: [Document] = []
        var bytes = 0
        turnBegan = router.clock.nanoseconds
        while batch.count < batchSize ?? .max {
            let wanted = batchSize.map { $0 - batch.count }
            let next =
                if let ready = try nextAtHand() { ready } else {
                    try await nextDocument(wanted: wanted, deadline: deadline)
                }
            guard let document = next else { break }
            // One document always fits, whatever its size.
            guard batch.isEmpty || bytes + document.byteCount <= router.options.replyBytesMax else {
                heldBack = document
                break
            }
            bytes += document.byteCount + 16
            batch.append(document)
        }
        return batch
    }

    /// Looks every few documents whether the loop is wanted by others.
    private func makeWay() async throws(QueryError) {
        steps &+= 1
        if steps & 31 == 0 { try await router.makeWay(since: &turnBegan) }
    }

    private func nextDocument(wanted: Int?, deadline: UInt64) async throws(QueryError) -> Document? {
        if let document = heldBack {
            heldBack = nil
            return document
        }
        guard let executor else { return try await nextMerged(wanted: wanted, deadline: deadline) }
        while made.isEmpty, wants != .nothing {
            try await router.makeWay(since: &turnBegan)
            let input: MergeExecution.Input
            switch wants {
            case .turn, .nothing: input = .none
            case .documents: input = try await nextInput(deadline: deadline)
            case .foreign(let question): input = try await answer(question, deadline: deadline)
            }
            // A client's batch, and no more than that, so that nobody waits for what may never be asked for.
            let most = min(wanted ?? 1000, 1000)
            let step = try await router.apart(deadline: deadline) { () throws(QueryError) in
                try executor.advance(input, most: most)
            }
            made = step.documents[...]
            wants = step.needs
            closeForeign { !step.open.contains($0.number) }
        }
        return made.popFirst()
    }

    /// Some documents of the streams for the executor.
    private func nextInput(deadline: UInt64) async throws(QueryError) -> MergeExecution.Input {
        guard let first = try await nextMerged(wanted: nil, deadline: deadline) else { return .end }
        var documents = [first]
        while documents.count < 1000, streams.contains(where: { !$0.buffer.isEmpty }),
            let document = try await nextMerged(wanted: nil, deadline: deadline)
        {
            documents.append(document)
        }
        return .documents(documents)
    }

    /// Gets a stage what it needs of another collection: a piece where it takes pieces, else everything.
    private func answer(
        _ question: MergeExecution.Question, deadline: UInt64
    ) async throws(QueryError) -> MergeExecution.Input {
        guard question.takesPieces else {
            let documents = try await router.documents(
                for: question, in: database, depth: depth + 1, deadline: deadline)
            return .answer(documents, isComplete: true)
        }
        let cursor: RouterCursor
        if let open = foreign.first(where: { $0.number == question.number }) {
            cursor = open.cursor
        } else {
            cursor = try await router.cursor(for: question, in: database, depth: depth + 1, deadline: deadline)
            foreign.append(ForeignCursor(number: question.number, cursor: cursor))
        }
        let piece = try await cursor.nextBatch(1000, deadline: deadline)
        let isComplete = piece.isEmpty || cursor.isFinished
        if isComplete { closeForeign { $0.number == question.number } }
        return .answer(piece, isComplete: isComplete)
    }

    private func closeForeign(_ isDone: (ForeignCursor) -> Bool) {
        for done in foreign where isDone(done) { router.closeAtGroups(done.cursor) }
        foreign.removeAll(where: isDone)
    }

    /// The next document of the streams.
    private func nextMerged(wanted: Int?, deadline: UInt64) async throws(QueryError) -> Document? {
        while remaining != 0 {
            try await makeWay()
            guard let stream = try await nextStream(wanted: wanted, deadline: deadline) else { return nil }
            if let document = try take(from: stream) { return document }
        }
        return nil
    }

    /// The next document of the streams, if it takes no question to know which that is and nobody else waits; nil when it does, and
    /// at the end.
    private func nextAtHand() throws(QueryError) -> Document? {
        guard executor == nil, heldBack == nil else { return nil }
        while remaining != 0, steps & 31 != 31 {
            let isHungry =
                order == nil
                ? streams.first.map { $0.buffer.isEmpty } ?? true
                : streams.contains { $0.buffer.isEmpty && !$0.isExhausted }
            guard !isHungry, let stream = order == nil ? 0 : smallestStream() else { return nil }
            steps &+= 1
            if let document = try take(from: stream) { return document }
        }
        return nil
    }

    /// Takes a stream's first document; nil when that is one of those that are skipped.
    private func take(from stream: Int) throws(QueryError) -> Document? {
        let document = streams[stream].buffer.removeFirst()
        if order != nil { streams[stream].keys.removeFirst() }
        if skip > 0 {
            skip -= 1
            return nil
        }
        if let left = remaining { remaining = left - 1 }
        return try shape?.apply(document) ?? document
    }

    /// The stream whose first document comes next; nil when all are at their end.
    private func nextStream(wanted: Int?, deadline: UInt64) async throws(QueryError) -> Int? {
        guard order != nil else {
            if let index = streams.firstIndex(where: { !$0.buffer.isEmpty }) { return index }
            while let index = streams.firstIndex(where: { !$0.isExhausted }) {
                try await fill([index], wanted: wanted, deadline: deadline)
                if !streams[index].buffer.isEmpty { return index }
            }
            return nil
        }
        // To know the smallest, every stream that has more must show its first.
        while true {
            let hungry = streams.indices.filter { streams[$0].buffer.isEmpty && !streams[$0].isExhausted }
            if hungry.isEmpty { break }
            try await fill(hungry, wanted: wanted, deadline: deadline)
        }
        return smallestStream()
    }

    /// The stream whose first document comes before those of the others; the first of several.
    private func smallestStream() -> Int? {
        var best: Int?
        for index in streams.indices {
            guard let key = streams[index].keys.first else { continue }
            if let former = best, !key.lexicographicallyPrecedes(streams[former].keys.first!) { continue }
            best = index
        }
        return best
    }

    /// Asks the groups of some streams for their next batches.
    private func fill(_ indexes: [Int], wanted: Int?, deadline: UInt64) async throws(QueryError) {
        // Enough for a share of what is wanted, not more than a merge should hold of each group at a time.
        let size = min(1000, max(wanted ?? 1000, 16))
        let questions = indexes.map { index in
            Question(
                streams[index].group,
                GroupRequest(
                    .getMore, collection: .system,
                    body: ["cursor": .int64(streams[index].cursor), "batchSize": .int32(Int32(size))]),
                at: streams[index].node)
        }
        for (index, result) in zip(indexes, await router.ask(questions, deadline: deadline)) {
            switch result {
            case .success(let reply):
                streams[index].cursor = reply.openCursor
                streams[index].buffer = reply.documents[...]
                if let order { try streams[index].makeKeys(order) }
            case .failure(.error(let error)):
                throw error
            case .failure:
                // A cursor dies with the replica that held it. To end early would pass for the end of the data.
                throw QueryError(
                    .cursorNotFound,
                    "cursor id \(id) not found: node \(streams[index].node) of group \(streams[index].group) is gone")
            }
        }
    }
}

/// A cursor over another collection and the stage's question that it answers.
private struct ForeignCursor {
    let number: Int
    let cursor: RouterCursor
}

extension GroupReply {
    /// The cursor to ask for more, 0 when there is no more.
    var openCursor: Int64 {
        if body.flag("exhausted") == true { return 0 }
        switch body["cursor"] {
        case .int64(let cursor): return cursor
        case .int32(let cursor): return Int64(cursor)
        default: return 0
        }
    }
}

/// The cursors that clients hold at a router.
struct CursorTable {
    private var cursors: [Int64: RouterCursor] = [:]

    var count: Int { cursors.count }

    subscript(id: Int64) -> RouterCursor? { cursors[id] }

    /// An id that is not in use and cannot be guessed; positive, because some drivers take the sign for an error.
    func newID(random: () -> UInt64) -> Int64 {
        while true {
            let id = Int64(random() >> 1)
            if id != 0, cursors[id] == nil { return id }
        }
    }

    mutating func insert(_ cursor: RouterCursor) {
        cursors[cursor.id] = cursor
    }

    mutating func remove(_ id: Int64) -> RouterCursor? {
        cursors.removeValue(forKey: id)
    }

    mutating func removeIdle(now: UInt64, after idle: UInt64) -> [RouterCursor] {
        // Not `now - usedAt`: a cursor used after `now` was read must not underflow.
        let expired = cursors.values.filter { !$0.isBusy && $0.usedAt + idle < now }
        for cursor in expired { cursors[cursor.id] = nil }
        return expired
    }
}

extension Router {
    /// Gives out a cursor's first batch, and keeps the cursor if there is more to come.
    func firstReply(
        _ cursor: RouterCursor, batchSize: Int, isSingleBatch: Bool, deadline: UInt64
    ) async throws(QueryError) -> Document {
        let batch: [Document]
        do throws(QueryError) {
            batch = batchSize == 0 ? [] : try await cursor.nextBatch(batchSize, deadline: deadline)
        } catch {
            closeAtGroups(cursor)
            throw error
        }
        var id: Int64 = 0
        if isSingleBatch || cursor.isFinished {
            closeAtGroups(cursor)
        } else {
            guard cursors.count < options.cursorsMax else {
                closeAtGroups(cursor)
                throw QueryError(.tooManyLogicalSessions, "this router has \(cursors.count) open cursors, its limit")
            }
            cursor.usedAt = clock.nanoseconds
            cursors.insert(cursor)
            id = cursor.id
        }
        return Router.cursorReply(id: id, namespace: cursor.namespace, batch: batch, isFirst: true)
    }

    /// Tells the groups that nobody will ask for the rest.
    func closeAtGroups(_ cursor: RouterCursor) {
        for stream in cursor.openStreams { close(stream) }
    }

    func close(_ stream: CursorStream) {
        let request = GroupRequest(
            .killCursors, collection: .system, body: ["cursors": .array([.int64(stream.cursor)])])
        tell(Question(stream.group, request, at: stream.node))
    }

    /// A cursor over documents that are here already.
    func cursor(
        over documents: [Document], namespace: String, executor: MergeExecution? = nil, database: String = ""
    ) throws(QueryError) -> RouterCursor {
        try RouterCursor(
            id: cursors.newID(random: random), namespace: namespace, router: self,
            streams: [CursorStream(group: .meta, node: NodeID(rawValue: 0), cursor: 0, buffer: documents[...])],
            executor: executor, database: database)
    }

    /// How many documents the first batch of a cursor command has.
    func firstBatchSize(_ size: Int64?) -> Int {
        size.map { Int(clamping: $0) } ?? options.firstBatchDocuments
    }
}
