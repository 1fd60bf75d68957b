import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// The changes of the catalog, step by step. Each step is one conditional write in the meta group or an idempotent request
/// to the groups, so that a change cut short anywhere is finished or undone by whoever meets it next.
extension Router {
    /// Makes a collection.
    /// - Returns: nil when the name was taken meanwhile.
    func createCollection(
        _ namespace: Namespace, options: Document = Document(), placement: CollectionDescriptor.Placement = .spread,
        chunks: [Chunk]? = nil, deadline: UInt64
    ) async throws(QueryError) -> CollectionDescriptor? {
        let id = try await nextCollectionID(deadline: deadline)
        var uuid: [UInt8] = []
        for _ in 0..<2 {
            let word = random()
            for shift in stride(from: 56, through: 0, by: -8) { uuid.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        // Version 4, variant 1, of RFC 9562.
        uuid[6] = uuid[6] & 0x0F | 0x40
        uuid[8] = uuid[8] & 0x3F | 0x80
        let descriptor = CollectionDescriptor(
            id: id, uuid: uuid, database: namespace.database, name: namespace.collection, options: options,
            placement: placement, chunks: chunks ?? self.chunks(for: placement, of: id))
        let entry = CatalogEntry(descriptor, since: clock.wallMilliseconds)
        guard try await addCatalogEntry(entry, deadline: deadline) else { return nil }
        if !descriptor.isView { shardMap.remember(descriptor, as: namespace) }
        return descriptor
    }

    /// Where a collection's slots go: over all groups, or to one, which the number picks so that they spread.
    func chunks(for placement: CollectionDescriptor.Placement, of id: CollectionID) -> [Chunk] {
        let groups = layout.dataGroups.map(\.rawValue)
        switch placement {
        case .spread: return ShardMap.spread(over: groups)
        case .single: return ShardMap.whole(in: groups[Int(id.rawValue) % groups.count])
        }
    }

    /// Changes a collection's descriptor and tells its groups.
    ///
    /// - Parameter change: makes the new descriptor out of the newest; nil when there is nothing to change. It may be called
    ///   several times.
    /// - Returns: the descriptor as it is now, and whether it was changed.
    func changeCollection(
        _ namespace: Namespace, deadline: UInt64,
        _ change: (CollectionDescriptor) throws(QueryError) -> CollectionDescriptor?
    ) async throws(QueryError) -> (descriptor: CollectionDescriptor, changed: Bool) {
        var retries = StaleRetries()
        while true {
            guard let current = try await changeable(namespace, deadline: deadline) else {
                throw QueryError(.namespaceNotFound, "ns does not exist: \(namespace)")
            }
            guard var new = try change(current) else { return (current, false) }
            new.epoch = current.epoch + 1
            let entry = CatalogEntry(new, since: clock.wallMilliseconds)
            if try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) {
                shardMap.remember(new, as: namespace)
                try await install(new, deadline: deadline)
                return (new, true)
            }
            try await retries.next(self, deadline: deadline)
        }
    }

    /// Gives every group that owns slots of the collection its newest descriptor. On return no group takes a write or
    /// answers a read by an older one.
    func install(_ descriptor: CollectionDescriptor, on groups: [UInt32]? = nil, deadline: UInt64)
        async throws(QueryError)
    {
        let questions = (groups ?? descriptor.groups).map { group in
            Question(
                GroupID(group),
                GroupRequest(
                    .installDescriptor, collection: descriptor.id, epoch: descriptor.epoch, body: descriptor.document),
                descriptor)
        }
        do throws(CommandFailure) {
            _ = try await ask(questions, deadline: deadline).replies()
        } catch {
            switch error {
            case .error(let error): throw error
            // Someone was faster with a newer one, which fences as well.
            case .stale: return
            }
        }
    }

    /// Drops a collection: frees the name, deletes at all groups, forgets the entry.
    /// - Returns: the descriptor that was dropped, nil when there was none of that name.
    func dropCollection(_ namespace: Namespace, deadline: UInt64) async throws(QueryError) -> CollectionDescriptor? {
        var retries = StaleRetries()
        while let current = try await catalogued(namespace, fresh: true, deadline: deadline) {
            if current.isView {
                if try await removeView(current, deadline: deadline) { return current }
                try await retries.next(self, deadline: deadline)
                continue
            }
            var gone = current
            gone.epoch += 1
            let entry = CatalogEntry(gone, state: .dropping, since: clock.wallMilliseconds)
            if try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) {
                shardMap.forget(namespace)
                try await finishDrop(gone, deadline: deadline)
                return current
            }
            try await retries.next(self, deadline: deadline)
        }
        return nil
    }

    /// Tells every data group, owner or not: one that only heard of the collection must refuse it as well.
    func finishDrop(_ descriptor: CollectionDescriptor, deadline: UInt64) async throws(QueryError) {
        let questions = layout.dataGroups.map { group in
            Question(group, GroupRequest(.dropCollection, collection: descriptor.id, epoch: descriptor.epoch))
        }
        for result in await ask(questions, deadline: deadline) {
            switch result {
            case .success, .failure(.droppedCollection): continue
            case .failure(let failure):
                guard case .error(let error) = CommandFailure(failure) else {
                    throw QueryError(.internalError, "a group refused to drop collection \(descriptor.id)")
                }
                throw error
            }
        }
        try await removeCatalogEntry(descriptor.id, deadline: deadline)
    }

