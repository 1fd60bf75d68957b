import CairnBSON
import CairnDatabase
import CairnQuery

/// Commands about capped collections.
///
/// Such a collection lives in one group, because its order is one; the group drops its oldest documents as others come.
extension Router {
    /// `cloneCollectionAsCapped`.
    func cloneCollectionAsCapped(_ command: ClientCommand) async throws(QueryError) -> Document {
        let source = try namespace(of: command)
        guard let name = try command.body.string("toCollection") else {
            throw QueryError(
                .missingRequiredField,
                "BSON field 'cloneCollectionAsCapped.toCollection' is missing but a required field")
        }
        let target = try Namespace(database: command.database, collection: name)
        try refuseCatalogWrite(target)
        let size = try cappedSize(command)
        guard try await collection(source, fresh: true, deadline: command.deadline!) != nil else {
            throw QueryError(.namespaceNotFound, "cloneCollectionAsCapped source \(source) does not exist")
        }
        let limits = CappedLimits(bytes: size)
        guard try await createCapped(target, limits, deadline: command.deadline!) != nil else {
            throw QueryError(
                .namespaceExists, "cloneCollectionAsCapped failed - destination collection \(target) already exists")
        }
        do throws(QueryError) {
            try await copy(source, into: target) { () async throws(QueryError) in }
        } catch {
            _ = try? await dropCollection(target, deadline: clock.nanoseconds + options.commandNanoseconds)
            throw error
        }
        return Router.done
    }

    /// `convertToCapped`: a copy takes the collection's place, without its indexes. Meanwhile the collection takes no writes.
    func convertToCapped(_ command: ClientCommand) async throws(QueryError) -> Document {
        let source = try namespace(of: command)
        try refuseCatalogWrite(source)
        let limits = CappedLimits(bytes: try cappedSize(command))
        let sealed = try await seal(source, deadline: command.deadline!)
        do throws(QueryError) {
            let name = "tmp.convertToCapped.\(String(random(), radix: 16))"
            let temporary = try Namespace(database: source.database, collection: name)
            guard try await createCapped(temporary, limits, deadline: command.deadline!) != nil else {
                throw QueryError(.namespaceExists, "Collection \(temporary) already exists.")
            }
            do throws(QueryError) {
                var renewedAt = clock.nanoseconds
                try await copy(source, into: temporary) { () async throws(QueryError) in
                    guard clock.nanoseconds - renewedAt > 2_000_000_000 else { return }
                    renewedAt = clock.nanoseconds
                    try await renewSeal(sealed)
                }
                let deadline = clock.nanoseconds + options.commandNanoseconds
                try await replaceCollection(temporary, over: source, sealed: sealed, deadline: deadline)
            } catch {
                _ = try? await dropCollection(temporary, deadline: clock.nanoseconds + options.commandNanoseconds)
                throw error
            }
        } catch {
            try? await unseal(sealed, deadline: clock.nanoseconds + options.commandNanoseconds)
            throw error
        }
        return Router.done
    }

    private func cappedSize(_ command: ClientCommand) throws(QueryError) -> Int64 {
        guard let size = try command.body.integer("size") else {
            throw QueryError(
                .missingRequiredField, "BSON field '\(command.name).size' is missing but a required field")
        }
        return try CollectionOptions.check(size: size, "size")
    }

    private func createCapped(
        _ namespace: Namespace, _ limits: CappedLimits, deadline: UInt64
    ) async throws(QueryError) -> CollectionDescriptor? {
        if try await catalogued(namespace, fresh: true, deadline: deadline) != nil { return nil }
        let options = try CollectionOptions(creating: ["capped": true, "size": .int64(limits.bytes)])
        return try await createCollection(
            namespace, options: options.document, placement: options.placement, deadline: deadline)
    }

    /// Copies all documents in their order, as far as they fit.
    ///
    /// - Parameter afterRound: called now and then.
    private func copy(
        _ source: Namespace, into target: Namespace, afterRound: () async throws(QueryError) -> Void
    ) async throws(QueryError) {
        let arguments = AggregateArguments(stages: [], batchSize: 1000)
        let pipeline = try parse(arguments, [])
        let cursor = try await open(
            pipeline, arguments, over: source, deadline: clock.nanoseconds + options.commandNanoseconds)
        do throws(QueryError) {
            while !cursor.isFinished {
                let batch = try await cursor.nextBatch(
                    1000, deadline: clock.nanoseconds + options.commandNanoseconds)
                if batch.isEmpty { break }
                let reply = try await insert(
                    ClientCommand(
                        name: "insert", database: target.database,
                        body: ["insert": .string(BSONString(target.collection)), "bypassDocumentValidation": true],
                        sequences: [("documents", batch)],
                        deadline: clock.nanoseconds + options.commandNanoseconds))
                if let error = try reply.list("writeErrors")?.documents(of: "writeErrors").first {
                    throw QueryError(
                        ErrorCode(rawValue: Int32(clamping: try error.integer("code") ?? 1)),
                        try error.string("errmsg") ?? "a document could not be copied")
                }
                try await afterRound()
            }
        } catch {
            closeAtGroups(cursor)
            throw error
        }
        closeAtGroups(cursor)
    }
}
