import CairnDatabase
import CairnQuery

extension Router {
    /// The collection of that name; nil when there is none.
    ///
    /// - Parameter fresh: asks the meta group even if the map has an entry, because a group refused that one.
    /// - Throws: `CommandNotSupportedOnView` (166) when it is a view's.
    func collection(
        _ namespace: Namespace, fresh: Bool = false, deadline: UInt64
    ) async throws(QueryError) -> CollectionDescriptor? {
        let found = try await catalogued(namespace, fresh: fresh, deadline: deadline)
        if let found, found.isView {
            throw QueryError(.commandNotSupportedOnView, "Namespace \(namespace) is a view, not a collection")
        }
        return found
    }

    /// The collection or view of that name; nil when there is none.
    func catalogued(
        _ namespace: Namespace, fresh: Bool = false, deadline: UInt64
    ) async throws(QueryError) -> CollectionDescriptor? {
        if let fixed = CatalogCollections.descriptor(of: namespace) { return fixed }
        if !fresh, let known = shardMap[namespace] { return known }
        var retries = StaleRetries()
        while let entry = try await catalogEntry(namespace, deadline: deadline) {
            switch entry.state {
            case .ready:
                if entry.descriptor.isView {
                    shardMap.forget(namespace)
                } else {
                    shardMap.remember(entry.descriptor, as: namespace)
                }
                return entry.descriptor
            case .sealed:
                // Renewed every few seconds, unless the router that sealed it is gone.
                if clock.wallMilliseconds - entry.since > Router.abandonedAfterMilliseconds {
                    try await unseal(entry.descriptor, deadline: deadline)
                    try await retries.next(self, deadline: deadline)
                    continue
                }
                shardMap.remember(entry.descriptor, as: namespace)
                return entry.descriptor
            case .dropping:
                // Its name says so too; not to be found under a usable name.
                shardMap.forget(namespace)
                return nil
            case .moving:
                // It takes moments, unless the router that began it is gone.
                if clock.wallMilliseconds - entry.since > Router.abandonedAfterMilliseconds {
                    try await undoMove(entry, deadline: deadline)
                }
                try await retries.next(self, deadline: deadline)
            }
        }
        shardMap.forget(namespace)
        return nil
    }

    /// The collection of that name, made with default options when there is none, as the first write to it does.
    func collectionForWriting(
        _ namespace: Namespace, fresh: Bool = false, deadline: UInt64
    ) async throws(QueryError) -> CollectionDescriptor {
        try refuseCatalogWrite(namespace)
        while true {
            if let found = try await collection(namespace, fresh: fresh, deadline: deadline) { return found }
            if let made = try await createCollection(namespace, deadline: deadline) { return made }
            // Somebody else was faster.
        }
    }

    /// The catalog is changed by commands about collections, never by hand.
    func refuseCatalogWrite(_ namespace: Namespace) throws(QueryError) {
        if namespace.database == "config" {
            throw QueryError(.unauthorized, "database 'config' holds the catalog and is changed by Cairn alone")
        }
        if namespace.collection == ResolvedView.systemViews {
            throw QueryError(.invalidNamespace, "cannot write to '\(namespace)', which shows the views of its database")
        }
    }

    /// The namespace that a command names in its first field.
    func namespace(of command: ClientCommand) throws(QueryError) -> Namespace {
        guard let name = try command.body.string(command.name) else {
            throw QueryError(.invalidNamespace, "collection name has invalid type")
        }
        return try Namespace(database: command.database, collection: name)
    }

    /// After this long a step of a change that takes moments belongs to a router that is gone.
    static let abandonedAfterMilliseconds: Int64 = 10_000

    /// For so long after a change it is seen to that all groups hear of it.
    static let changesLookedAfterMilliseconds: Int64 = 300_000
}
