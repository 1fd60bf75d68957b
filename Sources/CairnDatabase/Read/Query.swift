import CairnBSON
import CairnQuery
import CairnStorage

/// A read of one collection, with all that its answer depends on, so that it can run on any thread.
struct Query: Sendable {
    let engine: Engine
    let group: UInt32
    let options: GroupDatabaseOptions
    let collection: CollectionState
    let request: GroupRequest
    let context: EvaluationContext
    /// What it sees; nil is the newest state, for as long as nothing is applied.
    var version: Version?

    /// Until which version the newest state will have been what it saw; nil when nobody asked, or that is not known.
    var settled: Version?

    /// Whether it runs where queries run that need long.
    var isLong = false
    /// The limit under which it reads memory only and so many documents; nil for as much as it takes.
    var documentsMax: Int?
    /// Raised when nobody waits for the answer any more.
    let interruption = Interruption()
    /// Whether it was tried before, within a limit that did not suffice.
    var isRepeated = false

    /// Carries the query out.
    ///
    /// - Throws: ``ReadLimit/Reached`` or a `wouldNeedDisk` when the limit does not suffice; ``QueryError``, ``GroupFailure``
    ///   and ``StorageError`` as the answer to the request.
    func run() throws -> QueryResult {
        switch request.operation {
        case .find: return try find()
        case .aggregate: return try aggregate()
        case .count: return .reply(try count())
        case .distinct: return .reply(try distinct())
        case .explain: return .reply(try explain())
        case .statistics: return .reply(try statistics())
        case .validate: return .reply(try validate())
        default: preconditionFailure("\(request.operation) is no query")
        }
    }

    /// What the query sees, which stays the same while writes go on.
    func makeView() -> sending ReadView {
        let limit =
            documentsMax.map { ReadLimit(documents: $0, isMetered: true) }
            ?? ReadLimit(mayUseDisk: true, isMetered: true)
        return ReadView(engine: engine, version: seen, limit: limit)
    }

    /// The version that the query sees.
    var seen: Version { version ?? engine.lastVersion }

    func queryContext(_ variables: Document? = nil) -> QueryContext {
        var made = QueryContext(
            nowMilliseconds: Int64(clamping: context.nowMilliseconds),
            variables: variables.map { $0.map { ($0.name.string, $0.value) } } ?? [],
            randomSeed: context.nowMilliseconds &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(group))
        // As MongoDB's `allowDiskUseByDefault`.
        if request.body["allowDiskUse"]?.isTruthy ?? true { made.spill = options.spill }
        made.sortBytesMax = options.stageMemory.sortBytesMax
        made.groupBytesMax = options.stageMemory.groupBytesMax
        made.memory = MemoryAccount(bytesMax: options.queryBytesMax, parent: options.queryMemory)
        return made
    }

    /// Notes which indexes the query goes by, once however often it is tried.
    func noteUse(of plan: Plan) {
        if !isRepeated { plan.access.noteUse(of: collection, now: context.nowMilliseconds) }
    }
}

/// What a query found.
enum QueryResult: Sendable {
    case reply(GroupReply)
    /// The first documents, and the cursor that has the others, if there are any and they are wanted.
    case firstBatch([Document], OpenCursor?, version: Version)
}

extension GroupOperation {
    /// Whether the operation looks at all of a collection, whatever it asks for.
    var scansEverything: Bool { self == .statistics || self == .validate }
}
