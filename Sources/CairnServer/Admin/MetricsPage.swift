import CairnReplication
import CairnStorage

/// The node's numbers in the text format of Prometheus.
enum MetricsPage {
    static func text(of node: Node) async -> String {
        var page = PrometheusText()
        let shared = node.shared
        page.add(
            "cairn_operations_total", .counter, "Commands of clients by kind; write statements count one by one.",
            shared.counters.all.map { ("kind=\"\($0.name)\"", "\($0.count)") })
        page.add("cairn_client_connections", .gauge, "Open client connections.", shared.connectionCount.open)
        page.add(
            "cairn_resident_memory_bytes", .gauge, "Memory that the process holds.", MachineFacts.residentBytes())
        if let space = await node.space() {
            page.add(
                "cairn_disk_free_bytes", .gauge, "Bytes free on the disk of the data folder.",
                [("", "\(space.freeBytes)")])
            page.add(
                "cairn_disk_reserve_bytes", .gauge, "Bytes that are to stay free there.",
                [("", "\(space.reserveBytes)")])
            page.add(
                "cairn_read_only", .gauge,
                "1 while the disk is nearly full and only deletes are taken, 2 when nothing is.",
                [("", "\(space.state.rawValue)")])
        }
        let groups = await node.groupStatuses()
        func perGroup(
            _ name: String, _ kind: PrometheusText.Kind, _ help: String, _ value: (ReplicaStatus) -> String
        ) {
            page.add(name, kind, help, groups.map { ("group=\"\($0.group.rawValue)\"", value($0)) })
        }
        perGroup("cairn_raft_leader", .gauge, "1 where this node leads the group.") { $0.role.isLeader ? "1" : "0" }
        perGroup("cairn_raft_quiet", .gauge, "1 where the replica waits in silence until the group is used again.") {
            $0.isQuiet ? "1" : "0"
        }
        perGroup("cairn_replica_damaged", .gauge, "1 where the replica is being rebuilt, or stays out.") {
            $0.failure == nil ? "0" : "1"
        }
        perGroup("cairn_raft_term", .counter, "The group's term.") { "\($0.term.rawValue)" }
        perGroup("cairn_raft_commit_index", .counter, "The last committed entry known here.") {
            "\($0.commitIndex.rawValue)"
        }
        perGroup("cairn_raft_applied_index", .counter, "The last applied entry.") { "\($0.appliedIndex.rawValue)" }
        perGroup("cairn_raft_durable_index", .counter, "The last entry whose effects are in tables on the disk.") {
            "\($0.durableIndex.rawValue)"
        }
        perGroup("cairn_raft_log_bytes", .gauge, "Bytes of log kept for the group.") { "\($0.logBytes)" }
        StorageMetrics(engines: await node.engineStatistics()).append(to: &page)
        return page.text
    }
}

extension Node {
    /// What the tablets on this node say of their engines, in order of their groups.
    fileprivate func engineStatistics() async -> [(group: GroupID, statistics: EngineStatistics)] {
        var all: [(group: GroupID, statistics: EngineStatistics)] = []
        for loop in loops { all += await loop.engineStatistics() }
        return all.sorted { $0.group.rawValue < $1.group.rawValue }
    }
}

extension NodeLoop {
    fileprivate func engineStatistics() -> [(group: GroupID, statistics: EngineStatistics)] {
        groups.map { ($0.key, $0.value.database.engine.statistics) }
    }
}
