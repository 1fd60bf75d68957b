import CairnBSON
import CairnQuery
import CairnSimulator
import CairnStorage
import Testing

@testable import CairnDatabase

/// A group of one replica on a simulated disk, with a log that is an array.
final class TestGroup {
    let files: SimulatedFileSystem
    let directory: String
    var database: GroupDatabase
    var engine: Engine
    let background = ManualBackgroundExecutor()
    /// The payloads of the log; index i is at i - 1. An empty payload is an entry without one.
    var log: [(term: UInt64, payload: [UInt8])] = []
    var term: UInt64 = 1
    /// The wall clock.
    var now: UInt64 = 1_700_000_000_000
    /// How far the wall clock was set, which the monotonic clock does not know.
    private var wallClockSet: Int64 = 0
    var options: GroupDatabaseOptions

    static let collection = CollectionID(100)

    init(
        seed: UInt64 = 1, files: SimulatedFileSystem? = nil, directory: String = "/tablet",
        options: GroupDatabaseOptions = GroupDatabaseOptions(), engineOptions: EngineOptions = EngineOptions()
    ) throws {
        self.files = files ?? SimulatedFileSystem(seed: seed)
        self.directory = directory
        self.options = options
        self.options.documentsReadAtOnce = min(options.documentsReadAtOnce, 3)
        engine = try Engine.open(
            directory: directory, fileSystem: self.files, options: engineOptions, background: background)
        database = try GroupDatabase(engine: engine, group: 1, options: self.options)
    }

    var context: EvaluationContext {
        EvaluationContext(nowMilliseconds: now, monotonicMilliseconds: UInt64(Int64(now) - wallClockSet))
    }

    /// Lets time go by.
    func advance(_ milliseconds: UInt64) { now += milliseconds }

    /// Sets the wall clock, without any time going by.
    func setWallClock(back milliseconds: UInt64) {
        now -= milliseconds
        wallClockSet -= Int64(milliseconds)
    }

    func setWallClock(forward milliseconds: UInt64) {
        now += milliseconds
        wallClockSet += Int64(milliseconds)
    }

    // MARK: - The log

    /// Appends the first entry of a term, applies it, and begins the term.
    func lead(term: UInt64 = 1) throws {
        self.term = term
        log.append((term, []))
        try applyAll()
        database.beginTerm(term)
    }

    /// Takes what is to be proposed into the log, without applying it.
    func propose() {
        while let proposal = database.takeProposal(nowMilliseconds: now) {
            log.append((term, proposal.payload))
        }
    }

    /// Applies what the log has.
    func applyAll(to other: GroupDatabase? = nil) throws {
        let target = other ?? database
        while target.appliedIndex < UInt64(log.count) {
            let index = target.appliedIndex + 1
            let entry = log[Int(index) - 1]
            if entry.payload.isEmpty {
                try target.applyEmpty(index: index, term: entry.term)
            } else {
                try target.apply(index: index, term: entry.term, payload: entry.payload[...])
            }
        }
    }

    /// Ends the process and opens the tablet again, as a follower.
    func reopen() throws {
        database.endTerm()
        background.discardAll()
        try? engine.close()
        engine = try Engine.open(
            directory: directory, fileSystem: files, options: engine.options, background: background)
        database = try GroupDatabase(engine: engine, group: 1, options: options)
    }

    // MARK: - Requests

    func evaluate(_ request: GroupRequest) -> Evaluation { database.evaluate(request, context) }

    /// How many requests were answered; every other one may defer its reads.
    private var requests = 0

    /// Evaluates, commits what there is to commit, and returns the answer.
    func answer(_ request: GroupRequest) throws -> GroupAnswer {
        requests += 1
        var mode: ReadMode = requests % 2 == 0 ? .any : .cacheOnly
        while true {
            let evaluation = database.evaluate(request, context, mode: mode)
            if case .deferred(let read) = evaluation.outcome {
                #expect(mode == .cacheOnly && !evaluation.wrote)
                if let answer = database.conclude(read.run(), context) { return answer }
                mode = .any
                continue
            }
            now += 1
            propose()
            try applyAll()
            #expect(!database.isLeading || evaluation.restsOn <= database.appliedPosition)
            if case .answer(let answer) = evaluation.outcome { return answer }
        }
    }

    /// The reply, which must be one.
    @discardableResult
    func run(_ request: GroupRequest) throws -> GroupReply {
        switch try answer(request) {
        case .reply(let reply): return reply
        case .failure(let failure): throw failure
        }
    }

