public import CairnRaft
public import CairnReplication

/// A node of the cluster and where it listens; the addresses are `host:port`.
public struct NodeDescription: Hashable, Sendable {
    /// Whether the node is to hold replicas.
    public enum State: String, Hashable, Sendable {
        case active
        /// An operator wants it empty.
        case draining
        /// It has not answered for so long that its replicas are made anew elsewhere. It is active again once it answers.
        case lost
    }

    public var id: NodeID
    /// Where drivers connect.
    public var clientAddress: String
    /// Where the other nodes connect.
    public var peerAddress: String
    /// Where operators look.
    public var httpAddress: String
    public var state: State

    public init(
        id: NodeID, clientAddress: String, peerAddress: String, httpAddress: String, state: State = .active
    ) {
        self.id = id
        self.clientAddress = clientAddress
        self.peerAddress = peerAddress
        self.httpAddress = httpAddress
        self.state = state
    }
}

/// A group and the nodes that are to hold its replicas.
public struct GroupDescription: Hashable, Sendable {
    public var id: GroupID
    /// Where the replicas belong. Until its leader has carried a change out, the group's own configuration says otherwise.
    public var voters: [NodeID]
    /// The voter that leads when all is well, so that leaders are spread over the nodes.
    public var preferredLeader: NodeID
    /// The voters with which the group began: what its log is read by until it says otherwise. Never changes.
    public let founders: [NodeID]

    public init(id: GroupID, voters: [NodeID], preferredLeader: NodeID, founders: [NodeID]? = nil) {
        self.id = id
        self.voters = voters
        self.preferredLeader = preferredLeader
        self.founders = founders ?? voters
    }
}

/// Which nodes and groups there are, and where replicas belong.
///
/// The first one comes from the configuration, the same on every node. Later ones are in the meta group (``LayoutChange``),
/// and every node and router takes the newest that it hears of.
///
/// - Invariant: group 0, the meta group, is there; the data groups are the others, in ascending order.
public struct ClusterLayout: Hashable, Sendable {
    /// Grows with every change; 0 is what the configuration says. The upper 32 bits count recoveries (``recovered(on:)``).
    public internal(set) var version: UInt64
    public internal(set) var nodes: [NodeDescription]
    public internal(set) var groups: [GroupDescription]
    /// Replicas that each group is to have.
    public let replicas: Int
    /// The number of the next node that joins. Numbers are never given twice: a replica that lost its disk must not be taken
    /// for the one that promised something.
    public internal(set) var nextNode: UInt64

    /// The groups that hold collections' documents, in ascending order.
    public var dataGroups: [GroupID] { groups.lazy.map(\.id).filter { $0 != .meta } }

    /// - Parameters:
    ///   - replicas: nil for as many as the largest group has.
    ///   - nextNode: nil for the number after the largest.
    public init(
        nodes: [NodeDescription], groups: [GroupDescription], version: UInt64 = 0, replicas: Int? = nil,
        nextNode: UInt64? = nil
    ) {
        precondition(groups.contains { $0.id == .meta }, "a cluster has a meta group")
        precondition(groups.count > 1, "a cluster has a data group")
        self.version = version
        self.nodes = nodes.sorted { $0.id < $1.id }
        self.groups = groups.sorted { $0.id < $1.id }
        self.replicas = replicas ?? groups.map(\.voters.count).max() ?? 1
        self.nextNode = nextNode ?? (nodes.map(\.id.rawValue).max() ?? 0) + 1
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
        return ClusterLayout(nodes: nodes, groups: groups, replicas: replicas)
    }

    public func node(_ id: NodeID) -> NodeDescription? {
        nodes.first { $0.id == id }
    }

    public func group(_ id: GroupID) -> GroupDescription? {
        groups.first { $0.id == id }
    }
}
