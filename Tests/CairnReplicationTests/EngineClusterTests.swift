import CairnRaft
import CairnStorage
import Testing

@testable import CairnReplication

/// The same cluster over the real storage engine.
@Suite("groups over storage engines")
struct EngineClusterTests {
    @Test(
        "A28, A30: power cuts at any write of log and engine lose nothing acknowledged, and apply nothing twice",
        arguments: SimulatedCluster.seeds(2), [false, true])
    func A28_A30_powerCuts(seed: UInt64, encrypts: Bool) throws {
        let cluster = try SimulatedCluster(seed: seed, groups: 2, usesEngine: true, encrypts: encrypts) {
            $0.logEntriesKept = 20
        }
        try cluster.run { cluster.hasAllLeaders }
        for round in 0..<6 {
            let node = cluster.nodes[round % 3]
            node.fileSystem.cutPower(afterOperations: 1 + Int(cluster.random.next() % 120))
            try cluster.load(milliseconds: 150, writesPerMillisecond: 2)
            if node.isUp { node.cutPower() }
            try node.start()
            #expect(node.startFailures.isEmpty)
        }
        for node in cluster.nodes where node.isUp { node.cutPower() }
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 100, "seed \(seed)")
    }

    @Test(
        "A42, B35: a node that was away while the log was purged gets an engine's checkpoint, and the keys to it",
        arguments: 0..<3, [false, true])
    func A42_B35_catchUp(cut: Int, encrypts: Bool) throws {
        let cluster = try SimulatedCluster(seed: 42, groups: 1, usesEngine: true, encrypts: encrypts) { options in
            options.logEntriesKept = 10
            options.snapshotChunkBytes = 500
            options.snapshotWindowBytes = 1500
        }
        cluster.padding = 300
        let group = cluster.groups[0]
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 20)
        let away = cluster.nodes.first { $0.id != cluster.leader(of: group)!.id }!
        away.kill()
        for _ in 0..<8000 {
            cluster.write(to: group)
            try cluster.step()
            if let leader = cluster.leader(of: group), leader.host!.status(of: group)!.firstLogIndex > LogIndex(100) {
                break
            }
        }
        try away.start()
        if cut > 0 { away.fileSystem.cutPower(afterOperations: 20 * cut) }
        try cluster.load(milliseconds: 300)
        try cluster.expectLevel()
        #expect(cut > 0 || away.tablets[group]!.installs == 1)
    }
}
