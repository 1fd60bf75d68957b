public import CairnBSON
import CairnRaft
import CairnReplication

extension ClusterLayout {
    /// The layout as the meta group stores it and as nodes and routing clients ask for it: `{_id: "layout", version, replicas,
    /// nextNode, nodes: [{id, client, peer, http, state}], groups: [{id, voters, preferredLeader, founders}]}`.
    public var document: Document {
        func list(_ nodes: [NodeID]) -> Value { .array(BSONArray(nodes.map { .int64(Int64($0.rawValue)) })) }
        let nodes = nodes.map { node -> Value in
            [
                "id": .int64(Int64(node.id.rawValue)), "client": .text(node.clientAddress),
                "peer": .text(node.peerAddress), "http": .text(node.httpAddress), "state": .text(node.state.rawValue),
            ]
        }
        let groups = groups.map { group -> Value in
            [
                "id": .int64(Int64(group.id.rawValue)), "voters": list(group.voters),
                "preferredLeader": .int64(Int64(group.preferredLeader.rawValue)), "founders": list(group.founders),
            ]
        }
        return [
            "_id": "layout", "version": .int64(Int64(version)), "replicas": .int64(Int64(replicas)),
            "nextNode": .int64(Int64(nextNode)), "nodes": .array(BSONArray(nodes)),
            "groups": .array(BSONArray(groups)),
        ]
    }

    /// Reads what ``document`` wrote, whatever else is beside it; nil when it is anything else.
    public init?(document: Document) {
        guard case .array(let nodes)? = document["nodes"], case .array(let groups)? = document["groups"],
            let version = Self.number(document["version"]), let nextNode = Self.number(document["nextNode"]),
            let replicas = Self.number(document["replicas"]).flatMap({ Int(exactly: $0) }), replicas > 0
        else { return nil }
        var readNodes: [NodeDescription] = []
        for case .document(let node) in nodes {
            guard let id = Self.number(node["id"]), let client = node["client"]?.stringValue,
                let peer = node["peer"]?.stringValue, let http = node["http"]?.stringValue,
                let state = node["state"]?.stringValue.flatMap({ NodeDescription.State(rawValue: $0) })
            else { return nil }
            readNodes.append(
                NodeDescription(
                    id: NodeID(rawValue: id), clientAddress: client, peerAddress: peer, httpAddress: http, state: state)
            )
        }
        var readGroups: [GroupDescription] = []
        for case .document(let group) in groups {
            guard let id = Self.number(group["id"]).flatMap({ UInt32(exactly: $0) }),
                let leader = Self.number(group["preferredLeader"]), let voters = Self.nodes(group["voters"]),
                let founders = Self.nodes(group["founders"])
            else { return nil }
            readGroups.append(
                GroupDescription(
                    id: GroupID(rawValue: id), voters: voters, preferredLeader: NodeID(rawValue: leader),
                    founders: founders))
        }
        // What is read here came over the network: a layout that breaks the invariants is no layout.
        guard !readNodes.isEmpty, readGroups.contains(where: { $0.id == .meta }), readGroups.count > 1,
            readNodes.allSatisfy({ $0.id.rawValue < nextNode })
        else { return nil }
        self.init(nodes: readNodes, groups: readGroups, version: version, replicas: replicas, nextNode: nextNode)
    }

    private static func number(_ value: Value?) -> UInt64? { value?.int64Exactly.flatMap { UInt64(exactly: $0) } }

    private static func nodes(_ value: Value?) -> [NodeID]? {
        guard case .array(let array)? = value else { return nil }
        let numbers = array.compactMap { number($0).map { NodeID(rawValue: $0) } }
        return numbers.count == array.count && !numbers.isEmpty ? numbers : nil
    }
}
