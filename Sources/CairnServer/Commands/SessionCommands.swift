import CairnBSON
import CairnQuery

/// Logical sessions: an id that the client chooses or is given. What a session has done stands with the data that it
/// changed, so starting one costs nothing and ending one only frees what its retries would have needed.
enum SessionCommands {
    static var all: [Command] {
        [
            .local("startSession", "makes a session id") { _, node in
                [
                    "id": ["id": .binary(Binary(node.randomUUID(), subtype: .uuid))],
                    "timeoutMinutes": .int32(30), "ok": .double(1),
                ]
            },
            .local("endSessions", "ends sessions") { invocation, node in
                let reply = try acknowledged(invocation)
                let ids = (invocation.argument?.asArray ?? []).compactMap { $0.asDocument?["id"]?.asBinary }
                for loop in node.siblings { await loop.forgetSessions(ids) }
                return reply
            },
            .local("refreshSessions", "keeps sessions alive") { invocation, _ in try acknowledged(invocation) },
            .local("killSessions", "ends sessions and what runs in them") { invocation, _ in
                try acknowledged(invocation)
            },
        ]
    }

    private static func acknowledged(_ invocation: Invocation) throws -> Document {
        guard case .array(let sessions)? = invocation.argument else {
            throw QueryError(.typeMismatch, "\(invocation.name) takes an array of session ids")
        }
        for session in sessions {
            guard case .document(let id) = session, case .binary(let uuid)? = id["id"], uuid.data.count == 16 else {
                throw QueryError(.typeMismatch, "a session id is a document {id: <UUID>}")
            }
        }
        return ["ok": .double(1)]
    }
}
