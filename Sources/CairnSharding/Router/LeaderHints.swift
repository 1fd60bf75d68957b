import CairnRaft
import CairnReplication

/// Where a router believes each group's leader to be.
///
/// A belief costs nothing but a detour when it is wrong: the node that is asked refuses, and says who leads if it knows.
struct LeaderHints {
    /// Whom to try, in this order: where the replicas belong, and then the others, because a group may still be on its way.
    private var candidates: [GroupID: [NodeID]] = [:]
    private var believed: [GroupID: NodeID] = [:]

    init(layout: ClusterLayout) { adopt(layout) }

    /// Takes a newer layout; what is believed of groups whose leader is still in the cluster stays.
    mutating func adopt(_ layout: ClusterLayout) {
        let nodes = layout.nodes.map(\.id)
        for group in layout.groups {
            candidates[group.id] = group.voters + nodes.filter { !group.voters.contains($0) }
            if let leader = believed[group.id], nodes.contains(leader) { continue }
            believed[group.id] = group.preferredLeader
        }
    }

    /// Whom to ask next.
    func node(leading group: GroupID) -> NodeID? {
        believed[group]
    }

    mutating func note(leader: NodeID, of group: GroupID) {
        guard candidates[group]?.contains(leader) == true else { return }
        believed[group] = leader
    }

    /// The node did not lead, or did not answer: the next in turn, unless someone else is believed in by now.
    mutating func doubt(_ node: NodeID, of group: GroupID) {
        guard believed[group] == node, let candidates = candidates[group], !candidates.isEmpty else { return }
        let position = candidates.firstIndex(of: node).map { $0 + 1 } ?? 0
        believed[group] = candidates[position % candidates.count]
    }
}
