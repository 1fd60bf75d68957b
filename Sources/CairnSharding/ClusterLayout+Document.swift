public import CairnBSON
import CairnRaft
import CairnReplication

extension ClusterLayout {
    /// The layout as the answer to a routing client's question: `{nodes: [{id, client, peer, http}], groups: [{id, voters,
    /// preferredLeader}], ok: 1}`.
    public var reply: Document {
        let nodes = nodes.map { node -> Value in
            [
                "id": .int64(Int64(node.id.rawValue)), "client": .text(node.clientAddress),
                "peer": .text(node.peerAddress), "http": .text(node.httpAddress),
            ]
        }
        let groups = groups.map { group -> Value in
            [
                "id": .int64(Int64(group.id.rawValue)),
                "voters": .array(BSONArray(group.voters.map { .int64(Int64($0.rawValue)) })),
                "preferredLeader": .int64(Int64(group.preferredLeader.rawValue)),
            ]
        }
        return ["nodes": .array(BSONArray(nodes)), "groups": .array(BSONArray(groups)), "ok": .double(1)]
    }

    /// Reads what ``reply`` wrote; nil when it is anything else.
    public init?(reply: Document) {
        guard case .array(let nodes)? = reply["nodes"], case .array(let groups)? = reply["groups"] else { return nil }
        func number(_ value: Value?) -> UInt64? { value?.int64Exactly.flatMap { UInt64(exactly: $0) } }
        var readNodes: [NodeDescription] = []
        for case .document(let node) in nodes {
            guard let id = number(node["id"]), let client = node["client"]?.stringValue,
                let peer = node["peer"]?.stringValue,
                let http = node["http"]?.stringValue
            else { return nil }
            readNodes.append(
                NodeDescription(id: NodeID(rawValue: id), clientAddress: client, peerAddress: peer, httpAddress: http))
        }
        var readGroups: [GroupDescription] = []
        for case .document(let group) in groups {
            guard let id = number(group["id"]).flatMap({ UInt32(exactly: $0) }),
                let leader = number(group["preferredLeader"]), case .array(let voters)? = group["voters"]
            else { return nil }
            readGroups.append(
                GroupDescription(
                    id: GroupID(rawValue: id), voters: voters.compactMap { number($0).map { NodeID(rawValue: $0) } },
                    preferredLeader: NodeID(rawValue: leader)))
        }
        // What is read here came over the network: a layout that breaks the invariants is no layout.
        guard !readNodes.isEmpty, readGroups.contains(where: { $0.id == .meta }), readGroups.count > 1 else {
            return nil
        }
        self.init(nodes: readNodes, groups: readGroups)
    }
}
