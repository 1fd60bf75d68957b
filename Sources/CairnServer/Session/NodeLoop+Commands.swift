import CairnBSON
import CairnQuery
import CairnSharding
import CairnWire
import NIOCore

// From a client's request to its answer: what every command has in common is done here, once.
extension NodeLoop {
    /// - Returns: nil when the connection is to end without an answer.
    func run(_ request: ClientRequest, on connection: ClientConnection) async -> Document? {
        guard let command = shared.commands[request.name] else {
            return Router.errorReply(QueryError(.commandNotFound, "no such command: '\(request.name)'"))
        }
        shared.counters.count(
            command.name, documents: request.sequences.first?.documents.count ?? 1)
        let generic: GenericArguments
        do throws(QueryError) {
            generic = try GenericArguments(request.body)
            try generic.checkStability(of: request.name, command.fields)
            try command.fields?.check(
                request.body, request.sequences, of: command.name, isStrict: generic.isStrict)
        } catch {
            return Router.errorReply(error)
        }
        if generic.wantsHelp {
            return ["help": .string(BSONString("help for: \(command.name) \(command.help)")), "ok": .double(1)]
        }
        noteSession(of: request.body)
        let isRetryableWrite = command.isWrite && request.body["txnNumber"] != nil
        let plan = shared.failPoints.plan(
            for: [command.name, request.name], applicationName: connection.applicationName,
            namespace: request.namespace)
        if let plan {
            await pause(milliseconds: plan.blockMilliseconds, on: connection)
            if plan.closesConnection { return nil }
            if let error = plan.error(isRetryableWrite: isRetryableWrite) { return error }
        }
        let start = NIODeadline.now()
        var reply = await carryOut(command, request, on: connection)
        await profile(request, command, reply: reply, since: start, on: connection)
        if command.isWrite, let shortfall = generic.writeConcern?.shortfall(replicas: shared.layout.replicas),
            reply["ok"]?.isTruthy == true
        {
            reply.set("writeConcernError", .document(shortfall))
        }
        if let plan, reply["ok"]?.isTruthy == true {
            return plan.amend(reply, isRetryableWrite: isRetryableWrite)
        }
        return isRetryableWrite ? ErrorLabels.label(reply, isRetryableWrite: true) : reply
    }

    private func carryOut(
        _ command: Command, _ request: ClientRequest, on connection: ClientConnection
    ) async -> Document {
        switch command.action {
        case .routed:
            guard let router else { return Router.errorReply(QueryError(.shutdownInProgress, "the node is starting")) }
            let routed: ClientCommand
            do throws(QueryError) {
                routed = try ClientCommand(
                    body: request.body, sequences: request.sequences.map { ($0.name, $0.documents) })
            } catch {
                return Router.errorReply(error)
            }
            let reply = await router.run(routed)
            if case .int32(let count)? = reply["n"] { connection.lastWriteCount = count }
            return reply
        case .local(let action):
            let invocation = Invocation(
                name: command.name, database: request.database, body: request.body, sequences: request.sequences,
                connection: connection)
            do { return try await action(invocation, self) } catch let error as QueryError {
                return Router.errorReply(error)
            } catch {
                return Router.errorReply(QueryError(.internalError, "\(error)"))
            }
        }
    }
}

extension ClientRequest {
    /// `database.collection` when the command's own field names a collection.
    var namespace: String? {
        if case .string(let collection)? = body.first?.value { "\(database).\(collection)" } else { nil }
    }
}
