import CairnFiles
import CairnRaft
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnReplication

/// Followers that come back after the log they need is gone.
@Suite("snapshots between nodes")
struct SnapshotClusterTests {
    /// Three nodes of which the last is behind what the others' logs still have, with `entries` to catch up.
    func laggingCluster(seed: UInt64, entries: Int = 120, isolatedLeader: Bool = false) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed, groups: 1) { options in
            options.logEntriesKept = 10
            options.snapshotChunkBytes = 200
            options.snapshotWindowBytes = 600
        }
        let group = cluster.groups[0]
        cluster.persistsEvery = 15
        try cluster.run { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 30)
        if isolatedLeader {
            let leader = cluster.leader(of: group)!
            cluster.isolate(leader.id)
            // Entries of a leader that nobody follows any more.
            for _ in 0..<40 { cluster.write(to: group) }
        } else {
            let follower = cluster.nodes.first { $0.id != cluster.leader(of: group)!.id }!
            cluster.isolate(follower.id)
        }
        let base = cluster.acknowledgedCount
        try cluster.run(limit: 5000) {
            cluster.write(to: group)
            return cluster.acknowledgedCount > base + entries
        }
        let leader = cluster.leader(of: group)!
        try cluster.run(limit: 5000) {
            cluster.write(to: group)
            return leader.host!.status(of: group)!.firstLogIndex > LogIndex(UInt64(entries / 2))
        }
        return cluster
    }

    func lagging(_ cluster: SimulatedCluster) -> SimulatedNode {
        cluster.nodes.min { $0.tablets[cluster.groups[0]]!.appliedIndex < $1.tablets[cluster.groups[0]]!.appliedIndex }!
    }

    @Test("a follower behind the purged log catches up by a snapshot, and nothing of the transfer stays on any disk")
    func catchUp() throws {
        let cluster = try laggingCluster(seed: 1)
        let node = lagging(cluster)
        try cluster.expectLevel()
        #expect(node.tablets[cluster.groups[0]]!.installs == 1)
        #expect(node.host!.statistics.snapshotsInstalled == 1)
        try cluster.run(milliseconds: 200)
        for node in cluster.nodes { #expect(try node.fileSystem.list("groups/0") == ["tablet"], "\(node.id)") }
        #expect(cluster.nodes.reduce(0) { $0 + $1.host!.statistics.snapshotsSent } == 1)
    }

    @Test("A42: killed or cut off at any chunk, either side, a snapshot is whole or nothing", arguments: 0..<12)
    func A42_interruptedAtEachChunk(chunk: Int) throws {
        let cluster = try laggingCluster(seed: 42 + UInt64(chunk))
        let group = cluster.groups[0]
        let receiver = lagging(cluster)
        let sender = cluster.leader(of: group)!
        let victim = chunk % 2 == 0 ? receiver : sender
        var seen = 0
        cluster.heal()
        cluster.tap = { flight in
            if flight.channel == .bulk, flight.to == receiver.id { seen += 1 }
            return flight
        }
        try cluster.run(limit: 3000) { seen > chunk / 2 }
        try cluster.run(milliseconds: 2)
        switch chunk % 3 {
        case 0: if victim.isUp { victim.cutPower() }
        case 1: if victim.isUp { victim.kill() }
        default: cluster.isolate(victim.id)
        }
        try cluster.load(milliseconds: 400)
        if !victim.isUp { try victim.start() }
        for node in cluster.nodes { #expect(node.startFailures.isEmpty) }
        try cluster.expectLevel()
        try cluster.run(milliseconds: 300)
        for node in cluster.nodes { #expect(try node.fileSystem.list("groups/0") == ["tablet"], "chunk \(chunk)") }
    }

    @Test(
        "A42: a network that loses, and bulk frames that come twice, only cost time",
        arguments: SimulatedCluster.seeds(3))
    func A42_lossyTransfer(seed: UInt64) throws {
        let cluster = try laggingCluster(seed: seed)
        let node = lagging(cluster)
        cluster.heal()
        cluster.lossPermille = 150
        let installed = try cluster.run(limit: 20_000) { (node.tablets[cluster.groups[0]]?.installs ?? 0) > 0 }
        #expect(installed, "seed \(seed)")
        try cluster.expectLevel()
    }

    @Test(
        "A43: a snapshot over a divergent log takes the divergent entries with it, at every power cut",
        arguments: 0..<14)
    func A43_divergentLog(cut: Int) throws {
        let cluster = try laggingCluster(seed: 43, isolatedLeader: true)
        let node = lagging(cluster)
        let group = cluster.groups[0]
        #expect(node.host!.status(of: group)!.lastLogIndex > node.host!.status(of: group)!.commitIndex)
        cluster.heal()
        node.fileSystem.cutPower(afterOperations: 1 + cut * 9)
        try cluster.run(limit: 4000) { !node.isUp || node.tablets[group]!.installs > 0 }
        try cluster.run(milliseconds: cut % 7)
        if node.isUp { node.cutPower() }
        try node.start()
        #expect(node.startFailures.isEmpty, "cut \(cut): \(node.startFailures)")
        try cluster.expectLevel()
    }

    @Test(
        "A45: heavy writes while a snapshot crawls to a slow node: one or two snapshots, a bounded log, and it is level"
    )
    func A45_purgeAgainstSnapshot() throws {
        let cluster = try laggingCluster(seed: 45, entries: 200)
        let group = cluster.groups[0]
        let node = lagging(cluster)
        cluster.heal()
        let leader = cluster.leader(of: group)!
        var longest: UInt64 = 0
        for _ in 0..<4000 {
            cluster.write(to: group)
            try cluster.step()
            if let status = leader.host?.status(of: group) { longest = max(longest, status.logBytes) }
            if node.tablets[group]!.installs > 0, cluster.random.oneIn(300) { break }
        }
        #expect(node.tablets[group]!.installs >= 1)
        #expect(longest < 4000 * 200)
        try cluster.expectLevel()
        #expect(node.tablets[group]!.installs <= 2)
    }

    @Test("A42: of two snapshots in quick succession the older is refused once the newer is there")
    func A42_olderLast() throws {
        let cluster = try laggingCluster(seed: 5)
        let group = cluster.groups[0]
        let node = lagging(cluster)
        try cluster.expectLevel()
        let tablet = node.tablets[group]!
        let applied = tablet.appliedIndex
        let leader = cluster.leader(of: group)!
        let status = leader.host!.status(of: group)!
        let collector = FrameCollector()
        var builder = FrameBuilder(cluster: 42, node: leader.id, peer: node.id, channel: .bulk)
        let old = SnapshotMessage.begin(
            SnapshotTransfer(term: status.term, number: 999),
            SnapshotMetadata(
                position: LogPosition(term: Term(1), index: LogIndex(5)),
                configuration: Configuration(voters: cluster.founders)),
            files: [SnapshotFile(name: "empty", byteCount: 0)], keys: [])
        builder.add(group: group, byteCount: 100, to: collector) { old.append(to: &$0) }
        builder.finish(collector)
        node.host!.receive(frame: collector.frames[0].frame[...], from: leader.id, over: .bulk, now: node.clock)
        try cluster.run(milliseconds: 100)
        #expect(tablet.appliedIndex >= applied)
        #expect(node.host!.status(of: group)!.incomingSnapshot == nil)
        try cluster.expectLevel()
    }
}
