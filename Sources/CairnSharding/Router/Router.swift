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
    public let layout: ClusterLayout
    public let options: RouterOptions
    let gateway: any GroupGateway
    let clock: any RouterClock
    let random: () -> UInt64

    var leaders: LeaderHints
    var shardMap = ShardMap()
    var sessions = SessionPool()
    var cursors = CursorTable()
    private var objectIDs: ObjectIDGenerator

    /// - Parameter random: seeds ids of objects, cursors and sessions, which must differ between routers; unpredictable in
    ///   production, since whoever guesses a cursor's id could read it.
    public init(
        layout: ClusterLayout, gateway: any GroupGateway, clock: any RouterClock,
        options: RouterOptions = RouterOptions(), random: @escaping () -> UInt64
    ) {
        self.layout = layout
        self.gateway = gateway
        self.clock = clock
        self.options = options
        self.random = random
        leaders = LeaderHints(layout: layout)
        objectIDs = ObjectIDGenerator(seed: random())
    }

    /// How many cursors clients hold open.
    public var openCursors: Int { cursors.count }

    /// Whether ``run(_:)`` knows the command, so that the server's own table need not.
    public static func handles(_ commandName: String) -> Bool {
        handlers[commandName] != nil
    }

    /// Carries out a command and returns the whole reply: `ok: 1`, or `ok: 0` with MongoDB's code and a sentence.
    public func run(_ command: ClientCommand) async -> Document {
        guard let handler = Router.handlers[command.name] else {
            return Router.errorReply(QueryError(.commandNotFound, "no such command: '\(command.name)'"))
        }
        var command = command
        do throws(QueryError) {
            if command.deadline == nil { command.deadline = clock.nanoseconds + (try commandBudget(command)) }
            try Router.refuseTransactions(command)
            return try await handler(self)(command)
        } catch {
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

    func makeObjectID() -> ObjectID {
        objectIDs.next(seconds: UInt32(truncatingIfNeeded: clock.wallMilliseconds / 1000))
    }
}

extension Router {
    typealias Handler = @Sendable (Router) -> (ClientCommand) async throws(QueryError) -> Document

    /// Every command that is answered by the groups' data or by the catalog.
    private static let handlers: [String: Handler] = [
        "insert": Router.insert,
        "update": Router.update,
        "delete": Router.delete,
        "findAndModify": Router.findAndModify,
        "findandmodify": Router.findAndModify,
        "find": Router.find,
        "getMore": Router.getMore,
        "killCursors": Router.killCursors,
        "count": Router.count,
        "distinct": Router.distinct,
        "create": Router.create,
        "drop": Router.drop,
        "dropDatabase": Router.dropDatabase,
        "renameCollection": Router.renameCollection,
        "collMod": Router.collMod,
        "listCollections": Router.listCollections,
        "listDatabases": Router.listDatabases,
        "createIndexes": Router.createIndexes,
        "listIndexes": Router.listIndexes,
        "dropIndexes": Router.dropIndexes,
        "deleteIndexes": Router.dropIndexes,
        "collStats": Router.collectionStatistics,
        "dbStats": Router.databaseStatistics,
        "validate": Router.validate,
    ]
}
