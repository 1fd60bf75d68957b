import CairnBSON
import CairnQuery
import NIOCore

/// What runs now, and how to stop it.
enum OperationCommands {
    static var all: [Command] {
        [
            .local("currentOp", "lists the operations that run on this node") { _, node in
                var operations: [Value] = []
                for loop in node.siblings { operations += await loop.currentOperations() }
                return ["inprog": .array(BSONArray(operations)), "ok": .double(1)]
            },
            .local("killOp", "stops an operation by its number") { invocation, node in
                guard let number = invocation.body["op"]?.int64Exactly else {
                    throw QueryError(.badValue, "killOp takes the operation's number in 'op'")
                }
                for loop in node.siblings { await loop.killOperation(Int32(truncatingIfNeeded: number)) }
                return ["info": "attempting to kill op", "ok": .double(1)]
            },
        ]
    }
}

extension NodeLoop {
    /// Describes each command that is being carried out, in the shape of `currentOp`.
    func currentOperations() -> [Value] {
        connections.values.compactMap { connection in
            guard let operation = connection.current else { return nil }
            let running = NIODeadline.now() - operation.startedAt
            let collection: String = operation.command[operation.name]?.stringValue ?? "$cmd"
            return .document([
                "type": "op", "opid": .int32(operation.number), "active": .bool(true), "op": "command",
                "connectionId": .int64(Int64(connection.id.rawValue)), "client": .string(BSONString(connection.remote)),
                "ns": .string(BSONString("\(operation.database).\(collection)")),
                "command": .document(operation.command),
                "microsecs_running": .int64(running.nanoseconds / 1_000),
                "secs_running": .int64(running.nanoseconds / 1_000_000_000),
            ])
        }
    }

    /// Cancels the operation of that number if it runs on this loop.
    func killOperation(_ number: Int32) {
        for connection in connections.values where connection.current?.number == number { connection.task?.cancel() }
    }
}
