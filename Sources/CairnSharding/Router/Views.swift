import CairnBSON
import CairnDatabase
import CairnQuery

/// Views: made, changed and dropped in the catalog alone.
extension Router {
    /// Options of `create` that a view may have besides `viewOn` and those that are ignored.
    private static let viewOptions: Set<String> = ["viewOn", "pipeline", "collation", "comment"]

    /// `create` with `viewOn`.
    func createView(_ namespace: Namespace, _ command: ClientCommand) async throws(QueryError) -> Document {
        for element in command.body {
            let name = element.name.string
            guard Router.viewOptions.contains(name) || Router.ignoredOptions.contains(name) else {
                let isKnown = Router.collectionOptions.contains(name)
                throw isKnown
                    ? QueryError(.invalidOptions, "the option '\(name)' cannot be given for a view")
                    : QueryError(.unknownField, "BSON field 'create.\(name)' is an unknown field.")
            }
        }
        let definition = try ViewDefinition(
            source: try viewSource(command.body, "create.viewOn")!,
            pipeline: try command.body.list("pipeline")?.documents(of: "pipeline") ?? [],
            collation: try command.body.nested("collation").flatMap { (given) throws(QueryError) in
                try Collation.parse(given)
            })
        let deadline = command.deadline!
        var retries = StaleRetries()
        while true {
            if let existing = try await catalogued(namespace, fresh: true, deadline: deadline) {
                guard existing.options == definition.options else {
                    throw QueryError(.namespaceExists, "Namespace \(namespace) already exists")
                }
                return Router.done
            }
            try await check(definition, as: namespace, deadline: deadline)
            if try await createCollection(
                namespace, options: definition.options, chunks: ShardMap.whole(in: ShardMap.nobody), deadline: deadline)
                != nil
            {
                return Router.done
            }
            try await retries.next(self, deadline: deadline)
        }
    }

    /// `collMod` of a view.
    func changeView(_ namespace: Namespace, _ command: ClientCommand) async throws(QueryError) -> Document {
        for element in command.body {
            let name = element.name.string
            guard ["collMod", "viewOn", "pipeline", "comment"].contains(name) || Router.ignoredOptions.contains(name)
            else { throw QueryError(.invalidOptions, "option not supported on a view: \(name)") }
        }
        let deadline = command.deadline!
        let source = try viewSource(command.body, "collMod.viewOn")
        let pipeline = try command.body.list("pipeline")?.documents(of: "pipeline")
        var retries = StaleRetries()
        while let current = try await catalogued(namespace, fresh: true, deadline: deadline) {
            guard let former = try ViewDefinition(current) else {
                throw QueryError(.invalidOptions, "option only supported on a view: viewOn")
            }
            let definition = try ViewDefinition(
                source: source ?? former.source, pipeline: pipeline ?? former.pipeline, collation: former.collation)
            guard definition.options != current.options else { return Router.done }
            try await check(definition, as: namespace, deadline: deadline)
            var changed = current
            changed.epoch += 1
            changed.options = definition.options
            let entry = CatalogEntry(changed, since: clock.wallMilliseconds)
            if try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) { return Router.done }
            try await retries.next(self, deadline: deadline)
        }
        throw QueryError(.namespaceNotFound, "ns does not exist: \(namespace)")
    }

    /// Takes a view out of the catalog, unless somebody changed it meanwhile.
    func removeView(_ view: CollectionDescriptor, deadline: UInt64) async throws(QueryError) -> Bool {
        let statement: Document = [
            "q": ["_id": .int64(Int64(view.id.rawValue)), "epoch": .int64(Int64(bitPattern: view.epoch))], "limit": 1,
        ]
        let reply = try await askCatalog(
            .delete, CatalogCollections.collections, documents: [statement], deadline: deadline)
        if let error = try firstWriteError(reply) { throw error }
        return try reply.body.integer("n") == 1
    }

    private func viewSource(_ body: Document, _ field: String) throws(QueryError) -> String? {
        guard let source = try body.string("viewOn") else { return nil }
        guard !source.isEmpty else { throw QueryError(.badValue, "'\(field)' cannot be empty") }
        return source
    }

    /// - Throws: what is wrong with the view beside those that there are.
    private func check(
        _ definition: ViewDefinition, as namespace: Namespace, deadline: UInt64
    ) async throws(QueryError) {
        _ = try Namespace(database: namespace.database, collection: definition.source)
        var references: [String: Set<String>] = [:]
        for entry in try await catalogEntries(database: namespace.database, deadline: deadline)
        where entry.state == .ready {
            guard let view = try ViewDefinition(entry.descriptor) else { continue }
            references[entry.descriptor.name] = try view.references()
            if entry.descriptor.name == definition.source, view.collation != definition.collation {
                throw QueryError(
                    .optionNotSupportedOnView,
                    "View \(namespace) has another collation than the view \(entry.descriptor.namespace), which it reads"
                )
            }
        }
        var graph = ViewGraph(references)
        try graph.set(namespace.collection, reads: try definition.references())
    }
}
