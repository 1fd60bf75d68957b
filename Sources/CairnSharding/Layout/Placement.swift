import CairnRaft
import CairnReplication

extension ClusterLayout {
    /// Puts every group's replicas on active nodes, and evens replicas and leaders out, with as few moves as that takes.
    ///
    /// A replica leaves its place only when its node may not keep it, or when another node has two fewer. The result depends
    /// on the layout alone.
    ///
    /// Where there are fewer active nodes than ``replicas``, each of them has a replica of every group.
    ///
    /// - Precondition: there is an active node.
    mutating func place() {
        let active = nodes.filter { $0.state == .active }.map(\.id)
        precondition(!active.isEmpty, "no node can hold a replica")
        let replicas = min(replicas, active.count)
        var load = Dictionary(uniqueKeysWithValues: active.map { ($0, 0) })
        for position in groups.indices {
            groups[position].voters.removeAll { load[$0] == nil }
            for voter in groups[position].voters { load[voter]! += 1 }
        }
        for position in groups.indices {
            while groups[position].voters.count < replicas {
                let candidates = active.filter { !groups[position].voters.contains($0) }
                let target = candidates.min { (load[$0]!, $0) < (load[$1]!, $1) }!
                groups[position].voters.append(target)
                load[target]! += 1
            }
        }
        while let (position, from, to) = unevenReplica(active, load) {
            groups[position].voters.removeAll { $0 == from }
            groups[position].voters.append(to)
            load[from]! -= 1
            load[to]! += 1
        }
        for position in groups.indices { groups[position].voters.sort() }
        evenLeaders(active)
    }

    /// A replica whose move to a node with at least two fewer is possible.
    private func unevenReplica(
        _ active: [NodeID], _ load: [NodeID: Int]
    ) -> (position: Int, from: NodeID, to: NodeID)? {
        let byLoad = active.sorted { (load[$0]!, $0) < (load[$1]!, $1) }
        for from in byLoad.reversed() {
            for to in byLoad where load[to]! + 2 <= load[from]! {
                // The newest group first: it holds the least, as far as numbers tell.
                let position = groups.indices.last {
                    groups[$0].voters.contains(from) && !groups[$0].voters.contains(to)
                }
                if let position { return (position, from, to) }
            }
        }
        return nil
    }

    private mutating func evenLeaders(_ active: [NodeID]) {
        var leads = Dictionary(uniqueKeysWithValues: active.map { ($0, 0) })
        for position in groups.indices {
            if groups[position].voters.contains(groups[position].preferredLeader) {
                leads[groups[position].preferredLeader]! += 1
            }
        }
        for position in groups.indices where !groups[position].voters.contains(groups[position].preferredLeader) {
            let heir = groups[position].voters.min { (leads[$0]!, $0) < (leads[$1]!, $1) }!
            groups[position].preferredLeader = heir
            leads[heir]! += 1
        }
        // Each step makes two counts more equal, so this ends.
        while let position = groups.indices.first(where: { position in
            groups[position].voters.contains { leads[$0]! + 2 <= leads[groups[position].preferredLeader]! }
        }) {
            leads[groups[position].preferredLeader]! -= 1
            let heir = groups[position].voters.min { (leads[$0]!, $0) < (leads[$1]!, $1) }!
            groups[position].preferredLeader = heir
            leads[heir]! += 1
        }
    }
}