    /// Moves an empty collection to one group, which can keep any index unique.
    ///
    /// First nobody owns its slots: the new epoch reaches every group before anything is counted, so that no document can
    /// slip in behind the count. Then it is counted, and placed.
    /// - Returns: false, and everything is as it was, when the collection is not empty.
    func placeInOneGroup(_ namespace: Namespace, deadline: UInt64) async throws(QueryError) -> Bool {
        var retries = StaleRetries()
        while true {
            guard let current = try await changeable(namespace, deadline: deadline) else {
                throw QueryError(.namespaceNotFound, "ns does not exist: \(namespace)")
            }
            if current.groups.count == 1 { return true }
            var frozen = current
            frozen.epoch += 1
            frozen.chunks = ShardMap.whole(in: ShardMap.nobody)
            let entry = CatalogEntry(
                frozen, state: .moving, since: clock.wallMilliseconds, restore: current.chunks)
            guard try await replaceCatalogEntry(entry, ifEpoch: current.epoch, deadline: deadline) else {
                try await retries.next(self, deadline: deadline)
                continue
            }
            shardMap.forget(namespace)
            var documents: Int64 = 0
            do throws(QueryError) {
                try await install(frozen, on: current.groups, deadline: deadline)
                documents = try await countForMove(frozen, groups: current.groups, deadline: deadline)
            } catch {
                try await undoMove(entry, deadline: deadline)
                throw error
            }
            guard documents == 0 else {
                try await undoMove(entry, deadline: deadline)
                return false
            }
            var placed = frozen
            placed.epoch += 1
            placed.placement = .single
            placed.chunks = chunks(for: .single, of: current.id)
            let done = CatalogEntry(placed, since: clock.wallMilliseconds)
            guard try await replaceCatalogEntry(done, ifEpoch: frozen.epoch, deadline: deadline) else {
                // It was taken for abandoned and undone.
                try await retries.next(self, deadline: deadline)
                continue
            }
            shardMap.remember(placed, as: namespace)
            try await install(placed, on: current.groups, deadline: deadline)
            return true
        }
    }

    private func countForMove(
        _ descriptor: CollectionDescriptor, groups: [UInt32], deadline: UInt64
    ) async throws(QueryError) -> Int64 {
        let questions = groups.map { group in
            Question(
                GroupID(group), GroupRequest(.statistics, collection: descriptor.id, epoch: descriptor.epoch),
                descriptor)
        }
        do throws(CommandFailure) {
            var total: Int64 = 0
            for reply in try await ask(questions, deadline: deadline).replies() {
                total += try reply.body.countField()
            }
            return total
        } catch {
            switch error {
            case .error(let error): throw error
            case .stale: throw QueryError(.conflictingOperationInProgress, "the collection was changed meanwhile")
            }
        }
    }

    /// Gives a collection back to the groups that had it.
    func undoMove(_ entry: CatalogEntry, deadline: UInt64) async throws(QueryError) {
        var restored = entry.descriptor
        restored.epoch += 1
        restored.chunks = entry.restore
        let ready = CatalogEntry(restored, since: clock.wallMilliseconds)
        _ = try await replaceCatalogEntry(ready, ifEpoch: entry.descriptor.epoch, deadline: deadline)
    }

    /// Finishes or undoes what routers began and, being gone, will not finish. Safe to call at any time by any number of
    /// routers; every few seconds by the node that leads the meta group is enough.
    public func resumeCatalogWork() async {
        let deadline = clock.nanoseconds + options.commandNanoseconds
        let now = clock.wallMilliseconds
        // A failure is met again at the next call.
        guard
            let entries = try? await catalogEntries(
                changedSince: now - Router.changesLookedAfterMilliseconds, deadline: deadline)
        else { return }
        let recent = Set(entries.map(\.descriptor.id))
        installed = installed.filter { recent.contains($0.key) }
        for entry in entries where now - entry.since > Router.abandonedAfterMilliseconds {
            switch entry.state {
            case .ready:
                // The router that changed it may have died before it told the groups.
                let descriptor = entry.descriptor
                guard !descriptor.isView, installed[descriptor.id] != descriptor.epoch else { continue }
                if (try? await install(descriptor, deadline: deadline)) != nil {
                    installed[descriptor.id] = descriptor.epoch
                }
            case .dropping: try? await finishDrop(entry.descriptor, deadline: deadline)
            case .moving: try? await undoMove(entry, deadline: deadline)
            case .sealed: try? await unseal(entry.descriptor, deadline: deadline)
            }
        }
    }
}

extension Document {
    /// A group's `count`, which must be there.
    func countField(_ name: String = "count") throws(CommandFailure) -> Int64 {
        do throws(QueryError) {
            guard let count = try integer(name) else {
                throw QueryError(.internalError, "a group's answer has no \(name)")
            }
            return count
        } catch {
            throw .error(error)
        }
    }
}
