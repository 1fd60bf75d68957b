import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// Carries out the commands of clients: finds out which groups a command concerns, asks them, and puts their answers
/// together as MongoDB would have answered.
///
/// It holds no socket, clock or thread: groups are reached through a ``GroupGateway``, time through a ``RouterClock``. One
/// router serves all the connections of one event loop, whose commands interleave at every `await`; it is used by nobody
/// else, so its state needs no lock. Commands of one connection may overlap; a driver sends them one by one.
///
/// What a client never sees: a leader that moved, a group between two leaders (until the command's deadline), a collection
/// that changed its epoch or was dropped and made again. Each request is repeated only where a repetition cannot act
/// twice: reads, and writes that carry a ``SessionStamp``; every write carries one, the client's or the router's own.
public final class Router {
    public private(set) var layout: ClusterLayout
    public private(set) var options: RouterOptions
    let gateway: any GroupGateway
    let clock: any RouterClock
    let random: () -> UInt64
    /// Where pipelines meet and long arguments are read, so that no other command of the loop waits for them; nil: here.
    let workers: (any ReaderPool)?
    /// Where pipelines that meet here put what does not fit into memory; nil makes that an error.
    public var spill: (any SpillStore)?

    /// What is known to the node that this router serves, if it serves one.
    public weak var reports: (any NodeReports)?

    var leaders: LeaderHints
    var shardMap = ShardMap()
    var sessions = SessionPool()
    var cursors = CursorTable()
    var settledScans = SettledScans()
    /// How far the index builds have come that commands of this router wait for.
    public internal(set) var indexBuilds = IndexBuildTable()
    /// Of the collections that changed lately, the epoch that all their groups have been told; see ``resumeCatalogWork()``.
    var installed: [CollectionID: UInt64] = [:]
    private var objectIDs: ObjectIDGenerator
    private var nextToken: UInt64

    /// - Parameter random: seeds ids of objects, cursors and sessions, which must differ between routers; unpredictable in
    ///   production, since whoever guesses a cursor's id could read it.
    public init(
        layout: ClusterLayout, gateway: any GroupGateway, clock: any RouterClock,
        options: RouterOptions = RouterOptions(), workers: (any ReaderPool)? = nil,
        random: @escaping () -> UInt64
    ) {
        self.layout = layout
        self.gateway = gateway
        self.clock = clock
        self.options = options
        self.random = random
        self.workers = workers
        leaders = LeaderHints(layout: layout)
        objectIDs = ObjectIDGenerator(seed: random())
        nextToken = random()
    }

    /// Takes a newer layout; an older one is passed over.
    public func adopt(_ layout: ClusterLayout) {
        guard layout.version > self.layout.version else { return }
        self.layout = layout
        leaders.adopt(layout)
        gateway.adopt(layout)
    }

    /// Changes after how long a cursor that nobody asks for is closed.
    public func setCursorTimeout(nanoseconds: UInt64) { options.cursorIdleNanoseconds = nanoseconds }

    /// How many cursors clients hold open.
    public var openCursors: Int { cursors.count }

    /// Whether ``run(_:)`` knows the command, so that the server's own table need not.
    public static func handles(_ commandName: String) -> Bool {
        commandNames.contains(commandName)
    }

    /// Carries out a command and returns the whole reply: `ok: 1`, or `ok: 0` with MongoDB's code and a sentence.
    public func run(_ command: ClientCommand) async -> Document {
        var command = command
        switch await runSingle(command) {
        case .reply(let reply)?: return reply
        case .startOver(let again)?: command = again
        case nil: break
        }
        do throws(QueryError) {
            if command.deadline == nil { command.deadline = clock.nanoseconds + (try commandBudget(command)) }
            try Router.refuseTransactions(command)
            do throws(QueryError) {
                return try await dispatch(command)
            } catch  where error.code == .commandNotSupportedOnView && Router.readsViews.contains(command.name) {
                // What the router took for a collection has become a view: it knows now.
                return try await dispatch(command)
            }
        } catch {
            if error.code == .hostUnreachable, command.body["maxTimeMS"]?.isTruthy == true {
                return Router.errorReply(
                    QueryError(.maxTimeMSExpired, "operation exceeded time limit: \(error.message)"))
            }
            return Router.errorReply(error, retryable: command.session != nil && Router.isRetryable(error))
        }
    }

