import CairnFiles
import CairnRaft
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnReplication

/// A41: the disk of a leader, a follower, a majority, and of all nodes, nearly full and full, and room again.
@Suite("disks that fill up")
struct DiskSpaceTests {
    private static let reserve: UInt64 = 1 << 20

    private func makeCluster(
        seed: UInt64, groups: Int = 3, usesEngine: Bool = false, reserve: UInt64 = Self.reserve
    ) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed, groups: groups, usesEngine: usesEngine) { options in
            options.spaceReserveBytes = reserve
            options.spaceReadingNanoseconds = 50 * SimulatedCluster.millisecond
        }
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 100)
        return cluster
    }

    private func leads(_ node: SimulatedNode, _ cluster: SimulatedCluster) -> Bool {
        cluster.groups.contains { node.host!.role(of: $0)!.isLeader }
    }

    @Test("A41: space is short below the reserve, gone below its half, and back only a good deal above")
    func A41_thresholds() {
        var space = DiskSpace(reserveBytes: 1000)
        func state(_ free: UInt64, isBlocked: Bool = false) -> DiskSpace.State {
            space.note(freeBytes: free)
            _ = space.update(isBlocked: isBlocked)
            return space.state
        }
        #expect(state(1000) == .ample)
        #expect(state(999) == .low)
        #expect(state(1200) == .low)
        #expect(state(499) == .exhausted)
        #expect(state(700) == .exhausted)
        #expect(state(750) == .low)
        #expect(state(400) == .exhausted)
        #expect(state(1250) == .ample)
        #expect(state(5000, isBlocked: true) == .exhausted)
        #expect(state(5000) == .ample)
        #expect(state(10) == .exhausted)
    }

    @Test("A41: a leader short of space hands its offices over, follows on, and may lead again when there is room")
    func A41_lowLeader() throws {
        let cluster = try makeCluster(seed: 41)
        let node = cluster.leader(of: cluster.groups[0])!
        node.fileSystem.fill(leaving: Self.reserve - 1000)
        try cluster.load(milliseconds: 1000)
        #expect(node.host!.space.state == .low)
        #expect(!leads(node, cluster) && cluster.hasAllLeaders)
        // It takes part, so that a majority is two disks of three as before.
        let before = cluster.acknowledgedCount
        cluster.isolate(cluster.nodes.first { $0.id != node.id }!.id)
        #expect(try cluster.run(limit: 4000) { cluster.groups.allSatisfy { cluster.leader(of: $0) != nil } })
        try cluster.load(milliseconds: 600)
        #expect(cluster.acknowledgedCount > before + 100)
        node.fileSystem.setCapacity(.max)
        cluster.heal()
        #expect(try cluster.run(limit: 500) { node.host!.space.state == .ample })
        let leader = cluster.leader(of: cluster.groups[0])!
        if leader.id != node.id {
            try cluster.run(milliseconds: 100)
            try leader.host!.transferLeadership(cluster.groups[0], to: node.id)
            #expect(try cluster.run(limit: 500) { cluster.leader(of: cluster.groups[0])?.id == node.id })
        }
        try cluster.expectLevel()
    }

    @Test(
        "A41: a leader whose log finds no room ends nothing and loses nothing: others lead, and it comes back with the space",
        arguments: SimulatedCluster.seeds(3), [0, Self.reserve])
    func A41_fullLeader(seed: UInt64, reserve: UInt64) throws {
        let cluster = try makeCluster(seed: seed, reserve: reserve)
        cluster.padding = 200
        let node = cluster.leader(of: cluster.groups[0])!
        node.fileSystem.fill(leaving: 300)
        try cluster.load(milliseconds: 1200)
        #expect(node.isUp && node.groupFailures.isEmpty)
        #expect(node.host!.space.state == .exhausted)
        #expect(!leads(node, cluster) && cluster.hasAllLeaders, "seed \(seed): \(cluster.describe())")
        let before = cluster.acknowledgedCount
        try cluster.load(milliseconds: 300)
        #expect(cluster.acknowledgedCount > before + 200, "seed \(seed)")
        let behind = node.tablets[cluster.groups[0]]!.appliedIndex
        try cluster.load(milliseconds: 200)
        #expect(node.tablets[cluster.groups[0]]!.appliedIndex == behind, "appends are not taken in")
        node.fileSystem.setCapacity(.max)
        try cluster.expectLevel()
        #expect(node.host!.space.state == .ample)
    }

    @Test("A41: a node that dies while its disk is full has what it acknowledged", arguments: SimulatedCluster.seeds(3))
    func A41_fullAndPowerCut(seed: UInt64) throws {
        let cluster = try makeCluster(seed: seed, reserve: 0)
        for node in cluster.nodes { node.fileSystem.fill(leaving: 2000 + cluster.random.next() % 20_000) }
        try cluster.load(milliseconds: 600)
        for node in cluster.nodes { node.cutPower() }
        for node in cluster.nodes {
            node.fileSystem.setCapacity(.max)
            try node.start()
        }
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 50, "seed \(seed)")
    }

    @Test("A41: with every disk full writes are refused by name, reads go on, nothing gathers, no group stays wedged")
    func A41_allFull() throws {
        let cluster = try makeCluster(seed: 43, reserve: 0)
        for node in cluster.nodes { node.fileSystem.fill(leaving: 500) }
        try cluster.load(milliseconds: 1500)
        for node in cluster.nodes { #expect(node.isUp && node.host!.space.state == .exhausted) }
        let batches = cluster.nodes.map { $0.host!.logBatchesInFlight }
        let (reads, acknowledged) = (cluster.readsAnswered, cluster.acknowledgedCount)
        for group in cluster.groups {
            let leader = cluster.leader(of: group)!
            #expect(throws: GroupProposalError.outOfSpace) { try leader.host!.propose([1], in: group) }
            guard case .none(let reason) = leader.host!.room(for: group) else {
                Issue.record("\(leader.host!.room(for: group))")
                return
            }
            #expect(reason.contains("at raft") && reason.contains("node \(leader.id)"), "\(reason)")
        }
        try cluster.load(milliseconds: 3000)
        #expect(cluster.readsAnswered > reads + 50)
        #expect(cluster.acknowledgedCount == acknowledged)
        #expect(cluster.nodes.map { $0.host!.logBatchesInFlight } == batches, "what waits for room does not grow")
        for node in cluster.nodes { node.fileSystem.setCapacity(.max) }
        try cluster.run(milliseconds: 300)
        try cluster.load(milliseconds: 200)
        #expect(cluster.acknowledgedCount > acknowledged + 100)
        try cluster.expectLevel()
    }

    @Test("A41: where most replicas are short of space their leader says so, though it has room itself")
    func A41_majorityLow() throws {
        let cluster = try makeCluster(seed: 44, groups: 1)
        let group = cluster.groups[0]
        let leader = cluster.leader(of: group)!
        for node in cluster.nodes where node.id != leader.id { node.fileSystem.fill(leaving: Self.reserve - 1) }
        try cluster.run(milliseconds: 400)
        #expect(cluster.leader(of: group)!.id == leader.id)
        #expect(leader.host!.space.state == .ample)
        guard case .deletesOnly(let reason) = leader.host!.room(for: group) else {
            Issue.record("\(leader.host!.room(for: group))")
            return
        }
        #expect(reason.contains("most nodes"))
        // What makes room is taken.
        let before = cluster.acknowledgedCount
        try cluster.load(milliseconds: 50)
        #expect(cluster.acknowledgedCount > before)
        for node in cluster.nodes { node.fileSystem.setCapacity(.max) }
        try cluster.run(milliseconds: 400)
        #expect(leader.host!.room(for: group) == .ample)
        try cluster.expectLevel()
    }

    @Test("A41, A30: a tablet that finds no room for an entry applies it later, once, and its group goes on")
    func A41_A30_applyFindsNoRoom() throws {
        let cluster = try makeCluster(seed: 45, groups: 2, usesEngine: true)
        let node = cluster.nodes[1]
        node.fileSystem.inject(DiskFault(.error(.outOfSpace), on: .write, pathContains: ".wal"))
        node.fileSystem.inject(DiskFault(.error(.outOfSpace), on: .create, pathContains: ".wal"))
        try cluster.load(milliseconds: 800)
        #expect(node.isUp && node.host!.space.state == .exhausted)
        #expect(node.groupFailures.contains { $0.code == .outOfSpace })
        for group in cluster.groups { #expect(node.host!.status(of: group)!.failure == nil) }
        #expect(!leads(node, cluster) && cluster.hasAllLeaders)
        node.fileSystem.removeFaults()
        try cluster.load(milliseconds: 200)
        #expect(node.host!.space.state == .ample)
        try cluster.expectLevel()
    }
}
