import CairnBSON
import CairnDatabase
import CairnQuery

/// A sealed collection is read and takes no writes: what is copied of it stays all there is until the copy has its place.
///
/// Its groups refuse writes as if they came at an old epoch, so that routers ask again until the seal is gone. Who sealed it
/// renews the seal every few seconds; one that was not renewed belongs to a router that is gone, and is taken off.
extension Router {
    /// - Returns: the sealed descriptor; every group of the collection has it.
    func seal(_ namespace: Namespace, deadline: UInt64) async throws(QueryError) -> CollectionDescriptor {
        var retries = StaleRetries()
        while true {
            guard let current = try await changeable(namespace, deadline: deadline) else {
                throw QueryError(.namespaceNotFound, "source collection \(namespace) does not exist")
            }
            var sealed = current
            sealed.isSealed = true
            sealed.epoch += 1
            let entry = CatalogEntry(sealed, state: .sealed, since: clock.wallMilliseconds)
            if try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) {
                shardMap.forget(namespace)
                do throws(QueryError) {
                    try await install(sealed, deadline: deadline)
                } catch {
                    try? await unseal(sealed, deadline: clock.nanoseconds + options.commandNanoseconds)
                    throw error
                }
                return sealed
            }
            try await retries.next(self, deadline: deadline)
        }
    }

    func renewSeal(_ sealed: CollectionDescriptor) async throws(QueryError) {
        let entry = CatalogEntry(sealed, state: .sealed, since: clock.wallMilliseconds)
        let deadline = clock.nanoseconds + options.commandNanoseconds
        guard try await replaceCatalogEntry(entry, ifEpoch: sealed.epoch, deadline: deadline) else {
            throw QueryError(.conflictingOperationInProgress, "\(sealed.namespace) was changed meanwhile")
        }
    }

    func unseal(_ sealed: CollectionDescriptor, deadline: UInt64) async throws(QueryError) {
        var open = sealed
        open.isSealed = false
        open.epoch += 1
        let entry = CatalogEntry(open, since: clock.wallMilliseconds)
        _ = try await replaceCatalogEntry(entry, ifEpoch: sealed.epoch, deadline: deadline)
    }

    /// The collection of that name once it is not sealed; nil when there is none.
    func changeable(_ namespace: Namespace, deadline: UInt64) async throws(QueryError) -> CollectionDescriptor? {
        var retries = StaleRetries()
        while let current = try await collection(namespace, fresh: true, deadline: deadline) {
            if !current.isSealed { return current }
            try await retries.next(self, deadline: deadline)
        }
        return nil
    }
}
