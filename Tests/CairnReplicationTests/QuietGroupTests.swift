import CairnFiles
import CairnRaft
import Testing

@testable import CairnReplication

/// Groups that nobody uses cost nothing, and come back when somebody does.
@Suite struct QuietGroupTests {
    /// The configured maximum, of which bounds are multiples.
    private static let electionTimeoutMilliseconds = 300

    /// A cluster whose groups have all fallen silent.
    private static func quietCluster(seed: UInt64, groups: Int) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed, groups: groups)
        try #require(try cluster.run { cluster.hasAllLeaders })
        for group in cluster.groups { cluster.write(to: group) }
        try #require(try cluster.run(limit: 3_000) { cluster.isQuiet }, "seed \(seed): \(cluster.describe())")
        return cluster
    }

    /// Writes to each of `groups`, again and again, until each has acknowledged one; milliseconds until then.
    private static func firstWrites(
        to groups: [GroupID], of cluster: SimulatedCluster, limit: Int = 5_000
    ) throws -> Int {
        let before = groups.map { cluster.ledger[$0]?.count ?? 0 }
        var missing = Array(groups.indices)
        for millisecond in 0..<limit {
            missing.removeAll { cluster.ledger[groups[$0]]?.count ?? 0 > before[$0] }
            if missing.isEmpty { return millisecond }
            if millisecond % 10 == 0 { for position in missing { cluster.write(to: groups[position]) } }
            try cluster.step()
        }
        return limit
    }

    @Test func A50_thousandQuietGroupsSendNothingButTheirNodesSignsOfLife() throws {
        let cluster = try Self.quietCluster(seed: 1, groups: 1_000)
        var frames = 0
        var messages = 0
        cluster.tap = { flight in
            frames += 1
            messages += (try? PeerCodec.open(flight.frame[...], cluster: 42).count) ?? 0
            return flight
        }
        let batches = cluster.nodes.map { $0.host!.statistics.logBatches }
        // Less than the interval at which quiet leaders show themselves.
        try cluster.run(milliseconds: 600)
        // Three nodes show themselves to two others every 30 ms.
        #expect(frames <= 3 * 2 * (600 / 30 + 1), "\(frames) frames")
        #expect(messages == frames)
        #expect(cluster.nodes.map { $0.host!.statistics.logBatches } == batches)
        #expect(cluster.isQuiet)
        #expect(cluster.nodes.allSatisfy { $0.host!.active.isEmpty })
    }

    @Test func aQuietLeaderHandsItsOfficeToANodeThatIsNamedAnew() throws {
        let cluster = try Self.quietCluster(seed: 9, groups: 5)
        for group in cluster.groups {
            let leader = try #require(cluster.leader(of: group)).id
            let target = try #require(cluster.founders.first { $0 != leader })
            for node in cluster.nodes {
                node.host?.place(group, voters: cluster.founders, preferredLeader: target)
            }
            #expect(try cluster.run(limit: 1_000) { cluster.leader(of: group)?.id == target }, "\(group) stays quiet")
        }
        #expect(try cluster.run(limit: 3_000) { cluster.isQuiet })
    }

    @Test func aSilenceIsConfirmedNowAndThenWithoutWakingAnyone() throws {
        let cluster = try Self.quietCluster(seed: 2, groups: 20)
        var messages = 0
        cluster.tap = { flight in
            messages += (try? PeerCodec.open(flight.frame[...], cluster: 42).count) ?? 0
            return flight
        }
        for _ in 0..<5_000 {
            try cluster.step()
            #expect(cluster.nodes.allSatisfy { $0.host!.active.isEmpty })
        }
        // Each group once a second: two heartbeats and their answers; and the signs of life.
        #expect(messages <= 20 * 4 * 8 + 3 * 2 * (5_000 / 30 + 1), "\(messages) messages")
    }

    @Test(arguments: SimulatedCluster.seeds(5))
    func A50_killedNode_theFirstRequestFindsALeader(seed: UInt64) throws {
        let cluster = try Self.quietCluster(seed: seed, groups: 60)
        cluster.nodes[Int(seed % 3)].kill()
        let milliseconds = try Self.firstWrites(to: cluster.groups, of: cluster)
        #expect(milliseconds <= 3 * Self.electionTimeoutMilliseconds, "seed \(seed)")
        // The survivors fall silent without the dead one, and wake for it when it is back.
        #expect(try cluster.run(limit: 3_000) { cluster.isQuiet }, "seed \(seed): \(cluster.describe())")
        try cluster.expectLevel()
        #expect(try cluster.run(limit: 3_000) { cluster.isQuiet }, "seed \(seed): \(cluster.describe())")
    }

    @Test(arguments: SimulatedCluster.seeds(5))
    func A50_partitionOfOneFollowerThenAnother_theFirstRequestFindsALeader(seed: UInt64) throws {
        let cluster = try Self.quietCluster(seed: seed, groups: 30)
        let led = cluster.groups.filter { cluster.leader(of: $0)?.id == NodeID(1) }
        try #require(!led.isEmpty)
        cluster.cut(from: NodeID(1), to: NodeID(2))
        cluster.cut(from: NodeID(2), to: NodeID(1))
        #expect(try Self.firstWrites(to: led, of: cluster) <= 3 * Self.electionTimeoutMilliseconds, "seed \(seed)")
        try cluster.run(milliseconds: Int(cluster.random.next() % 1_500))
        cluster.cut(from: NodeID(1), to: NodeID(3))
        cluster.cut(from: NodeID(3), to: NodeID(1))
        #expect(try Self.firstWrites(to: led, of: cluster) <= 3 * Self.electionTimeoutMilliseconds, "seed \(seed)")
        try cluster.expectLevel()
    }

    @Test(arguments: SimulatedCluster.seeds(5))
    func A50_aNodeThatStartedAnewDoesNotSleepThroughTheDeathOfTheLeader(seed: UInt64) throws {
        let cluster = try Self.quietCluster(seed: seed, groups: 30)
        let restarted = cluster.nodes[0]
        restarted.kill()
        try restarted.start()
        // At once, or when it has heard of the leaders again.
        try cluster.run(milliseconds: Int(cluster.random.next() % 1_000))
        cluster.nodes[1].kill()
        let milliseconds = try Self.firstWrites(to: cluster.groups, of: cluster)
        #expect(milliseconds <= 4 * Self.electionTimeoutMilliseconds, "seed \(seed)")
        try cluster.expectLevel()
    }

    @Test(arguments: SimulatedCluster.seeds(5))
    func aNodeThatStartsAnewWithinAnInstantIsNotTakenForTheLeaderThatItWas(seed: UInt64) throws {
        let cluster = try Self.quietCluster(seed: seed, groups: 30)
        cluster.nodes[0].kill()
        try cluster.nodes[0].start()
        #expect(try Self.firstWrites(to: cluster.groups, of: cluster) <= 3 * Self.electionTimeoutMilliseconds)
        try cluster.expectLevel()
    }

    @Test(arguments: SimulatedCluster.seeds(5))
    func A10_quietLeaderThatHearsNothingGivesWay(seed: UInt64) throws {
        let cluster = try Self.quietCluster(seed: seed, groups: 10)
        let deaf = NodeID(1)
        let led = cluster.groups.filter { cluster.leader(of: $0)?.id == deaf }
        try #require(!led.isEmpty)
        cluster.cut(from: NodeID(2), to: deaf)
        cluster.cut(from: NodeID(3), to: deaf)
        let hasGivenWay = try cluster.run(limit: 8 * Self.electionTimeoutMilliseconds) {
            led.allSatisfy { cluster.leader(of: $0).map { $0.id != deaf } ?? false }
        }
        #expect(hasGivenWay, "seed \(seed): \(cluster.describe())")
        try cluster.expectLevel()
    }

    @Test func aLeaderThatFailsInItsSleepIsReplaced() throws {
        let cluster = try Self.quietCluster(seed: 3, groups: 5)
        let group = cluster.groups[0]
        let leader = try #require(cluster.leader(of: group))
        let host = try #require(leader.host)
        host.fail(host.index[group]!, ReplicationError(.stateMachine, group: group, "the test says so"))
        let isReplaced = try cluster.run(limit: 6 * Self.electionTimeoutMilliseconds) {
            cluster.leader(of: group).map { $0 !== leader } ?? false
        }
        #expect(isReplaced, "\(cluster.describe())")
    }

    @Test func A50_aRequestAtAFollowerFindsALeaderWhereNoneIsLeft() throws {
        let cluster = try Self.quietCluster(seed: 6, groups: 5)
        let group = cluster.groups[0]
        let leader = try #require(cluster.leader(of: group))
        // The process lives and shows it, but its replica is gone and nobody was told.
        leader.host!.index[group]!.failure = ReplicationError(.stateMachine, group: group, "the test says so")
        let follower = try #require(cluster.nodes.first { $0 !== leader })
        try cluster.run(milliseconds: 1_500)
        #expect(follower.host!.status(of: group)!.isQuiet)
        follower.host!.seekLeader(of: group)
        let isReplaced = try cluster.run(limit: 3 * Self.electionTimeoutMilliseconds) {
            cluster.nodes.contains { $0 !== leader && $0.host!.role(of: group)?.isLeader == true }
        }
        #expect(isReplaced, "\(cluster.describe())")
    }

    @Test(arguments: SimulatedCluster.seeds(10))
    func aReadAfterASilenceSeesEveryWrite(seed: UInt64) throws {
        let cluster = try Self.quietCluster(seed: seed, groups: 6)
        // Every node is asked, also one that was replaced while it slept; the cluster checks what they answer.
        for node in cluster.nodes {
            for group in cluster.groups { #expect(node.host!.leaseReadIndex(group, now: node.clock) == nil) }
        }
        let lost = cluster.nodes[Int(seed % 3)]
        cluster.isolate(lost.id)
        for _ in 0..<1_500 {
            if cluster.random.oneIn(50) {
                let group = cluster.groups[Int(cluster.random.next() % 6)]
                cluster.write(to: group)
                cluster.read(from: group)
            }
            try cluster.step()
        }
        cluster.heal()
        for group in cluster.groups { cluster.read(from: group) }
        try cluster.run(milliseconds: 100)
        for group in cluster.groups { cluster.read(from: group) }
        #expect(cluster.readsAnswered > 0)
        try cluster.expectLevel()
    }

    @Test func aPreferredLeaderGetsItsOfficeBeforeTheGroupFallsSilent() throws {
        let cluster = try SimulatedCluster(seed: 4, groups: 6)
        cluster.preferredLeaders = true
        for group in cluster.groups { try cluster.move(group, to: cluster.founders) }
        #expect(try cluster.run(limit: 5_000) { cluster.isQuiet }, "\(cluster.describe())")
        for group in cluster.groups {
            #expect(cluster.leader(of: group)?.id == cluster.founders[Int(group.rawValue) % 3])
        }
    }

    @Test func aSignOfLifeIsDecodedOrRefused() throws {
        let sign = NodeSign(host: 7, resignations: 3)
        var bytes: [UInt8] = []
        sign.append(to: &bytes)
        #expect(bytes.count == NodeSign.byteCount)
        #expect(try NodeSign(decoding: bytes[...]) == sign)
        for count in 0..<bytes.count {
            #expect(throws: PeerCodecError.self) { try NodeSign(decoding: bytes[..<count]) }
        }
        #expect(throws: PeerCodecError.self) { try NodeSign(decoding: (bytes + [0])[...]) }
        #expect(throws: PeerCodecError.self) { try NodeSign(decoding: ([2] + bytes.dropFirst())[...]) }
    }
}
