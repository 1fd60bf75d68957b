public import CairnQuery
public import CairnRaft
public import CairnReplication

/// What can be done to the nodes of a cluster. Each is a step from one layout to the next, which the meta group decides.
public enum LayoutChange: Hashable, Sendable {
    /// Takes a node in, under the next number. One with the same peer address is taken to be the same node, so that the
    /// request may be repeated.
    case add(clientAddress: String, peerAddress: String, httpAddress: String)
    /// Moves all replicas and leaders away from the node.
    case drain(NodeID)
    /// Gives a draining node replicas again.
    case activate(NodeID)
    /// As drain, for a node that does not answer.
    case markLost(NodeID)
    /// Forgets a node.
    case remove(NodeID)
    /// Moves everything of one node to another, which must hold nothing that the first one has.
    case replace(NodeID, with: NodeID)
    /// Has the node lead the group from now on, as long as the layout stays as it is and the node is fit for it.
    case lead(GroupID, NodeID)
}

extension ClusterLayout {
    /// The layout after a change; the same one when there is nothing to change.
    ///
    /// - Throws: ``QueryError`` when the cluster would not keep its replicas, or does not know the node.
    public func applying(_ change: LayoutChange) throws(QueryError) -> ClusterLayout {
        var next = self
        switch change {
        case .add(let client, let peer, let http):
            guard !nodes.contains(where: { $0.peerAddress == peer }) else { return self }
            for address in [client, peer, http] where nodes.contains(where: { $0.uses(address) }) {
                throw QueryError(.illegalOperation, "the address \(address) belongs to another node of the cluster")
            }
            next.nodes.append(
                NodeDescription(
                    id: NodeID(rawValue: nextNode), clientAddress: client, peerAddress: peer, httpAddress: http))
            next.nextNode += 1
        case .drain(let id): try next.set(.draining, of: id, only: nil)
        case .activate(let id): try next.set(.active, of: id, only: nil)
        // An operator's word stands above what was observed.
        case .markLost(let id): try next.set(.lost, of: id, only: .active)
        case .remove(let id):
            let node = try known(id)
            guard node.state != .active else {
                throw QueryError(.illegalOperation, "node \(id.rawValue) is in use: drain it first")
            }
            next.nodes.removeAll { $0.id == id }
        case .replace(let old, let new):
            let target = try known(new)
            _ = try known(old)
            guard old != new else { throw QueryError(.badValue, "a node cannot replace itself") }
            guard target.state == .active else {
                throw QueryError(.illegalOperation, "node \(new.rawValue) is \(target.state.rawValue)")
            }
            for position in next.groups.indices where next.groups[position].voters.contains(old) {
                guard !next.groups[position].voters.contains(new) else { continue }
                next.groups[position].voters.removeAll { $0 == old }
                next.groups[position].voters.append(new)
                if next.groups[position].preferredLeader == old { next.groups[position].preferredLeader = new }
            }
            try next.set(.draining, of: old, only: nil)
        case .lead(let group, let node):
            try next.setLeader(node, of: group)
            guard next != self else { return self }
            // Placing would even the leaders out again.
            next.version += 1
            return next
        }
        guard next != self else { return self }
        // After a recovery there are fewer than it takes, and nodes may join one by one.
        let before = nodes.count { $0.state == .active }
        let active = next.nodes.count { $0.state == .active }
        guard active >= min(replicas, before) else {
            throw QueryError(
                .illegalOperation,
                "\(replicas) replicas of each group need \(replicas) nodes, and \(active) would be left: add a node first"
            )
        }
        next.place()
        next.version += 1
        return next
    }

    private mutating func setLeader(_ node: NodeID, of group: GroupID) throws(QueryError) {
        let state = try known(node).state
        guard let position = groups.firstIndex(where: { $0.id == group }) else {
            throw QueryError(.badValue, "there is no group \(group.rawValue)")
        }
        let voters = groups[position].voters
        guard voters.contains(node) else {
            let names = voters.map { "\($0.rawValue)" }.joined(separator: ", ")
            throw QueryError(
                .illegalOperation,
                "node \(node.rawValue) has no replica of group \(group.rawValue); the nodes \(names) have")
        }
        guard state == .active else {
            throw QueryError(.illegalOperation, "node \(node.rawValue) is \(state.rawValue)")
        }
        groups[position].preferredLeader = node
    }

    private func known(_ id: NodeID) throws(QueryError) -> NodeDescription {
        guard let node = node(id) else {
            throw QueryError(.nodeNotFound, "there is no node \(id.rawValue) in the cluster")
        }
        return node
    }

    private mutating func set(
        _ state: NodeDescription.State, of id: NodeID, only former: NodeDescription.State?
    ) throws(QueryError) {
        _ = try known(id)
        let position = nodes.firstIndex { $0.id == id }!
        guard former == nil || nodes[position].state == former else { return }
        nodes[position].state = state
    }
}

extension NodeDescription {
    fileprivate func uses(_ address: String) -> Bool {
        clientAddress == address || peerAddress == address || httpAddress == address
    }
}
