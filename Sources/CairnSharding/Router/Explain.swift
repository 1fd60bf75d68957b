import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

extension Router {
    /// `explain`: which groups a command would ask and what each would do, in the shape of MongoDB's routers.
    func explain(_ command: ClientCommand) async throws(QueryError) -> Document {
        guard let inner = try command.body.nested("explain"), let first = inner.first else {
            throw QueryError(.typeMismatch, "BSON field 'explain.explain' must be a command")
        }
        let name = first.name.string
        guard case .string(let collectionName) = first.value else {
            throw QueryError(.invalidNamespace, "explain needs a command on a collection")
        }
        let verbosity = try command.body.string("verbosity") ?? "allPlansExecution"
        guard ["queryPlanner", "executionStats", "allPlansExecution"].contains(verbosity) else {
            throw QueryError(
                .failedToParse,
                "verbosity string must be one of {'queryPlanner', 'executionStats', 'allPlansExecution'}")
        }
        let namespace = try Namespace(database: command.database, collection: collectionName.string)
        if let view = try await view(namespace, deadline: command.deadline!) {
            guard namespace.collection != ResolvedView.systemViews else {
                throw QueryError(.commandNotSupported, "explain of \(namespace) is not supported")
            }
            return try await explain(inner, over: view, verbosity: verbosity, deadline: command.deadline!)
        }
        var arguments = inner.removing(name)
        var filter: Document
        switch name {
        case "find": filter = try inner.nested("filter") ?? Document()
        case "count", "distinct", "findAndModify", "findandmodify": filter = try inner.nested("query") ?? Document()
        case "update", "delete":
            let field = name == "update" ? "updates" : "deletes"
            guard let statements = try inner.list(field)?.documents(of: field), statements.count == 1 else {
                throw QueryError(.invalidLength, "explained write batches must be of size 1")
            }
            arguments = statements[0]
            filter = try statements[0].nested("q") ?? Document()
        case "aggregate":
            let stages = try inner.list("pipeline")?.documents(of: "pipeline") ?? []
            let pipeline = try Pipeline(
                parsing: stages, context: QueryContext(nowMilliseconds: clock.wallMilliseconds))
            guard pipeline.report == nil else {
                throw QueryError(.commandNotSupported, "explain of a pipeline that reads no documents is not supported")
            }
            filter = try pipeline.leading().filter.source
            arguments.set("pipeline", .array(BSONArray(pipeline.split().shard.map { .document($0) })))
        default:
            throw QueryError(.commandNotFound, "Explain failed due to unknown command: \(name)")
        }
        let body: Document = [
            "command": .document(Document([(name, .document(arguments))])), "verbosity": .string(BSONString(verbosity)),
        ]
        let plans = try await explainAtOwners(
            namespace, filter: filter, try arguments.nested("collation"), body: body, deadline: command.deadline!)
        return try explanation(of: inner, namespace, plans)
    }

    private func explainAtOwners(
        _ namespace: Namespace, filter: Document, _ given: Document?, body: Document, deadline: UInt64
    ) async throws(QueryError) -> [(group: UInt32, plan: Document)] {
        var retries = StaleRetries()
        var isFresh = false
        while let descriptor = try await collection(namespace, fresh: isFresh, deadline: deadline) {
            let groups = try Targeting.groups(
                for: filter, in: descriptor, try descriptor.collation(asGiven: given))
            let questions = groups.map { group in
                Question(
                    GroupID(group),
                    GroupRequest(.explain, collection: descriptor.id, epoch: descriptor.epoch, body: body), descriptor)
            }
            do throws(CommandFailure) {
                let replies = try await ask(questions, deadline: deadline).replies()
                return zip(groups, replies).map { ($0, $1.body) }
            } catch {
                guard case .stale = error else { throw error.queryError }
                try await retries.next(self, deadline: deadline)
                isFresh = true
            }
        }
        return []
    }

    private func explanation(
        of command: Document, _ namespace: Namespace, _ plans: [(group: UInt32, plan: Document)]
    ) throws(QueryError) -> Document {
        var builder = DocumentBuilder()
        if plans.isEmpty {
            builder.append(
                "queryPlanner",
                [
                    "namespace": .string(BSONString(namespace.description)), "winningPlan": ["stage": "EOF"],
                    "rejectedPlans": [],
                ])
        } else if plans.count == 1 {
            let plan = plans[0].plan
            for element in plan where element.name != "ok" { builder.append(element: element) }
            builder.append("shard", .string(BSONString("g\(plans[0].group)")))
        } else {
            let isSorted = (try? command.nested("sort"))?.flatMap { $0 }?.isEmpty == false
            let stage: Value = isSorted ? "SHARD_MERGE_SORT" : "SHARD_MERGE"
            var shards: [Value] = []
            var executions: [Value] = []
            var totals: [(name: String, sum: Int64)] = [
                ("nReturned", 0), ("executionTimeMillis", 0), ("totalKeysExamined", 0), ("totalDocsExamined", 0),
            ]
            for (group, plan) in plans {
                let name: Value = .string(BSONString("g\(group)"))
                if let planner = try plan.nested("queryPlanner") {
                    shards.append(.document(planner.prepending("shardName", name)))
                }
                if let statistics = try plan.nested("executionStats") {
                    executions.append(.document(statistics.prepending("shardName", name)))
                    for index in totals.indices { totals[index].sum += try statistics.integer(totals[index].name) ?? 0 }
                }
            }
            builder.append(
                "queryPlanner",
                [
                    "mongosPlannerVersion": 1, "namespace": .string(BSONString(namespace.description)),
                    "winningPlan": ["stage": stage, "shards": .array(BSONArray(shards))],
                ])
            if !executions.isEmpty {
                var statistics = Document(totals.map { ($0.name, Router.number($0.sum)) })
                statistics.set("executionSuccess", .bool(true))
                statistics.set("executionStages", ["stage": stage, "shards": .array(BSONArray(executions))])
                builder.append("executionStats", .document(statistics))
            }
        }
        builder.append("command", .document(command))
        builder.append("ok", .double(1))
        return builder.finish()
    }
}
