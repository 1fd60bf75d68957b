import CairnRaft
import Testing

@Suite struct MembershipScenarios {
    private func ids(_ nodes: UInt64...) -> [NodeID] { nodes.map { NodeID($0) } }

    private func change(_ cluster: TestCluster, _ node: UInt64, voters: [NodeID], learners: [NodeID] = []) throws {
        try cluster.with(node) { core throws in _ = try core.changeMembership(voters: voters, learners: learners) }
    }

    @Test func A46_noChangeBeforeTheTermsFirstCommit() throws {
        let cluster = TestCluster(voters: [1, 2, 3, 4], others: [5])
        cluster.campaign(1)
        cluster.deliver { if case .append = $0.kind { false } else { true } }
        #expect(cluster[1].role == .leader)
        #expect(throws: ProposalError.termNotEstablished) {
            try change(cluster, 1, voters: ids(1, 2, 3, 4, 5))
        }
        cluster.deliver()
        try change(cluster, 1, voters: ids(1, 2, 3, 4, 5))
        #expect(throws: ProposalError.configurationPending(index: LogIndex(2))) {
            try change(cluster, 1, voters: ids(1, 2, 3))
        }
    }

    @Test func A46_anInheritedChangeIsFinishedFirst() throws {
        let cluster = TestCluster.led(3, others: [4, 5])
        try change(cluster, 1, voters: ids(1, 4, 5))
        cluster.deliver { $0.to == NodeID(2) || $0.to == NodeID(3) }  // The joint entry, unacknowledged.
        cluster.network = []
        cluster.crash(1)
        cluster.tick(milliseconds: 1200)
        cluster.network = []
        // n2 needs both majorities: of 1, 2, 3 and of 1, 4, 5.
        cluster.run(milliseconds: 10_000, until: { !cluster.leaders.isEmpty })
        let leader = try #require(cluster.leaders.first)
        cluster.run(milliseconds: 1000)
        let last = try #require(cluster.leaders.first)
        #expect([2, 3, 4, 5].contains(leader))
        #expect(cluster[last].configuration == Configuration(voters: ids(1, 4, 5)))
        #expect(cluster[last].status.configurationIndex <= cluster[last].commitIndex)
    }

    @Test(arguments: 0...12) func A47_jointConsensusSurvivesARestartOfAllAtAnyMessage(delivered: Int) throws {
        let cluster = TestCluster.led(3, others: [4, 5])
        try cluster.propose(1, "before")
        cluster.run(milliseconds: 200)
        try change(cluster, 1, voters: ids(3, 4, 5))
        var count = 0
        cluster.deliver { _ in
            count += 1
            return count <= delivered
        }
        cluster.network = []
        for node in cluster.nodes { cluster.crash(node) }
        for node in cluster.nodes { cluster.start(node) }
        cluster.run(milliseconds: 10_000, until: { !cluster.leaders.isEmpty })
        cluster.run(milliseconds: 3000)
        let leader = try #require(cluster.leaders.first)
        #expect(cluster.leaders.count == 1)
        let status = cluster[leader].status
        #expect(!status.configuration.isJoint && status.configurationIndex <= status.commit)
        try cluster.propose(leader, "after")
        cluster.run(milliseconds: 300)
        #expect(status.configuration.members.allSatisfy { cluster.appliedText($0.rawValue) == ["before", "after"] })
    }

    @Test func A47_aLeaderCutOffInAJointConfigurationCommitsNothingAlone() throws {
        let cluster = TestCluster.led(3, others: [4, 5])
        try change(cluster, 1, voters: ids(1, 4, 5))
        // A majority of the old voters is not enough, nor is one of the new.
        cluster.cut(between: [1], and: [4, 5])
        let before = cluster[1].commitIndex
        cluster.run(milliseconds: 500)
        #expect(cluster[1].commitIndex == before)
        cluster.run(milliseconds: 2000)
        #expect(cluster[1].role != .leader || cluster[1].configuration.isJoint)
        cluster.heal()
        cluster.run(milliseconds: 8000)
        let leader = try #require(cluster.leaders.first)
        #expect(!cluster[leader].configuration.isJoint)
    }

    @Test func A47_aLeaderThatRemovesItselfStaysUntilTheChangeIsCommitted() throws {
        let cluster = TestCluster.led(3)
        try change(cluster, 1, voters: ids(2, 3))
        #expect(cluster[1].role == .leader)
        cluster.network = []
        #expect(cluster[1].role == .leader)
        cluster.run(milliseconds: 1000)
        #expect(cluster[1].role == .follower)
        #expect(cluster[1].commitIndex >= LogIndex(2))
        // It handed over: no election timeout was waited for.
        #expect(cluster.leaders.count == 1)
    }

    @Test func A48_learnersDoNotCount() throws {
        let cluster = TestCluster(voters: [1, 2, 3], learners: [4, 5])
        cluster.campaign(1)
        cluster.deliver()
        cluster.cut(between: [1, 4, 5], and: [2, 3])
        let position = try cluster.propose(1, "x")
        cluster.deliver()
        #expect(cluster[1].commitIndex < position.index)
        #expect(cluster.disk(4).durable.log.lastIndex == position.index)
        cluster.run(milliseconds: 3000)
        #expect(cluster[1].role != .leader)
        #expect(cluster[4].role == .follower && cluster[5].role == .follower)
        #expect(
            !cluster.sent.contains {
                if case .preVoteRequest = $0.kind { $0.from >= NodeID(4) || $0.to >= NodeID(4) } else { false }
            })
    }

    @Test func A48_promotionIsRefusedWhileFarBehind() throws {
        var options = RaftOptions()
        options.promotionLagMax = 5
        let cluster = TestCluster.led(3, others: [4], options: options)
        try change(cluster, 1, voters: ids(1, 2, 3), learners: ids(4))
        cluster.run(milliseconds: 200)
        cluster.isolate(4)
        for index in 0..<20 { try cluster.propose(1, "\(index)") }
        cluster.run(milliseconds: 200)
        #expect(throws: ProposalError.self) { try change(cluster, 1, voters: ids(1, 2, 3, 4)) }
        cluster.heal()
        cluster.run(milliseconds: 500)
        try change(cluster, 1, voters: ids(1, 2, 3, 4))
        cluster.run(milliseconds: 200)
        #expect(cluster[4].configuration == Configuration(voters: ids(1, 2, 3, 4)))
    }

    @Test func anUncommittedConfigurationIsUndoneWithItsEntry() throws {
        let cluster = TestCluster.led(3, others: [4])
        cluster.isolate(1)
        try change(cluster, 1, voters: ids(1, 2, 3, 4))
        #expect(cluster[1].configuration.voters.count == 4)
        cluster.run(milliseconds: 5000)
        cluster.heal()
        cluster.run(milliseconds: 2000)
        #expect(cluster[1].configuration == Configuration(voters: ids(1, 2, 3)))
    }

    @Test func aNodeLeftOutByAnUncommittedConfigurationCanStillLeadItToItsCommit() throws {
        // n1 alone has the newest configuration, which leaves it and n2 out; its log is the longest.
        let cluster = TestCluster.led(3)
        try change(cluster, 1, voters: ids(3))
        cluster.deliver { $0.to != NodeID(3) || !Self.carriesTheEnd($0) }
        cluster.network = []
        cluster.isolate(3)
        cluster.run(milliseconds: 3000)
        cluster.heal()
        cluster.run(milliseconds: 10_000)
        #expect(cluster.leaders == [3])
        #expect(cluster[3].configuration == Configuration(voters: ids(3)))
    }

    private static func carriesTheEnd(_ message: Message) -> Bool {
        guard case .append(_, _, let entries) = message.kind else { return false }
        return entries.contains { entry in
            entry.kind == .configuration && Configuration(decoding: entry.payload)?.isJoint == false
        }
    }

    @Test func A49_aTransferMovesLeadershipWithinAnElectionTimeout() throws {
        let cluster = TestCluster.led(3)
        try cluster.propose(1, "x")
        try cluster.with(1) { core throws in _ = try core.transferLeadership(to: nil) }
        #expect(throws: ProposalError.self) { try cluster.propose(1, "y") }
        cluster.run(milliseconds: 200)
        #expect(cluster.leaders.count == 1 && cluster.leaders != [1])
        try cluster.propose(cluster.leaders[0], "y")
        cluster.run(milliseconds: 200)
        #expect(cluster.appliedText(1) == ["x", "y"])
    }

    @Test func A49_writesResumeWhenTheTargetIsDeaf() throws {
        let cluster = TestCluster.led(3)
        cluster.isolate(2)
        try cluster.with(1) { core throws in _ = try core.transferLeadership(to: NodeID(2)) }
        cluster.run(milliseconds: 1100)
        try cluster.propose(1, "x")
        cluster.run(milliseconds: 100)
        #expect(cluster.appliedText(1) == ["x"])
        // By now it is known as silent.
        #expect(throws: TransferError.unreachable(NodeID(2))) {
            try cluster.with(1) { core throws in _ = try core.transferLeadership(to: NodeID(2)) }
        }
    }

    @Test func A49_writesResumeWhenTheTargetDiesWhileItCampaigns() throws {
        let cluster = TestCluster.led(3)
        try cluster.with(1) { core throws in _ = try core.transferLeadership(to: NodeID(2)) }
        cluster.deliver { $0.to != NodeID(1) || $0.from != NodeID(2) }
        cluster.crash(2)
        cluster.network = []
        cluster.run(milliseconds: 4000, until: { cluster.leaders.contains { cluster[$0].term > Term(2) } })
        let leader = try #require(cluster.leaders.first)
        try cluster.propose(leader, "x")
        cluster.run(milliseconds: 200)
        #expect(cluster.appliedText(leader) == ["x"])
    }

    @Test func A49_nobodyButAVoterIsATarget() throws {
        let cluster = TestCluster(voters: [1, 2, 3], learners: [4])
        cluster.campaign(1)
        cluster.deliver()
        for node in [1, 4, 9] as [UInt64] {
            #expect(throws: TransferError.notEligible(NodeID(node))) {
                try cluster.with(1) { core throws in _ = try core.transferLeadership(to: NodeID(node)) }
            }
        }
    }
}
