import Testing

@testable import CairnRaft

/// Replicas that lost their state machine and not their log, and replicas that are short of disk space.
@Suite struct StateAndSpaceScenarios {
    private func loseState(_ node: UInt64, in cluster: TestCluster) {
        cluster.with(node) { [now = cluster.now] in $0.loseState(now: now) }
    }

    @Test func B28_aReplicaWithoutStateAcknowledgesAndVotesAndDoesNotStand() throws {
        let cluster = TestCluster.led(3)
        loseState(3, in: cluster)
        cluster.isolate(2)
        try cluster.propose(1, "x")
        cluster.run(milliseconds: 200)
        #expect(cluster.appliedText(1) == ["x"], "two disks of three are a majority")
        #expect(cluster.applied(3).allSatisfy { $0.kind != .normal }, "there is nothing to apply it to")
        // n2 lacks the entry, so n3 does not elect it; itself it does not stand.
        cluster.crash(1)
        cluster.heal()
        cluster.run(milliseconds: 20_000)
        #expect(cluster.leaders.isEmpty)
        cluster.start(1)
        cluster.run(milliseconds: 20_000, until: { !cluster.leaders.isEmpty })
        #expect(cluster.leaders == [1])
    }

    @Test func B28_aLeaderThatLosesItsStateGivesUpTheOfficeAndGetsNoneUntilItHasASnapshot() throws {
        let cluster = TestCluster.led(3)
        try cluster.propose(1, "x")
        cluster.run(milliseconds: 200)
        loseState(1, in: cluster)
        #expect(cluster[1].role == .follower)
        cluster.run(milliseconds: 20_000, until: { !cluster.leaders.isEmpty })
        let leader = try #require(cluster.leaders.first)
        cluster.run(milliseconds: 500)
        #expect(cluster.snapshotsToSend.contains { $0.from == leader && $0.to == 1 }, "it asks at each heartbeat")
        #expect(throws: TransferError.unwilling(NodeID(1))) {
            try cluster.with(leader) { try $0.transferLeadership(to: NodeID(1)) }
        }
    }

    @Test func B28_theLogBehindASnapshotStaysWhereItHoldsTheSnapshotsLastEntry() throws {
        let cluster = TestCluster.led(3)
        for text in ["a", "b", "c"] { try cluster.propose(1, text) }
        cluster.run(milliseconds: 200)
        loseState(3, in: cluster)
        let term = cluster[1].term
        func metadata(_ term: Term, _ index: UInt64) -> SnapshotMetadata {
            SnapshotMetadata(
                position: LogPosition(term: term, index: LogIndex(index)), configuration: cluster[1].configuration)
        }
        #expect(cluster[3].keepsLog(under: metadata(term, 2)))
        #expect(!cluster[3].keepsLog(under: metadata(term, 9)), "beyond its end")
        #expect(!cluster[3].keepsLog(under: metadata(term.next, 2)), "of another history")
        #expect(!cluster[2].keepsLog(under: metadata(term, 2)), "nothing is wrong with its state")
        #expect(cluster[3].wants(metadata(term, 2)) && !cluster[2].wants(metadata(term, 2)))
    }

    @Test func A41_aNodeShortOfSpaceIsOfferedNoOfficeAndMayWinOne() throws {
        let cluster = TestCluster.led(3)
        for node in [2, 3] as [UInt64] { cluster.with(node) { $0.setShortOfSpace(true) } }
        cluster.run(milliseconds: 500)
        #expect(cluster[1].isQuorumShortOfSpace)
        #expect(throws: TransferError.unwilling(nil)) { try cluster.with(1) { try $0.transferLeadership(to: nil) } }
        try cluster.propose(1, "x")
        cluster.run(milliseconds: 200)
        #expect(cluster.appliedText(1) == ["x"])
        cluster.crash(1)
        cluster.run(milliseconds: 20_000, until: { !cluster.leaders.isEmpty })
        #expect(!cluster.leaders.isEmpty)
        cluster.start(1)
        cluster.run(milliseconds: 500)
        let leader = cluster.leaders[0]
        #expect(try cluster.with(leader) { try $0.transferLeadership(to: nil) } == NodeID(1), "who has room")
    }
}
