import CairnRaft
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnReplication

/// Replicas move between whole nodes while clients write. Each message of a failure names the seed.
@Suite("replicas that move")
struct MembershipTests {
    private func node(_ number: UInt64) -> NodeID { NodeID(number) }

    @Test("a replica moves to a new node, which gets what the group has, and leaves nothing behind")
    func move() throws {
        let cluster = try SimulatedCluster(seed: 1, nodes: 4, founders: 3, usesEngine: true)
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 300)
        for group in cluster.groups { try cluster.move(group, to: [node(1), node(2), node(4)]) }
        try cluster.load(milliseconds: 1_500)
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        try cluster.run(milliseconds: 50)
        #expect(try !cluster.node(node(3)).fileSystem.exists("groups/0"))
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 1_000)
    }

    /// Found by the whole-node simulation. Such a replica had forgotten its votes and what it had acknowledged.
    @Test("a replica that was leaving when the power went does not come back", arguments: 0..<24)
    func powerCutWhileLeaving(operations: Int) throws {
        let cluster = try SimulatedCluster(seed: UInt64(operations), nodes: 4, founders: 3, groups: 1, usesEngine: true)
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 100)
        let leaver = cluster.node(node(3))
        try cluster.move(cluster.groups[0], to: [node(1), node(2), node(4)])
        #expect(try cluster.run { leaver.tablets.isEmpty }, "\(cluster.describe())")
        leaver.fileSystem.cutPower(afterOperations: operations)
        try cluster.run(milliseconds: 100)
        if leaver.isUp { leaver.cutPower() }
        try leaver.start()
        #expect(leaver.tablets.isEmpty, "a replica came back")
        #expect(try !leaver.fileSystem.exists("groups/0"))
        #expect(leaver.log?.groups.isEmpty == true)
        try cluster.expectLevel()
    }

    @Test("a group moves to entirely other nodes, its leader too")
    func moveEverything() throws {
        let cluster = try SimulatedCluster(seed: 2, nodes: 6, founders: 3)
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 200)
        for group in cluster.groups { try cluster.move(group, to: [node(4), node(5), node(6)]) }
        try cluster.load(milliseconds: 2_500)
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        for old in 1...3 { cluster.node(node(UInt64(old))).kill() }
        let before = cluster.acknowledgedCount
        try cluster.load(milliseconds: 500)
        #expect(cluster.acknowledgedCount > before + 300, "the old nodes are not needed any more")
    }

    @Test("a group that lives on one node moves to another")
    func moveTheOnlyReplica() throws {
        let cluster = try SimulatedCluster(seed: 3, nodes: 2, founders: 1)
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 100)
        for group in cluster.groups { try cluster.move(group, to: [node(2)]) }
        try cluster.load(milliseconds: 1_500)
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        try cluster.expectLevel()
    }

    @Test("the replicas of a dead node are made anew, and it gives up its own when it comes back")
    func rebuildElsewhere() throws {
        let cluster = try SimulatedCluster(seed: 4, nodes: 4, founders: 3)
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 200)
        cluster.node(node(2)).kill()
        for group in cluster.groups { try cluster.move(group, to: [node(1), node(3), node(4)]) }
        try cluster.load(milliseconds: 2_500)
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        try cluster.node(node(2)).start()
        #expect(try cluster.run { cluster.node(node(2)).tablets.isEmpty }, "\(cluster.describe())")
        try cluster.expectLevel()
    }

    @Test("a change whose newcomers are not there is not begun, and the group goes on")
    func absentNewcomer() throws {
        let cluster = try SimulatedCluster(seed: 5, nodes: 4, founders: 3)
        try cluster.run { cluster.hasAllLeaders }
        cluster.isolate(node(4))
        for group in cluster.groups { try cluster.move(group, to: [node(1), node(2), node(4)]) }
        try cluster.load(milliseconds: 1_000)
        #expect(cluster.acknowledgedCount > 700)
        for group in cluster.groups {
            let configuration = cluster.leader(of: group)?.host?.configuration(of: group)
            #expect(configuration?.voters == cluster.founders)
        }
        try cluster.expectLevel()
    }

    /// Seeds that once found a node which had left, come back empty, and voted for a leader of the old members.
    @Test(arguments: [14, 82] as [UInt64])
    func A51_aReplicaThatComesBackVotesAsItsFormerSelf(seed: UInt64) throws {
        try randomMoves(seed: seed)
    }

    @Test(
        "replicas move at random under loss, power cuts and partitions, and nothing acknowledged is lost",
        arguments: SimulatedCluster.seeds(12))
    func randomMoves(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: 1_000 + seed, nodes: 5, founders: 3)
        cluster.lossPermille = cluster.random.next() % 50
        try cluster.run { cluster.hasAllLeaders }
        for _ in 0..<8 {
            if cluster.random.oneIn(2) {
                let group = cluster.groups[Int(cluster.random.next() % UInt64(cluster.groups.count))]
                let chosen = cluster.nodes.map(\.id).shuffled(using: &cluster.random).prefix(3)
                try cluster.move(group, to: chosen.sorted())
            }
            switch cluster.random.next() % 4 {
            case 0:
                let victim = cluster.nodes[Int(cluster.random.next() % 5)]
                if victim.isUp { victim.cutPower() }
                try cluster.load(milliseconds: 100)
                if !victim.isUp { try victim.start() }
            case 1:
                cluster.isolate(cluster.nodes[Int(cluster.random.next() % 5)].id)
                try cluster.load(milliseconds: 300)
                cluster.heal()
            case 2:
                let victim = cluster.nodes[Int(cluster.random.next() % 5)]
                victim.fileSystem.cutPower(afterOperations: 1 + Int(cluster.random.next() % 60))
                try cluster.load(milliseconds: 200)
                if !victim.isUp { try victim.start() }
            default: try cluster.load(milliseconds: 300)
            }
        }
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 100, "seed \(seed)")
    }
}
