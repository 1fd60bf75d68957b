import CairnBSON
import CairnQuery
import CairnReplication
import CairnSharding

/// What Cairn's own tools ask a node about the cluster.
enum ClusterCommands {
    static var all: [Command] {
        [
            .local("cairnLayout", "the nodes and groups of the cluster, for routing clients") { _, node in
                var reply = DocumentBuilder()
                reply.append(elementsOf: node.shared.layout.document)
                reply.append("ok", 1.0)
                return reply.finish()
            },
            .local("cairnStatus", "how this node and its replicas are", status),
        ] + KeyCommands.all
    }

    private static func status(_ invocation: Invocation, _ node: isolated NodeLoop) async -> Document {
        var statuses: [ReplicaStatus] = []
        for loop in node.siblings { statuses += await loop.groupStatuses() }
        let groups = statuses.sorted { $0.group.rawValue < $1.group.rawValue }.map { Value.document(document(of: $0)) }
        let shared = node.shared
        var reply: Document = [
            "node": .int64(Int64(shared.configuration.node.rawValue)),
            "version": .string(BSONString(CairnVersion.current)),
            "uptimeMillis": .int64(Int64((node.clock.nanoseconds - shared.startedAtNanoseconds) / 1_000_000)),
            "residentBytes": .int64(Int64(MachineFacts.residentBytes())),
            "connections": .int64(Int64(shared.connectionCount.open)),
        ]
        if let space = await node.nodeSpace() {
            reply.append(
                "space",
                [
                    "state": .string(BSONString("\(space.state)")),
                    "freeBytes": .int64(Int64(clamping: space.freeBytes)),
                    "reserveBytes": .int64(Int64(clamping: space.reserveBytes)),
                ])
        }
        reply.append("groups", .array(BSONArray(groups)))
        reply.append("ok", .double(1))
        return reply
    }

    private static func document(of status: ReplicaStatus) -> Document {
        var builder = DocumentBuilder()
        builder.append("group", .int64(Int64(status.group.rawValue)))
        switch status.role {
        case .leader:
            builder.append("role", "leader")
            builder.append("leader", .null)
        case .follower(let leader):
            builder.append("role", "follower")
            builder.append("leader", leader.map { .int64(Int64($0.rawValue)) } ?? .null)
        }
        builder.append("term", .int64(Int64(status.term.rawValue)))
        builder.append("commitIndex", .int64(Int64(status.commitIndex.rawValue)))
        builder.append("appliedIndex", .int64(Int64(status.appliedIndex.rawValue)))
        builder.append("durableIndex", .int64(Int64(status.durableIndex.rawValue)))
        builder.append("firstLogIndex", .int64(Int64(status.firstLogIndex.rawValue)))
        builder.append("lastLogIndex", .int64(Int64(status.lastLogIndex.rawValue)))
        builder.append("logBytes", .int64(Int64(status.logBytes)))
        builder.append("voters", .array(BSONArray(status.voters.map { .int64(Int64($0.rawValue)) })))
        let peers = status.peers.map { peer -> Value in
            [
                "node": .int64(Int64(peer.node.rawValue)), "match": .int64(Int64(peer.match.rawValue)),
                "active": .bool(peer.isActive),
            ]
        }
        builder.append("peers", .array(BSONArray(peers)))
        builder.append("quiet", .bool(status.isQuiet))
        if let failure = status.failure { builder.append("failure", .string(BSONString("\(failure)"))) }
        return builder.finish()
    }
}
