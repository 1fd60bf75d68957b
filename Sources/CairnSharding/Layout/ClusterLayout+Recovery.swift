public import CairnRaft

extension ClusterLayout {
    /// The layout that a survivor goes on with alone: it is the only node, and the only voter of every group.
    ///
    /// The number of recoveries is the upper half of ``version``, so that the result is newer than whatever the lost nodes may
    /// have agreed on meanwhile.
    ///
    /// - Returns: nil when the layout does not know the node.
    public func recovered(on survivor: NodeID) -> ClusterLayout? {
        guard var node = node(survivor) else { return nil }
        node.state = .active
        let groups = groups.map {
            GroupDescription(id: $0.id, voters: [survivor], preferredLeader: survivor, founders: $0.founders)
        }
        return ClusterLayout(
            nodes: [node], groups: groups, version: ((version >> 32) + 1) << 32, replicas: replicas, nextNode: nextNode)
    }
}
