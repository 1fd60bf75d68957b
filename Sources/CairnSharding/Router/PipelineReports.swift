import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// The documents of stages that are about something else than a collection's documents.
extension Router {
    /// Of a stage in a collection's pipeline.
    func documents(
        of report: PipelineReport, on namespace: Namespace, deadline: UInt64
    ) async throws(QueryError) -> [Document] {
        switch report {
        case .collectionStatistics(let scale, let count):
            return [
                try await statisticsDocument(of: namespace, storageScale: scale, count: count, deadline: deadline)
            ]
        case .indexStatistics: return try await indexUses(of: namespace, deadline: deadline)
        case .sessions(isLocal: false):
            guard namespace.description == "config.system.sessions" else {
                throw QueryError(
                    .invalidNamespace, "$listSessions may only be run against config.system.sessions")
            }
            return await reports?.sessions() ?? []
        case .sessions:
            throw QueryError(
                .invalidNamespace,
                "$listLocalSessions must be run against the database with {aggregate: 1}, not a collection")
        case .currentOperations:
            throw QueryError(
                .invalidNamespace, "$currentOp must be run against the 'admin' database with {aggregate: 1}")
        }
    }

    /// What the pipeline reads when that is made up on the spot and kept by no group; nil when it is a collection.
    func made(
        by pipeline: Pipeline, of namespace: Namespace, deadline: UInt64
    ) async throws(QueryError) -> [Document]? {
        if let report = pipeline.report { return try await documents(of: report, on: namespace, deadline: deadline) }
        return try await madeDocuments(of: namespace, deadline: deadline)
    }

    /// Of a stage in the pipeline of a database: `{aggregate: 1}`.
    func documents(of report: PipelineReport, inDatabase database: String) async throws(QueryError) -> [Document] {
        switch report {
        case .collectionStatistics, .indexStatistics, .sessions(isLocal: false):
            throw QueryError(
                .invalidNamespace, "{aggregate: 1} is not valid for '\(report.stageName)'; a collection is required.")
        case .sessions: return await reports?.sessions() ?? []
        case .currentOperations(let idleConnections):
            guard database == "admin" else {
                throw QueryError(
                    .invalidNamespace, "$currentOp must be run against the 'admin' database with {aggregate: 1}")
            }
            return await reports?.currentOperations(idleConnections: idleConnections) ?? []
        }
    }

    /// `$indexStats`: for each index and group how often the replica that leads it went by the index.
    private func indexUses(of namespace: Namespace, deadline: UInt64) async throws(QueryError) -> [Document] {
        guard let descriptor = try await collection(namespace, fresh: true, deadline: deadline) else { return [] }
        let questions = descriptor.groups.map { group in
            Question(
                GroupID(group),
                GroupRequest(
                    .statistics, collection: descriptor.id, epoch: descriptor.epoch, body: ["usage": true]), descriptor)
        }
        var specifications: [String: Document] = ["_id_": Router.idIndex]
        for index in descriptor.indexes { specifications[index.name] = Router.specification(of: index) }
        var documents: [Document] = []
        let answers = await askNoting(questions, deadline: deadline)
        do throws(CommandFailure) { _ = try answers.map(\.result).replies() } catch { throw error.queryError }
        for (group, answer) in zip(descriptor.groups, answers) {
            guard case .success(let reply) = answer.result else { continue }
            let host = layout.node(answer.node)?.clientAddress ?? ""
            for use in try reply.body.list("indexes")?.documents(of: "indexes") ?? [] {
                guard let name = try use.string("name"), let specification = specifications[name] else { continue }
                var document: Document = [
                    "name": .string(BSONString(name)), "key": specification["key"] ?? .null,
                    "host": .string(BSONString(host)),
                    "accesses": ["ops": use["ops"] ?? .int64(0), "since": use["since"] ?? .null],
                    "shard": .string(BSONString("g\(group)")), "spec": .document(specification),
                ]
                if use.flag("ready") == false { document.append("building", true) }
                documents.append(document)
            }
        }
        return documents.sorted { ($0["name"]?.stringValue ?? "") < ($1["name"]?.stringValue ?? "") }
    }
}
