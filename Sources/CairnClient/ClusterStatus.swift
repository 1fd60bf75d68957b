public import CairnBSON
import CairnSharding
public import NIOCore

/// What the nodes of a cluster say of themselves at one moment.
public struct ClusterStatus: Sendable {
    /// One node's answer.
    public struct Node: Sendable {
        public var id: UInt64
        public var address: String
        /// Nil when the node does not answer.
        public var reply: Document?
    }

    /// One group, put together from what its replicas say.
    public struct Group: Sendable {
        public var id: UInt32
        public var leader: UInt64?
        public var term: Int64
        public var commitIndex: Int64
        /// How many entries each replica has yet to apply, by node.
        public var lag: [UInt64: Int64]
        public var logBytes: Int64
        public var failures: [String]
    }

    public var nodes: [Node]
    public var groups: [Group]

    public var silentNodes: [UInt64] { nodes.filter { $0.reply == nil }.map(\.id) }
    public var leaderlessGroups: [UInt32] { groups.filter { $0.leader == nil }.map(\.id) }
    public var groupCount: Int { groups.count }

    /// Asks every node; those that do not answer within two seconds are silent.
    ///
    /// - Throws: ``ClientError`` with code `unreachable` when none of `address` answers.
    public static func fetch(
        from address: ConnectionString, on eventLoop: any EventLoop
    ) async throws(ClientError) -> ClusterStatus {
        let layout = try await ClusterDiscovery.layout(from: address, on: eventLoop)
        var nodes: [Node] = []
        for node in layout.nodes {
            let reply = try? await withTimeout(.seconds(2), on: eventLoop) {
                try await ClusterDiscovery.ask(
                    ConnectionString(node.clientAddress), ["cairnStatus": 1, "$db": "admin"], on: eventLoop)
            }
            nodes.append(Node(id: node.id.rawValue, address: node.clientAddress, reply: reply))
        }
        let groups = layout.groups.map { group -> Group in
            var result = Group(
                id: group.id.rawValue, leader: nil, term: 0, commitIndex: 0, lag: [:], logBytes: 0, failures: [])
            for node in nodes {
                guard let replica = node.reply?.replica(of: group.id.rawValue) else { continue }
                let term = replica["term"]?.int64Exactly ?? 0
                // Of two that believe to lead, the one of the higher term does.
                if replica["role"]?.stringValue == "leader", term >= result.term { result.leader = node.id }
                result.term = max(result.term, term)
                result.commitIndex = max(result.commitIndex, replica["commitIndex"]?.int64Exactly ?? 0)
                result.logBytes = max(result.logBytes, replica["logBytes"]?.int64Exactly ?? 0)
                if let failure = replica["failure"]?.stringValue {
                    result.failures.append("node \(node.id): \(failure)")
                }
            }
            for node in nodes {
                guard let replica = node.reply?.replica(of: group.id.rawValue) else { continue }
                result.lag[node.id] = max(result.commitIndex - (replica["appliedIndex"]?.int64Exactly ?? 0), 0)
            }
            return result
        }
        return ClusterStatus(nodes: nodes, groups: groups)
    }
}

extension Document {
    fileprivate func replica(of group: UInt32) -> Document? {
        guard case .array(let replicas)? = self["groups"] else { return nil }
        for case .document(let replica) in replicas where replica["group"]?.int64Exactly == Int64(group) {
            return replica
        }
        return nil
    }
}

/// Runs `body`, or gives up after `limit`.
private func withTimeout<T: Sendable>(
    _ limit: Duration, on eventLoop: any EventLoop, _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw ClientError(.unreachable, "no answer in \(limit)")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw CancellationError() }
        return first
    }
}
