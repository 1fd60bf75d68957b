import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

extension Router {
    /// Gives a collection the name of another, which is dropped: what `$out` ends with, and `renameCollection` with
    /// `dropTarget`.
    ///
    /// Both changes of the catalog are one request to the meta group and so one entry of its log: whoever looks the name up
    /// finds the old collection or the new one. Routers that know the old one go on with it until its groups are told that
    /// it is dropped, which they are before this returns.
    ///
    /// - Parameter model: The target as it was when `from` was made after it; its options and indexes must still be the
    ///   same. Nil when nothing has to be.
    /// - Parameter sealed: The target as this router sealed it, and as it still must be.
    /// - Throws: code 17152 when they are not.
    func replaceCollection(
        _ from: Namespace, over target: Namespace, since model: CollectionDescriptor? = nil,
        sealed: CollectionDescriptor? = nil, deadline: UInt64
    ) async throws(QueryError) {
        var retries = StaleRetries()
        while true {
            guard let current = try await changeable(from, deadline: deadline) else {
                throw QueryError(.namespaceNotFound, "Source collection \(from) does not exist")
            }
            var renamed = current
            renamed.database = target.database
            renamed.name = target.collection
            renamed.epoch += 1
            let entry = CatalogEntry(renamed, since: clock.wallMilliseconds)
            let former =
                sealed == nil
                ? try await changeable(target, deadline: deadline)
                : try await collection(target, fresh: true, deadline: deadline)
            if let sealed, former != sealed {
                throw QueryError(.conflictingOperationInProgress, "\(target) was changed meanwhile")
            }
            guard let old = former else {
                if try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) {
                    return try await finishRename(renamed, from: from, to: target, deadline: deadline)
                }
                try await retries.next(self, deadline: deadline)
                continue
            }
            if let model, old.options != model.options || Set(old.indexes) != Set(model.indexes) {
                throw QueryError(
                    ErrorCode(17152), "options or indexes of target collection \(target) changed while processing $out")
            }
            var gone = old
            gone.epoch += 1
            let dropped = CatalogEntry(gone, state: .dropping, since: clock.wallMilliseconds)
            switch try await exchangeCatalogEntries(
                dropped, ifEpoch: old.epoch, entry, ifEpoch: current.epoch, deadline: deadline)
            {
            case .both:
                try await finishRename(renamed, from: from, to: target, deadline: deadline)
                return try await finishDrop(gone, deadline: deadline)
            case .neither: try await retries.next(self, deadline: deadline)
            case .one:
                // Either the target went away by itself meanwhile and the name was free, or the new collection did.
                if let now = try await collection(target, fresh: true, deadline: deadline), now.id == renamed.id {
                    return try await finishRename(renamed, from: from, to: target, deadline: deadline)
                }
                try await finishDrop(gone, deadline: deadline)
                throw QueryError(.namespaceNotFound, "Source collection \(from) was dropped meanwhile")
            }
        }
    }

    /// Tells routers and groups of a collection's new name, once the catalog has it.
    func finishRename(
        _ renamed: CollectionDescriptor, from: Namespace, to: Namespace, deadline: UInt64
    ) async throws(QueryError) {
        shardMap.forget(from)
        shardMap.remember(renamed, as: to)
        // From here on no group serves routers that know it by its old name.
        try await install(renamed, deadline: deadline)
    }

    private enum Exchange { case neither, one, both }

    /// Replaces two entries with one request. The second stays as it is while the first holds its name.
    private func exchangeCatalogEntries(
        _ first: CatalogEntry, ifEpoch firstEpoch: UInt64, _ second: CatalogEntry, ifEpoch secondEpoch: UInt64,
        deadline: UInt64
    ) async throws(QueryError) -> Exchange {
        let reply = try await askCatalog(
            .update, CatalogCollections.collections,
            documents: [
                Router.replacement(first, ifEpoch: firstEpoch), Router.replacement(second, ifEpoch: secondEpoch),
            ], deadline: deadline)
        if let error = try firstWriteError(reply), error.code != .duplicateKey { throw error }
        switch try reply.body.integer("n") {
        case 2: return .both
        case 1: return .one
        default: return .neither
        }
    }
}
