import CairnBSON
import CairnQuery
import CairnSharding
import Foundation
import NIOCore

/// What runs now, and how to stop it.
enum OperationCommands {
    static var all: [Command] {
        [
            .local("currentOp", "lists the operations that run on this node", currentOp),
            .local("killOp", "stops an operation by its number") { invocation, node in
                guard let number = invocation.body["op"]?.int64Exactly else {
                    throw QueryError(.badValue, "killOp takes the operation's number in 'op'")
                }
                for loop in node.siblings { await loop.killOperation(Int32(truncatingIfNeeded: number)) }
                return ["info": "attempting to kill op", "ok": .double(1)]
            },
        ]
    }

    /// Fields beside `$all` and `$ownOps` are a filter on the operations.
    private static func currentOp(_ invocation: Invocation, _ node: isolated NodeLoop) async throws -> Document {
        var conditions = DocumentBuilder()
        for element in invocation.body.dropFirst()
        where !["$all", "$ownOps", "$truncateOps"].contains(element.name.string)
            && !GenericArguments.names.contains(element.name)
        {
            conditions.append(element: element)
        }
        let filter = try Filter(parsing: conditions.finish())
        let idleConnections = invocation.body["$all"]?.isTruthy == true
        var operations: [Value] = []
        for loop in node.siblings {
            for operation in await loop.currentOperations(idleConnections: idleConnections)
            where try filter.matches(operation) {
                operations.append(.document(operation))
            }
        }
        return ["inprog": .array(BSONArray(operations)), "ok": .double(1)]
    }
}

extension NodeLoop {
    /// Describes each command that is being carried out, in the shape of `currentOp`.
    ///
    /// - Parameter idleConnections: whether connections that wait for their client's next command are among them.
    func currentOperations(idleConnections: Bool = false) -> [Document] {
        connections.values.compactMap { connection in
            guard connection.current != nil || idleConnections else { return nil }
            return describe(connection)
        }
    }

    private func describe(_ connection: ClientConnection) -> Document {
        var builder = DocumentBuilder()
        builder.append("type", "op")
        builder.append("host", "\(shared.configuration.address.client)")
        builder.append("desc", "conn\(connection.id.rawValue)")
        builder.append("connectionId", Int64(bitPattern: connection.id.rawValue))
        builder.append("client", connection.remote)
        if let name = connection.applicationName { builder.append("appName", name) }
        if let metadata = connection.clientMetadata { builder.append("clientMetadata", metadata) }
        builder.append("active", connection.current != nil)
        builder.append("currentOpTime", Date().ISO8601Format())
        guard let operation = connection.current else { return builder.finish() }
        let running = (NIODeadline.now() - operation.startedAt).nanoseconds
        let command = shared.commands[operation.name]?.name ?? operation.name
        builder.append("opid", operation.number)
        if let session = operation.command["lsid"] { builder.append("lsid", session) }
        builder.append("secs_running", running / 1_000_000_000)
        builder.append("microsecs_running", running / 1_000)
        builder.append("op", OperationRecord.kind(of: command))
        let collection: String = operation.command.first?.value.stringValue ?? "$cmd"
        builder.append("ns", "\(operation.database).\(collection)")
        builder.append("command", operation.command)
        if command == "createIndexes",
            let build = router?.indexBuilds.builds(on: "\(operation.database).\(collection)").first
        {
            let percent = build.total > 0 ? build.done * 100 / build.total : 0
            let message = "Index Build: scanning collection"
            builder.append("msg", "\(message) \(message): \(build.done)/\(build.total) \(percent)%")
            builder.appendDocument("progress") { progress in
                progress.append("done", build.done)
                progress.append("total", build.total)
            }
        }
        if connection.isKilled { builder.append("killPending", true) }
        return builder.finish()
    }

    /// Cancels the operation of that number if it runs on this loop.
    func killOperation(_ number: Int32) {
        for connection in connections.values where connection.current?.number == number {
            connection.isKilled = true
            connection.task?.cancel()
            connection.endWait()
        }
    }

    /// Notes the session of a command.
    func noteSession(of command: Document) { recentSessions.note(command, now: clock.wallMilliseconds) }

    /// Clients have ended sessions.
    func forgetSessions(_ ids: [Binary]) { for id in ids { recentSessions.end(id) } }

    /// The sessions that were used on this loop.
    func sessionDocuments() -> [Document] { recentSessions.documents(now: clock.wallMilliseconds) }
}