    private func commandBudget(_ command: ClientCommand) throws(QueryError) -> UInt64 {
        guard let limit = try command.body.count("maxTimeMS"), limit > 0, command.name != "getMore" else {
            return options.commandNanoseconds
        }
        return UInt64(clamping: limit).multipliedReportingOverflow(by: 1_000_000).partialValue
    }

    private static func refuseTransactions(_ command: ClientCommand) throws(QueryError) {
        if command.body["startTransaction"] != nil || command.body["autocommit"] != nil {
            throw QueryError(
                .commandNotSupported, "transactions over several documents are not supported by this version of Cairn")
        }
    }

    /// To be called about once a second: closes cursors that nobody asks for any more.
    public func tick() {
        for cursor in cursors.removeIdle(now: clock.nanoseconds, after: options.cursorIdleNanoseconds) {
            closeAtGroups(cursor)
        }
    }

    /// A number that no other read has, of this router or of another.
    func makeToken() -> UInt64 {
        nextToken &+= 1
        return nextToken
    }

    func makeObjectID() -> ObjectID {
        objectIDs.next(seconds: UInt32(truncatingIfNeeded: clock.wallMilliseconds / 1000))
    }
}

extension Router {
    /// Every command that is answered by the groups' data or by the catalog.
    private func dispatch(_ command: ClientCommand) async throws(QueryError) -> Document {
        if let reply = try await answerFromMade(command) { return reply }
        switch command.name {
        case "insert": return try await insert(command)
        case "update": return try await update(command)
        case "delete": return try await delete(command)
        case "bulkWrite": return try await bulkWrite(command)
        case "findAndModify", "findandmodify": return try await findAndModify(command)
        case "find": return try await find(command)
        case "getMore": return try await getMore(command)
        case "killCursors": return try await killCursors(command)
        case "count": return try await count(command)
        case "distinct": return try await distinct(command)
        case "aggregate": return try await aggregate(command)
        case "explain": return try await explain(command)
        case "create": return try await create(command)
        case "drop": return try await drop(command)
        case "dropDatabase": return try await dropDatabase(command)
        case "convertToCapped": return try await convertToCapped(command)
        case "cloneCollectionAsCapped": return try await cloneCollectionAsCapped(command)
        case "renameCollection": return try await renameCollection(command)
        case "collMod": return try await collMod(command)
        case "listCollections": return try await listCollections(command)
        case "listDatabases": return try await listDatabases(command)
        case "createIndexes": return try await createIndexes(command)
        case "listIndexes": return try await listIndexes(command)
        case "dropIndexes", "deleteIndexes": return try await dropIndexes(command)
        case "collStats": return try await collectionStatistics(command)
        case "dataSize", "datasize": return try await dataSize(command)
        case "dbStats": return try await databaseStatistics(command)
        case "validate": return try await validate(command)
        default: throw QueryError(.commandNotFound, "no such command: '\(command.name)'")
        }
    }

    /// The commands that take a view for a collection.
    private static let readsViews: Set<String> = ["find", "aggregate", "count", "distinct", "explain"]

    private static let commandNames: Set<String> = [
        "insert", "update", "delete", "findAndModify", "findandmodify", "find", "getMore", "killCursors", "count",
        "distinct", "aggregate", "explain", "create", "drop", "dropDatabase", "renameCollection", "collMod",
        "listCollections", "listDatabases", "createIndexes", "listIndexes", "dropIndexes", "deleteIndexes", "collStats",
        "dbStats", "validate", "convertToCapped", "cloneCollectionAsCapped", "bulkWrite",
        "dataSize", "datasize",
    ]
}
