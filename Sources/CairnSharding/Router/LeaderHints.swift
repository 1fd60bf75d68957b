import CairnRaft
import CairnReplication

/// Where a router believes each group's leader to be.
///
/// A belief costs nothing but a detour when it is wrong: the node that is asked refuses, and says who leads if it knows.
struct LeaderHints {
    private let voters: [GroupID: [NodeID]]
    private var believed: [GroupID: NodeID] = [:]

    init(layout: ClusterLayout) {
        var voters: [GroupID: [NodeID]] = [:]
        for group in layout.groups {
            voters[group.id] = group.voters
            believed[group.id] = group.preferredLeader
        }
        self.voters = voters
    }

    /// Whom to ask next.
    func node(leading group: GroupID) -> NodeID? {
        believed[group]
    }

    mutating func note(leader: NodeID, of group: GroupID) {
        guard voters[group]?.contains(leader) == true else { return }
        believed[group] = leader
    }

    /// The node did not lead, or did not answer: the next voter in turn, unless someone else is believed in by now.
    mutating func doubt(_ node: NodeID, of group: GroupID) {
        guard believed[group] == node, let candidates = voters[group], !candidates.isEmpty else { return }
        let position = candidates.firstIndex(of: node).map { $0 + 1 } ?? 0
        believed[group] = candidates[position % candidates.count]
    }
}
