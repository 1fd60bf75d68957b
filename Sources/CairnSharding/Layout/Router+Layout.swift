import CairnBSON
import CairnDatabase
public import CairnQuery
public import CairnRaft
public import CairnReplication

/// The layout in the meta group: one document, which is changed only on condition that nobody else changed it.
extension Router {
    /// The layout that the meta group has, or nil as long as it is the configuration's.
    public func storedLayout(deadline: UInt64) async throws(QueryError) -> ClusterLayout? {
        let body: Document = ["filter": ["_id": "layout"], "limit": 1, "singleBatch": true]
        let reply = try await askCatalog(.find, CatalogCollections.layout, body: body, deadline: deadline)
        guard let document = reply.documents.first else { return nil }
        guard let layout = ClusterLayout(document: document) else {
            throw QueryError(.internalError, "the layout in the meta group does not decode")
        }
        return layout
    }

    /// Changes the layout in the meta group.
    ///
    /// The router does not go by the result yet: its owner has it adopt the layout once there are connections to new nodes, for
    /// that is when its gateway takes them.
    ///
    /// - Returns: the layout that holds the change.
    /// - Throws: ``QueryError`` when the change is refused (``ClusterLayout/applying(_:)``) or the meta group does not answer.
    public func changeLayout(_ change: LayoutChange, deadline: UInt64) async throws(QueryError) -> ClusterLayout {
        var retries = StaleRetries()
        while true {
            let stored = try await storedLayout(deadline: deadline)
            let current = stored.map { $0.version < layout.version ? layout : $0 } ?? layout
            let next = try current.applying(change)
            if next == current { return current }
            if try await store(next, over: stored, deadline: deadline) { return next }
            try await retries.next(self, deadline: deadline)
        }
    }

    /// Puts a layout into the meta group that is newer than the one it has: a recovery made it, while the group had no leader.
    public func restore(_ newer: ClusterLayout, over stored: ClusterLayout?, deadline: UInt64) async throws(QueryError)
    {
        guard newer.version > stored?.version ?? 0 else { return }
        _ = try await store(newer, over: stored, deadline: deadline)
    }

    /// The groups of which the node still holds a replica, as their leaders say.
    public func groups(on node: NodeID, deadline: UInt64) async throws(QueryError) -> [GroupID] {
        let questions = layout.groups.map { group in
            Question(group.id, GroupRequest(.members, collection: .system))
        }
        var found: [GroupID] = []
        for (question, result) in zip(questions, await ask(questions, deadline: deadline)) {
            do throws(CommandFailure) {
                let nodes = try result.reply().body["nodes"]?.asArray ?? []
                if nodes.contains(where: { $0.int64Exactly == Int64(node.rawValue) }) { found.append(question.group) }
            } catch {
                throw QueryError(.hostUnreachable, "group \(question.group.rawValue) does not say who its members are")
            }
        }
        return found
    }

    /// Forgets a node that holds no replica any more.
    public func removeNode(_ node: NodeID, deadline: UInt64) async throws(QueryError) -> ClusterLayout {
        let held = try await groups(on: node, deadline: deadline)
        guard held.isEmpty else {
            let names = held.map { "\($0.rawValue)" }.joined(separator: ", ")
            throw QueryError(
                .illegalOperation,
                "node \(node.rawValue) still holds replicas of the groups \(names); drain it, and wait until it is empty"
            )
        }
        return try await changeLayout(.remove(node), deadline: deadline)
    }

    /// - Returns: false when somebody else was faster.
    private func store(
        _ next: ClusterLayout, over stored: ClusterLayout?, deadline: UInt64
    ) async throws(QueryError) -> Bool {
        guard let stored else {
            let reply = try await askCatalog(
                .insert, CatalogCollections.layout, documents: [next.document], deadline: deadline)
            guard let error = try firstWriteError(reply) else { return true }
            guard error.code == .duplicateKey else { throw error }
            return false
        }
        let statement: Document = [
            "q": ["_id": "layout", "version": .int64(Int64(stored.version))], "u": .document(next.document),
        ]
        let reply = try await askCatalog(
            .update, CatalogCollections.layout, documents: [statement], deadline: deadline)
        if let error = try firstWriteError(reply) { throw error }
        return try reply.body.integer("n") == 1
    }
}
