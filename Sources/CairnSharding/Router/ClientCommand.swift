import CairnBSON
import CairnDatabase
import CairnQuery

/// A command as a driver sent it, taken out of its message.
public struct ClientCommand: Sendable {
    /// The name of the body's first field, which names the command.
    public var name: String
    public var database: String
    public var body: Document
    /// Document sequences (OP_MSG sections of kind 1), which stand for arrays of the body.
    public var sequences: [(name: String, documents: [Document])]
    /// `lsid` and `txnNumber`, when the driver numbered a write so that it may be repeated.
    public var session: SessionStamp?
    /// The stamp of an earlier try whose client numbered nothing; see ``Router/SingleOutcome/startOver(_:)``.
    var routersStamp: SessionStamp?
    /// When to give up, by ``RouterClock/nanoseconds``; nil means the router's usual time from now.
    public var deadline: UInt64?

    public init(
        name: String, database: String, body: Document, sequences: [(name: String, documents: [Document])] = [],
        session: SessionStamp? = nil, deadline: UInt64? = nil
    ) {
        self.name = name
        self.database = database
        self.body = body
        self.sequences = sequences
        self.session = session
        self.deadline = deadline
    }

    /// Reads name, `$db`, `lsid` and `txnNumber` out of an OP_MSG's body.
    ///
    /// - Throws: what MongoDB says to a body without a command or a database.
    public init(
        body: Document, sequences: [(name: String, documents: [Document])] = [], deadline: UInt64? = nil
    ) throws(QueryError) {
        guard let first = body.first else {
            throw QueryError(.commandNotFound, "a command needs a name, and this one has no field")
        }
        guard let database = try body.string("$db") else {
            throw QueryError(.missingRequiredField, "OP_MSG requests require a $db argument")
        }
        self.init(
            name: first.name.string, database: database, body: body, sequences: sequences,
            session: try ClientCommand.session(in: body), deadline: deadline)
    }

    /// The stamp of a write that may be repeated; nil for commands that are not numbered.
    public static func session(in body: Document) throws(QueryError) -> SessionStamp? {
        guard let number = try body.integer("txnNumber") else { return nil }
        guard case .document(let session)? = body["lsid"], case .binary(let id)? = session["id"],
            let stamp = SessionStamp(session: id.data, transactionNumber: number)
        else { throw QueryError(.invalidOptions, "Transaction number requires a session ID to also be specified") }
        return stamp
    }
}
