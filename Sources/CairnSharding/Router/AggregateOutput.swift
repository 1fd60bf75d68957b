import CairnBSON
import CairnDatabase
import CairnQuery

/// `$out` and `$merge`: results of a pipeline that are written instead of given to the client.
///
/// Both write through `insert` and `update`, so that what they store is placed, replicated and checked as a client's writes
/// are. The pipeline reads at one version, so a target that is also the source is read as it was before.
///
/// **`$merge`** changes document by document, as its results come: a reader sees some of them before others, and an error
/// leaves what was written before it.
///
/// **`$out`** fills a collection of its own, `tmp.agg_out.…`, with the options and indexes of the target, and then gives it the
/// target's name in one step of the catalog (``replaceCollection(_:over:since:deadline:)``). A reader sees the old documents
/// until then and the new ones after; an error before that leaves the target as it was.
extension Router {
    /// Runs a pipeline to its end and writes what it gives.
    func write(
        _ cursor: RouterCursor, to output: PipelineOutput, for command: ClientCommand
    ) async throws(QueryError) -> Document {
        // A client that gave no limit waits as long as writing goes forward: each round has a command's time.
        let isLimited = command.body["maxTimeMS"]?.isTruthy == true
        let writer = OutputWriter(router: self, fixedDeadline: isLimited ? command.deadline : nil)
        do throws(QueryError) {
            switch output {
            case .merge(let merge):
                let target = try Namespace(
                    database: merge.database ?? command.database, collection: merge.collection)
                try await writer.merge(cursor, into: target, merge)
            case .replace(let database, let collection):
                let target = try Namespace(database: database ?? command.database, collection: collection)
                try await writer.replace(target, with: cursor)
            }
        } catch {
            closeAtGroups(cursor)
            throw error
        }
        closeAtGroups(cursor)
        return Router.cursorReply(id: 0, namespace: cursor.namespace, batch: [], isFirst: true)
    }
}

/// Carries one pipeline's results to their collection.
private struct OutputWriter {
    /// Results of one round of writing.
    private static let roundDocuments = 1000
    private static let roundBytesMax = 4 << 20

    let router: Router
    let fixedDeadline: UInt64?

    private var deadline: UInt64 { fixedDeadline ?? router.clock.nanoseconds + router.options.commandNanoseconds }

    /// Calls `body` with some results at a time, in order.
    private func rounds(
        of cursor: RouterCursor, _ body: ([Document]) async throws(QueryError) -> Void
    ) async throws(QueryError) {
        while !cursor.isFinished {
            let batch = try await cursor.nextBatch(Self.roundDocuments, deadline: deadline)
            if batch.isEmpty { break }
            var start = 0
            while start < batch.count {
                var end = start
                var bytes = 0
                while end < batch.count, end == start || bytes + batch[end].byteCount <= Self.roundBytesMax {
                    bytes += batch[end].byteCount
                    end += 1
                }
                try await body(Array(batch[start..<end]))
                start = end
            }
        }
    }

    // MARK: $merge

    func merge(
        _ cursor: RouterCursor, into target: Namespace, _ merge: MergeSpecification
    ) async throws(QueryError) {
        try router.refuseCatalogWrite(target)
        try await checkUnique(merge.on, in: target)
        try await rounds(of: cursor) { (results) async throws(QueryError) in
            var results = results
            if merge.on.contains("_id") {
                for index in results.indices where results[index]["_id"] == nil {
                    results[index] = results[index].prepending("_id", .objectID(router.makeObjectID()))
                }
            }
            if merge.isInsert { return try await insert(results, into: target) }
            var statements: [Document] = []
            for result in results { statements.append(try merge.statement(for: result)) }
            let reply = try await router.update(
                command("update", target, ("updates", statements)))
            if let error = try writeError(reply) {
                guard error.code == .immutableField else { throw error }
                throw QueryError(
                    error.code,
                    "$merge failed to update the matching document, did you attempt to modify the _id or the shard key? "
                        + ":: caused by :: \(error.message)")
            }
            if merge.demandsMatch, try reply.integer("n") != Int64(results.count) {
                throw QueryError(
                    .mergeStageNoMatchingDocument,
                    "$merge could not find a matching document in the target collection for at least one document in the "
                        + "source collection")
            }
        }
    }

    /// - Throws: code 51183 unless an index keeps the fields unique, so that a result can meet one document at most.
    private func checkUnique(_ fields: [String], in target: Namespace) async throws(QueryError) {
        if fields == ["_id"] { return }
        let descriptor = try await router.collection(target, fresh: true, deadline: deadline)
        let isUnique = descriptor?.indexes.contains { index in
            index.isUnique && index.partialFilter == nil && Set(index.key.names.map(\.string)) == Set(fields)
        }
        guard isUnique == true else {
            throw QueryError(ErrorCode(51183), "Cannot find index to verify that join fields will be unique")
        }
    }

    // MARK: $out

    func replace(_ target: Namespace, with cursor: RouterCursor) async throws(QueryError) {
        try router.refuseCatalogWrite(target)
        let model = try await router.collection(target, fresh: true, deadline: deadline)
        if model?.cappedLimits != nil {
            throw QueryError(ErrorCode(17152), "namespace '\(target)' is capped so it can't be used for $out")
        }
        let name = "tmp.agg_out.\(String(router.random(), radix: 16))"
        let temporary = try Namespace(database: target.database, collection: name)
        guard
            try await router.createCollection(
                temporary, options: model?.options ?? Document(), placement: model?.placement ?? .spread,
                deadline: deadline) != nil
        else { throw QueryError(.namespaceExists, "Collection \(temporary) already exists.") }
        do throws(QueryError) {
            if let model, !model.indexes.isEmpty {
                _ = try await router.createIndexes(
                    ClientCommand(
                        name: "createIndexes", database: temporary.database,
                        body: [
                            "createIndexes": .text(temporary.collection),
                            "indexes": .array(BSONArray(model.indexes.map { .document(Router.specification(of: $0)) })),
                        ], deadline: deadline))
            }
            try await rounds(of: cursor) { (results) async throws(QueryError) in
                try await insert(results, into: temporary)
            }
            try await router.replaceCollection(temporary, over: target, since: model, deadline: deadline)
        } catch {
            // What cannot be dropped now stays behind under its telling name.
            _ = try? await router.dropCollection(temporary, deadline: deadline)
            throw error
        }
    }

    // MARK: Writing

    private func insert(_ documents: [Document], into target: Namespace) async throws(QueryError) {
        let reply = try await router.insert(command("insert", target, ("documents", documents)))
        if let error = try writeError(reply) { throw error }
    }

    private func command(
        _ name: String, _ target: Namespace, _ sequence: (name: String, documents: [Document])
    ) -> ClientCommand {
        ClientCommand(
            name: name, database: target.database, body: [name: .text(target.collection), "ordered": false],
            sequences: [sequence], deadline: deadline)
    }

    private func writeError(_ reply: Document) throws(QueryError) -> QueryError? {
        guard let error = try reply.list("writeErrors")?.documents(of: "writeErrors").first else { return nil }
        let code = ErrorCode(rawValue: Int32(clamping: try error.integer("code") ?? 1))
        var details = DocumentBuilder()
        for name in ["keyPattern", "keyValue", "errInfo"] {
            if let value = error[name] { details.append(name, value) }
        }
        return QueryError(
            code, try error.string("errmsg") ?? "the write failed",
            details: details.isEmpty ? nil : details.finish())
    }
}
