import CairnBSON
import CairnQuery
import CairnWire

/// One command of a client, as it came.
struct Invocation {
    let name: String
    let database: String
    let body: Document
    let sequences: [OpMsg.Sequence]
    let connection: ClientConnection

    /// The value of the command's own field: a collection name, a number, or nothing of interest.
    var argument: Value? { body[name] }
}

/// What a command does, where it is carried out, and what `listCommands` says of it.
struct Command: Sendable {
    enum Action: Sendable {
        /// Answered by this node alone.
        case local(@Sendable (Invocation, isolated NodeLoop) async throws -> Document)
        /// Routed to the groups that own the data.
        case routed
    }

    let name: String
    let help: String
    let action: Action
    /// The fields that it takes; nil for a command that has not declared any, whose fields are not looked at.
    let fields: CommandFields?
    /// Whether it may change documents, so that a driver may number it and send it again.
    let isWrite: Bool
    /// Whether groups answer it.
    var isRouted: Bool { if case .routed = action { true } else { false } }

    private static let writes: Set<String> = ["insert", "update", "delete", "findAndModify", "bulkWrite"]

    private init(_ name: String, _ help: String, _ action: Action) {
        self.name = name
        self.help = help
        self.action = action
        fields = CommandFields.all[name]
        isWrite = Self.writes.contains(name)
    }

    static func local(
        _ name: String, _ help: String,
        _ run: @escaping @Sendable (Invocation, isolated NodeLoop) async throws -> Document
    ) -> Command {
        Command(name, help, .local(run))
    }

    static func routed(_ name: String, _ help: String) -> Command {
        Command(name, help, .routed)
    }
}

/// Every command that Cairn knows, by its name in lower case and by its old spellings.
struct CommandTable: Sendable {
    let commands: [Command]
    private let byName: [String: Int]

    /// - Parameter includesTestCommands: whether commands that break things on purpose are among them.
    init(includesTestCommands: Bool = false) {
        commands =
            [
                HelloCommand.all, DiagnosticCommands.all, SessionCommands.all, OperationCommands.all,
                ClusterCommands.all, NodeCommands.all, ProfileCommand.all, ServerParameters.commands,
                InventoryCommands.all, Self.routed,
            ].flatMap { $0 } + (includesTestCommands ? FailPointCommand.all : [])
        var byName: [String: Int] = [:]
        for (index, command) in commands.enumerated() {
            byName[command.name] = index
            byName[command.name.lowercased()] = index
        }
        self.byName = byName
    }

    subscript(name: String) -> Command? { byName[name].map { commands[$0] } }

    private static let routed: [Command] = [
        .routed("insert", "inserts documents"),
        .routed("update", "updates documents"),
        .routed("delete", "deletes documents"),
        .routed("bulkWrite", "inserts, updates and deletes documents in several collections"),
        .routed("findAndModify", "changes one document and returns it"),
        .routed("find", "finds documents"),
        .routed("getMore", "returns a cursor's next batch"),
        .routed("killCursors", "closes cursors"),
        .routed("count", "counts documents"),
        .routed("distinct", "lists the distinct values of a field"),
        .routed("aggregate", "runs a pipeline"),
        .routed("explain", "says how a command would be carried out"),
        .routed("create", "creates a collection"),
        .routed("drop", "drops a collection"),
        .routed("dropDatabase", "drops a database"),
        .routed("renameCollection", "renames a collection"),
        .routed("convertToCapped", "makes a collection capped"),
        .routed("cloneCollectionAsCapped", "copies a collection into a capped one"),
        .routed("collMod", "changes a collection's validator, or what one of its indexes does"),
        .routed("listCollections", "lists the collections of a database"),
        .routed("listDatabases", "lists the databases"),
        .routed("createIndexes", "creates indexes"),
        .routed("listIndexes", "lists the indexes of a collection"),
        .routed("dropIndexes", "drops indexes"),
        .routed("collStats", "statistics of a collection"),
        .routed("validate", "compares a collection's indexes with its documents"),
        .routed("dataSize", "the size of a collection's documents, or of those between two keys"),
        .routed("dbStats", "statistics of a database"),
    ]
}
