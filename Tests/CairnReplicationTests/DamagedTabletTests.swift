import CairnFiles
import CairnRaft
import CairnSimulator
import CairnStorage
import CairnTestSupport
import Testing

@testable import CairnReplication

/// Replicas whose tables or manifests are damaged at rest, while their logs are sound.
@Suite("replicas with damaged tablets")
struct DamagedTabletTests {
    /// A group over engines whose tables are on the disk.
    private func makeCluster(seed: UInt64, nodes: Int = 3) throws -> (SimulatedCluster, GroupID) {
        let cluster = try SimulatedCluster(seed: seed, nodes: nodes, groups: 1, usesEngine: true) { options in
            options.logEntriesKept = 10
            options.snapshotChunkBytes = 500
            options.snapshotWindowBytes = 1500
        }
        let group = cluster.groups[0]
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 150)
        for node in cluster.nodes { node.tablets[group]!.advanceDurability() }
        try cluster.run(milliseconds: 300)
        try cluster.load(milliseconds: 30)
        return (cluster, group)
    }

    private func files(of node: SimulatedNode, _ suffix: String) throws -> [String] {
        let parent = "groups/0"
        return try node.fileSystem.list(parent).filter { $0.hasPrefix("tablet-") }.flatMap { tablet in
            try node.fileSystem.list("\(parent)/\(tablet)").filter { $0.contains(suffix) }
                .map { "\(parent)/\(tablet)/\($0)" }
        }
    }

    private func follower(_ cluster: SimulatedCluster) -> SimulatedNode {
        cluster.nodes.first { $0.id != cluster.leader(of: cluster.groups[0])!.id }!
    }

    private func damageTable(of node: SimulatedNode) throws {
        for path in try files(of: node, ".sst") {
            try node.fileSystem.cut(path, to: Int(try node.fileSystem.size(of: path)) / 2)
        }
    }

    @Test(
        "B28: a replica that cannot open its tablet says so, votes on, and is rebuilt from the leader",
        arguments: ["table", "manifest"])
    func B28_rebuiltAtTheStart(part: String) throws {
        let (cluster, group) = try makeCluster(seed: 28)
        let node = follower(cluster)
        node.kill()
        if part == "table" {
            try damageTable(of: node)
        } else {
            let manifest = try #require(try files(of: node, "MANIFEST").first)
            try node.fileSystem.flipBit(3, ofByte: 40, in: manifest)
        }
        cluster.tap = { $0.channel == .bulk ? nil : $0 }
        try node.start()
        #expect(node.startFailures.isEmpty)
        #expect(node.host!.status(of: group)!.failure?.code == .damaged)
        #expect(node.host!.status(of: group)!.failure!.message.contains("being rebuilt"))
        // Without the snapshot it is still one of two that make a majority.
        let other = cluster.nodes.first { $0.id != node.id && $0.id != cluster.leader(of: group)!.id }!
        other.kill()
        let before = cluster.acknowledgedCount
        try cluster.load(milliseconds: 1500)
        #expect(cluster.acknowledgedCount > before + 500, "\(cluster.describe())")
        #expect(node.host!.role(of: group)!.isLeader == false)
        cluster.tap = nil
        #expect(try cluster.run(limit: 5000) { node.tablets[group]!.installs == 1 }, "\(cluster.describe())")
        #expect(node.host!.status(of: group)!.failure == nil)
        try cluster.expectLevel()
        #expect(node.tablets[group]!.installs == 1)
        #expect(try node.fileSystem.list("groups/0").filter { $0 != "CURRENT" } == ["tablet-1"])
    }

    @Test("B28: a leader whose reads meet damage gives up its office, and answers nothing wrong")
    func B28_foundOnRead() throws {
        let (cluster, group) = try makeCluster(seed: 29)
        let node = cluster.leader(of: group)!
        // A fresh life has nothing of the tables in memory.
        node.kill()
        for path in try files(of: node, ".sst") { try node.fileSystem.flipBit(1, ofByte: 40, in: path) }
        try node.start()
        #expect(node.host!.status(of: group)!.failure == nil)
        #expect(try cluster.run { cluster.hasAllLeaders })
        if cluster.leader(of: group)!.id != node.id {
            try cluster.run(milliseconds: 200)
            try cluster.leader(of: group)!.host!.transferLeadership(group, to: node.id)
        }
        #expect(try cluster.run(limit: 2000) { cluster.leader(of: group)?.id == node.id })
        var wrong = 0
        var failed = 0
        for (key, value) in cluster.ledger[group]! {
            do {
                if try node.tablets[group]!.value(of: key) != value { wrong += 1 }
            } catch {
                failed += 1
            }
        }
        #expect(wrong == 0 && failed > 0)
        try cluster.run(milliseconds: 40)
        #expect(node.groupFailures.contains { $0.code == .damaged })
        #expect(try cluster.run(limit: 2000) { cluster.leader(of: group).map { $0.id != node.id } ?? false })
        #expect(try cluster.run(limit: 5000) { node.tablets[group]!.installs == 1 })
        try cluster.expectLevel()
    }

    @Test(
        "B28, A28: power cuts at any moment of a rebuild, with nodes dying beside it, lose nothing acknowledged",
        arguments: SimulatedCluster.seeds(12))
    func B28_A28_powerCuts(seed: UInt64) throws {
        let (cluster, _) = try makeCluster(seed: seed)
        let node = cluster.nodes[Int(seed % 3)]
        node.kill()
        try damageTable(of: node)
        try node.start()
        for round in 0..<4 {
            node.fileSystem.cutPower(afterOperations: 1 + Int(cluster.random.next() % 60))
            try cluster.load(milliseconds: 60 + Int(cluster.random.next() % 300))
            if node.isUp { node.cutPower() }
            let other = cluster.nodes[(Int(seed) + 1 + round % 2) % 3]
            if other.isUp { other.cutPower() }
            try node.start()
            try cluster.load(milliseconds: 200)
            if !other.isUp { try other.start() }
            #expect(node.startFailures.isEmpty, "seed \(seed)")
        }
        try cluster.expectLevel()
    }

    @Test("B28: what the replica acknowledged behind the snapshot is kept, so that the leader's death loses none of it")
    func B28_acknowledgedTailStays() throws {
        let (cluster, group) = try makeCluster(seed: 31)
        let leader = cluster.leader(of: group)!
        let node = follower(cluster)
        let other = cluster.nodes.first { $0.id != node.id && $0.id != leader.id }!
        node.kill()
        try damageTable(of: node)
        try node.start()
        // The snapshot is made at once and takes a while; the third node hears nothing, so that two disks are the majority.
        cluster.isolate(other.id)
        var lost = 0
        cluster.tap = { flight in
            guard flight.channel == .bulk, flight.to == node.id, lost < 2 else { return flight }
            lost += 1
            return nil
        }
        try cluster.load(milliseconds: 400)
        #expect(try cluster.run(limit: 5000) { node.tablets[group]!.installs == 1 }, "\(cluster.describe())")
        leader.kill()
        cluster.heal()
        try cluster.load(milliseconds: 800)
        try cluster.expectLevel()
    }

    @Test("B28: alone on its node a damaged replica stays out and says why, and its files stay as they are")
    func B28_alone() throws {
        let (cluster, group) = try makeCluster(seed: 32, nodes: 1)
        let node = cluster.nodes[0]
        node.kill()
        try damageTable(of: node)
        let before = try files(of: node, "")
        try node.start()
        let failure = try #require(node.startFailures[group])
        #expect(failure.code == .damaged && failure.message.contains("no other replica"))
        #expect(node.host!.status(of: group)!.failure == failure)
        try cluster.run(milliseconds: 500)
        #expect(try files(of: node, "") == before)
    }
}
