import CairnBSON
import CairnSharding
import Logging
import NIOCore

/// Admits so many a second.
struct PlanQuestions {
    let perSecond: Int
    private var second: UInt64 = 0
    private var admitted = 0

    init(perSecond: Int) { self.perSecond = perSecond }

    /// - Parameter now: nanoseconds of a clock that never jumps.
    mutating func admit(now: UInt64) -> Bool {
        let current = now / 1_000_000_000
        if current != second { (second, admitted) = (current, 0) }
        guard admitted < perSecond else { return false }
        admitted += 1
        return true
    }
}

extension NodeLoop {
    /// Writes an operation down where it is slow or its database is profiled.
    func profile(
        _ request: ClientRequest, _ command: Command, reply: Document, since start: NIODeadline,
        on connection: ClientConnection
    ) async {
        let elapsed = (NIODeadline.now() - start).nanoseconds
        if command.isRouted, case let namespace = request.recordedNamespace(command.name), !namespace.hasSuffix("$cmd")
        {
            collectionUses.note(namespace, .init(command: command.name), microseconds: elapsed / 1_000)
        }
        guard let interest = shared.profiler.interest(in: request.database, nanoseconds: elapsed),
            // It waits on purpose, or is no use of the database.
            !["hello", "isMaster", "profile"].contains(command.name)
        else { return }
        // When everything is slow, asking for plans must not make it slower.
        let asksForPlan = interest.isRecorded || planQuestions.admit(now: clock.nanoseconds)
        let record = OperationRecord.make(
            request, command: command.name, reply: reply, on: connection, milliseconds: elapsed / 1_000_000,
            endedAt: clock.wallMilliseconds, planSummary: asksForPlan ? await planSummary(of: request, command) : nil)
        guard shared.profiler.add(record, of: request.database, interest) else { return }
        shared.logger.info(
            "slow operation",
            metadata: [
                "ns": "\(request.recordedNamespace(command.name))", "durationMillis": "\(elapsed / 1_000_000)",
                "planSummary": "\(record["planSummary"]?.stringValue ?? "-")",
                "command": "\("\(record["command"] ?? .null)".prefix(2_000))", "client": "\(connection.remote)",
            ])
    }

    /// How the groups would find the documents of such a command now, which is as they did unless an index came or went meanwhile.
    private func planSummary(of request: ClientRequest, _ command: Command) async -> String? {
        guard ["find", "aggregate", "count", "distinct", "findAndModify", "update", "delete"].contains(command.name),
            let namespace = request.namespace, let router,
            // Documents that are made when they are asked for are not found by a plan.
            request.database != "config", !namespace.hasSuffix(".system.profile")
        else { return nil }
        var inner = request.body
        for sequence in request.sequences {
            guard sequence.documents.count == 1 else { return nil }
            inner.append(sequence.name, .array(BSONArray(sequence.documents.map { .document($0) })))
        }
        let explained = await router.run(
            ClientCommand(
                name: "explain", database: request.database,
                body: ["explain": .document(inner), "verbosity": "queryPlanner"],
                deadline: clock.nanoseconds + 1_000_000_000))
        return PlanSummary.text(of: explained)
    }
}
