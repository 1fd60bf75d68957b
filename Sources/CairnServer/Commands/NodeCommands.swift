import CairnBSON
import CairnQuery
import CairnRaft
import CairnReplication
import CairnSharding

/// How nodes join and leave: what `cairn node` asks any node of the cluster to do.
enum NodeCommands {
    static var all: [Command] {
        [
            .local("cairnAddNode", "takes a node into the cluster: {client, peer, http}") { invocation, node in
                let change = LayoutChange.add(
                    clientAddress: try address("client", invocation), peerAddress: try address("peer", invocation),
                    httpAddress: try address("http", invocation))
                var reply = DocumentBuilder()
                let layout = try await node.changeLayout { router, deadline throws(QueryError) in
                    try await router.changeLayout(change, deadline: deadline)
                }
                let peer = try address("peer", invocation)
                let id = layout.nodes.first { $0.peerAddress == peer }?.id.rawValue ?? 0
                reply.append("node", .int64(Int64(id)))
                reply.append("cluster", node.shared.configuration.clusterName)
                if let life = node.storage?.identity.life { reply.append("life", life.document) }
                reply.append("layout", layout.document)
                reply.append("ok", 1.0)
                return reply.finish()
            },
            change("cairnDrainNode", "moves all replicas of {node} away") { .drain(try number("node", $0)) },
            change("cairnActivateNode", "gives a drained {node} replicas again") {
                .activate(try number("node", $0))
            },
            change("cairnReplaceNode", "moves all replicas of {node} to the node {with}") {
                .replace(try number("node", $0), with: try number("with", $0))
            },
            change("cairnMoveLeader", "has {node} lead {group}") { invocation in
                guard let group = invocation.body["group"]?.int64Exactly.flatMap({ UInt32(exactly: $0) }) else {
                    throw QueryError(.badValue, "cairnMoveLeader needs 'group', the number of a group")
                }
                return .lead(GroupID(rawValue: group), try number("node", invocation))
            },
            .local("cairnRemoveNode", "forgets {node}, which must be empty") { invocation, node in
                let id = try number("node", invocation)
                let layout = try await node.changeLayout { router, deadline throws(QueryError) in
                    try await router.removeNode(id, deadline: deadline)
                }
                return ["layout": .document(layout.document), "ok": .double(1)]
            },
            .local("cairnNodeGroups", "the groups of which {node} holds a replica") { invocation, node in
                guard let router = node.router else { throw QueryError(.shutdownInProgress, "the node is starting") }
                let groups = try await router.groups(
                    on: try number("node", invocation), deadline: node.clock.nanoseconds + 10_000_000_000)
                return ["groups": .array(BSONArray(groups.map { .int64(Int64($0.rawValue)) })), "ok": .double(1)]
            },
        ]
    }

    private static func change(
        _ name: String, _ help: String, _ make: @escaping @Sendable (Invocation) throws -> LayoutChange
    ) -> Command {
        .local(name, help) { invocation, node in
            let change = try make(invocation)
            let layout = try await node.changeLayout { router, deadline throws(QueryError) in
                try await router.changeLayout(change, deadline: deadline)
            }
            return ["layout": .document(layout.document), "ok": .double(1)]
        }
    }

    private static func number(_ name: String, _ invocation: Invocation) throws(QueryError) -> NodeID {
        guard let number = invocation.body[name]?.int64Exactly, number > 0 else {
            throw QueryError(.badValue, "\(invocation.name) needs '\(name)', the number of a node")
        }
        return NodeID(rawValue: UInt64(number))
    }

    private static func address(_ name: String, _ invocation: Invocation) throws(QueryError) -> String {
        guard let text = invocation.body[name]?.stringValue, SocketEndpoint(parsing: text) != nil else {
            throw QueryError(.badValue, "\(invocation.name) needs '\(name)', an address like HOST:PORT")
        }
        return text
    }
}

extension NodeLoop {
    /// Has the meta group change the layout, and goes by the result at once.
    fileprivate func changeLayout(
        _ change: (Router, UInt64) async throws(QueryError) -> ClusterLayout
    ) async throws(QueryError) -> ClusterLayout {
        guard let router, host != nil else {
            throw QueryError(.illegalOperation, "a router has no nodes: ask one of the cluster's nodes")
        }
        let layout = try await change(router, clock.nanoseconds + 10_000_000_000)
        siblings[0].onLoop { $0.adoptEverywhere(layout) }
        return layout
    }
}
