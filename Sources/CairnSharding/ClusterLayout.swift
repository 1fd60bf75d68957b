public import CairnRaft
public import CairnReplication

/// A node of the cluster and where it listens; the addresses are `host:port`.
public struct NodeDescription: Hashable, Sendable {
    public var id: NodeID
    /// Where drivers connect.
    public var clientAddress: String
    /// Where the other nodes connect.
    public var peerAddress: String
    /// Where operators look.
    public var httpAddress: String

    public init(id: NodeID, clientAddress: String, peerAddress: String, httpAddress: String) {
        self.id = id
        self.clientAddress = clientAddress
        self.peerAddress = peerAddress
        self.httpAddress = httpAddress
    }
}

/// A group and the nodes that hold its replicas.
public struct GroupDescription: Hashable, Sendable {
    public var id: GroupID
    public var voters: [NodeID]
    /// The voter that leads when all is well, so that leaders are spread over the nodes.
    public var preferredLeader: NodeID

    public init(id: GroupID, voters: [NodeID], preferredLeader: NodeID) {
        self.id = id
        self.voters = voters
        self.preferredLeader = preferredLeader
    }
}

/// Which nodes and groups there are, as the configuration says; every node and router of a cluster has the same.
///
/// - Invariant: group 0, the meta group, is there; the data groups are the others, in ascending order.
public struct ClusterLayout: Hashable, Sendable {
    public let nodes: [NodeDescription]
    public let groups: [GroupDescription]

    /// The groups that hold collections' documents, in ascending order.
    public var dataGroups: [GroupID] { groups.lazy.map(\.id).filter { $0 != .meta } }

    public init(nodes: [NodeDescription], groups: [GroupDescription]) {
        precondition(groups.contains { $0.id == .meta }, "a cluster has a meta group")
        precondition(groups.count > 1, "a cluster has a data group")
        self.nodes = nodes.sorted { $0.id < $1.id }
        self.groups = groups.sorted { $0.id < $1.id }
    }

    /// Spreads `dataGroups` data groups and the meta group over the nodes, `replicas` replicas each.
    ///
    /// Group g's replicas sit on the nodes g, g+1, g+2… modulo the number of nodes and the first of them is to lead, so
    /// that both replicas and leaders are as even as the numbers allow.
    public static func spread(nodes: [NodeDescription], dataGroups: Int, replicas: Int) -> ClusterLayout {
        precondition(!nodes.isEmpty && dataGroups > 0 && replicas > 0)
        let ids = nodes.map(\.id).sorted()
        let groups = (0...dataGroups).map { number in
            let voters = (0..<min(replicas, ids.count)).map { ids[(number + $0) % ids.count] }
            return GroupDescription(id: GroupID(UInt32(number)), voters: voters.sorted(), preferredLeader: voters[0])
        }
        return ClusterLayout(nodes: nodes, groups: groups)
    }

    public func node(_ id: NodeID) -> NodeDescription? {
        nodes.first { $0.id == id }
    }

    public func group(_ id: GroupID) -> GroupDescription? {
        groups.first { $0.id == id }
    }
}

/// What one node sees of the cluster at a moment: what `cairn status` prints.
public struct ClusterView: Sendable {
    /// A node and whether it answers.
    public struct Node: Hashable, Sendable {
        public var description: NodeDescription
        /// Nil when the node that was asked does not know.
        public var isReachable: Bool?

        public init(description: NodeDescription, isReachable: Bool?) {
            self.description = description
            self.isReachable = isReachable
        }
    }

    /// A group, who leads it, and how far each replica is.
    public struct Group: Sendable {
        public var description: GroupDescription
        public var leader: NodeID?
        /// The state of the replica on the node that was asked; nil when it has none.
        public var replica: ReplicaStatus?

        public init(description: GroupDescription, leader: NodeID?, replica: ReplicaStatus?) {
            self.description = description
            self.leader = leader
            self.replica = replica
        }
    }

    public var nodes: [Node]
    public var groups: [Group]

    public init(nodes: [Node], groups: [Group]) {
        self.nodes = nodes
        self.groups = groups
    }

    /// Groups without a known leader: while there are any, part of the data can be neither read nor written.
    public var leaderlessGroups: [GroupID] { groups.filter { $0.leader == nil }.map(\.description.id) }
}