    /// The error of the request, which must have one.
    func error(_ request: GroupRequest) throws -> QueryError {
        guard case .failure(.error(let error)) = try answer(request) else {
            throw DatabaseError(.malformed, "\(request.operation) did not fail")
        }
        return error
    }

    // MARK: - A collection

    var epoch: UInt64 = 1
    var descriptor = CollectionDescriptor(
        id: TestGroup.collection, uuid: [UInt8](repeating: 7, count: 16), database: "db", name: "c",
        chunks: [Chunk(.all, group: 1)])

    /// Makes a leader with an empty collection that has these indexes.
    func start(_ indexes: [IndexDescriptor] = [], validator: Document? = nil) throws {
        try lead()
        descriptor.indexes = indexes
        descriptor.nextIndexID = (indexes.map(\.id.rawValue).max() ?? 0) + 1
        if let validator { descriptor.options = ["validator": .document(validator)] }
        try install()
    }

    func install() throws {
        epoch = descriptor.epoch
        try run(GroupRequest(.installDescriptor, collection: Self.collection, body: descriptor.document))
    }

    func addIndex(_ index: IndexDescriptor) throws {
        descriptor.epoch += 1
        descriptor.indexes.append(index)
        descriptor.nextIndexID = index.id.rawValue + 1
        try install()
    }

    func request(
        _ operation: GroupOperation, _ body: Document = Document(), _ documents: [Document] = [],
        session: SessionStamp? = nil, statements: [Int32] = []
    ) -> GroupRequest {
        GroupRequest(
            operation, collection: Self.collection, epoch: epoch, session: session, statementIDs: statements,
            body: body,
            documents: documents)
    }

    @discardableResult
    func insert(_ documents: Document...) throws -> Document { try run(request(.insert, [:], documents)).body }

    @discardableResult
    func update(_ q: Document, _ u: Value, _ more: Document = Document()) throws -> Document {
        var statement = DocumentBuilder()
        statement.append("q", q)
        statement.append("u", u)
        statement.append(elementsOf: more)
        return try run(request(.update, [:], [statement.finish()])).body
    }

    @discardableResult
    func delete(_ q: Document, limit: Int = 0) throws -> Document {
        try run(request(.delete, [:], [["q": .document(q), "limit": Value(limit)]])).body
    }

    func find(_ filter: Document, _ more: Document = Document()) throws -> [Document] {
        var body = DocumentBuilder()
        body.append("filter", filter)
        body.append("batchSize", Int32(1_000_000))
        body.append(elementsOf: more)
        return try run(request(.find, body.finish())).documents
    }

    func ids(_ filter: Document, _ more: Document = Document()) throws -> [Value] {
        try find(filter, more).compactMap { $0["_id"] }
    }

    /// The name of the plan's innermost stage, and of its index.
    func plan(_ filter: Document, _ more: Document = Document()) throws -> (stage: String, index: String?) {
        var command = DocumentBuilder()
        command.append("filter", filter)
        command.append(elementsOf: more)
        let body: Document = ["command": ["find": .document(command.finish())], "verbosity": "queryPlanner"]
        var stage = try run(request(.explain, body)).body["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument
        while let inner = stage?["inputStage"]?.asDocument { stage = inner }
        return (stage?["stage"]?.stringValue ?? "", stage?["indexName"]?.stringValue)
    }

    /// Traps the test unless every index agrees with the documents.
    func validate(_ message: String = "") throws {
        let body = try run(request(.validate)).body
        #expect(body["valid"] == true, "\(message) \(body)")
    }
}

extension IndexDescriptor {
    static func on(
        _ id: UInt16, _ key: Document, unique: Bool = false, sparse: Bool = false, partial: Document? = nil
    ) -> IndexDescriptor {
        let name = key.map { "\($0.name)_\($0.value)" }.joined(separator: "_")
        return IndexDescriptor(
            id: IndexID(id), name: name, key: key, isUnique: unique, isSparse: sparse, partialFilter: partial)
    }
}

extension GroupDatabase {
    /// A hash of every key and value of the applied state.
    func contentHash() throws -> UInt64 {
        let iterator = try engine.makeIterator(lower: nil, upper: nil)
        try iterator.seekToFirst()
        var hash: UInt64 = 0
        while iterator.isValid {
            hash = XXH64.hash(Array(iterator.key), seed: hash)
            hash = XXH64.hash(Array(iterator.value), seed: hash)
            try iterator.next()
        }
        return hash
    }
}

extension SessionStamp {
    static func test(_ session: UInt64 = 1, _ transaction: Int64) -> SessionStamp {
        SessionStamp(sessionHigh: session, sessionLow: 0, transactionNumber: transaction)
    }
}
