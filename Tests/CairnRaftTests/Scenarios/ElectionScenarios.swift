import CairnRaft
import Testing

@Suite struct ElectionScenarios {
    @Test(arguments: [0, 1]) func A01_aVoteIsOnTheDiskBeforeItLeaves(writesThatSurvive: Int) {
        let cluster = TestCluster(voters: [1, 2, 3])
        cluster.hold(disk: 2)
        cluster.isolate(3)
        cluster.campaign(1)
        cluster.deliver()
        #expect(cluster[2].status.vote == NodeID(1))
        #expect(!cluster.sent.contains { $0.from == NodeID(2) && $0.kind == .voteResponse(granted: true) })
        cluster.crash(2, survivors: writesThatSurvive)
        cluster.start(2)
        #expect(cluster[2].status.vote == (writesThatSurvive == 1 ? NodeID(1) : nil))
        #expect(cluster[2].term == Term(UInt64(writesThatSurvive)))
    }

    @Test func A02_aTermIsOnTheDiskBeforeItShows() {
        let kinds: [Message.Kind] = [
            .append(previous: .zero, commit: .zero, entries: []),
            .heartbeat(Message.Heartbeat(round: 1, sentAt: 1, commit: .zero, acknowledged: .zero, revokedToken: 0)),
            .voteRequest(last: .zero, isTransfer: false), .voteResponse(granted: true), .staleTerm,
            .appendResponse(match: .zero), .appendRejection(rejected: .zero, hint: .zero), .commit(.zero),
            .preVoteResponse(proposedTerm: Term(3), granted: false), .timeoutNow(token: 1),
        ]
        for kind in kinds {
            let cluster = TestCluster(voters: [1, 2, 3])
            cluster.hold(disk: 2)
            cluster.deliver(Message(from: NodeID(1), to: NodeID(2), term: Term(7), kind: kind))
            #expect(cluster[2].term == Term(7), "\(kind)")
            cluster.tick(milliseconds: 3000)
            cluster.tick(milliseconds: 3000)
            cluster.deliver()
            #expect(!cluster.sent.contains { $0.from == NodeID(2) && $0.term == Term(7) }, "\(kind)")
            cluster.release(disk: 2)
            #expect(cluster.disk(2).durable.hardState.term >= Term(7))
        }
    }

    @Test func A03_theLaterLastTermWinsOverTheLongerLog() throws {
        let cluster = TestCluster.led(3)
        cluster.isolate(1)
        for text in ["a", "b", "c", "d"] { try cluster.propose(1, text) }  // Long, of term 1, on n1 alone.
        cluster.network = []
        cluster.tick(milliseconds: 1200)
        cluster.network = []
        cluster.campaign(2)
        cluster.deliver()
        #expect(cluster[2].role == .leader)  // Short, of term 2.
        cluster.heal()
        cluster.crash(1)
        cluster.crash(2)
        cluster.start(1)
        cluster.start(2)
        cluster.run(milliseconds: 1000)
        cluster.campaign(1)
        cluster.deliver()
        #expect(cluster[1].role != .leader)
        cluster.run(milliseconds: 6000, until: { !cluster.leaders.isEmpty })
        let leader = try #require(cluster.leaders.first)
        #expect(leader != 1)
        cluster.run(milliseconds: 500)
        #expect(cluster.disk(1).storage.log == cluster.disk(leader).storage.log)
    }

    @Test func A05_aNewLeaderCommitsItsTailWithoutAClient() throws {
        let cluster = TestCluster.led(3)
        cluster.cut(between: [1], and: [3])
        try cluster.propose(1, "tail")
        cluster.deliver { $0.to == NodeID(2) }  // n2 has it, n1 does not hear so.
        cluster.network = []
        cluster.crash(1)
        cluster.tick(milliseconds: 1200)
        cluster.network = []
        cluster.campaign(2)
        cluster.deliver()
        #expect(cluster.appliedText(2) == ["tail"])
    }

    @Test func A06_theReturnOfTheIsolatedDisturbsNobody() {
        let cluster = TestCluster.led(3)
        cluster.isolate(3)
        cluster.run(milliseconds: 50_000)
        cluster.heal()
        cluster.run(milliseconds: 2000)
        #expect(cluster.leaders == [1])
        #expect(cluster.nodes.allSatisfy { cluster[$0].term == Term(1) })
    }

    @Test func A07_splitKnowledgeDoesNotKeepAGroupLeaderless() throws {
        // n1 has the longest log and term 1; the others have shorter logs, and two of them higher terms.
        let cluster = TestCluster.led(6)
        for node in [3, 4, 5, 6] as [UInt64] { cluster.isolate(node) }
        try cluster.propose(1, "long")
        cluster.deliver()
        for node in [3, 4] as [UInt64] {
            cluster.deliver(
                Message(from: NodeID(6), to: NodeID(node), term: Term(node + 4), kind: .voteResponse(granted: false)))
        }
        cluster.crash(1)
        cluster.start(1)
        cluster.heal()
        cluster.network = []
        cluster.run(milliseconds: 10_000, until: { !cluster.leaders.isEmpty })
        #expect(cluster.leaders.count == 1)
    }

    @Test func A08_aNodeThatRestartsInAnOldTermJoinsTheElection() {
        let cluster = TestCluster.led(4)
        cluster.crash(4)
        cluster.crash(1)
        cluster.run(milliseconds: 20_000)
        #expect(cluster.leaders.isEmpty)
        cluster.start(4)
        cluster.run(milliseconds: 10_000, until: { !cluster.leaders.isEmpty })
        #expect(cluster.leaders.count == 1)
    }

    @Test func A09_aLeaderWithoutAMajorityStepsDown() throws {
        let cluster = TestCluster.led(5)
        cluster.cut(between: [1, 2], and: [3, 4, 5])
        try cluster.propose(1, "never")
        cluster.run(milliseconds: 2000)
        #expect(cluster[1].role != .leader)
        #expect(cluster.appliedText(1).isEmpty && cluster.appliedText(2).isEmpty)
        #expect(throws: ReadError.self) { try cluster.with(1) { core throws in try core.requestRead(context: 1) } }
        #expect(cluster[1].leaseReadIndex(now: cluster.now) == nil)
    }

    /// The promise on which leases rest, by every way in which a candidate's term can come to a node.
    @Test(arguments: [false, true]) func aNodeThatHasHeardALeaderHelpsNobodyToDeposeIt(restarted: Bool) {
        let ahead = LogPosition(term: Term(1), index: LogIndex(99))
        func follower() -> TestCluster {
            let cluster = TestCluster.led(3)
            if restarted {
                cluster.crash(2)
                cluster.start(2)
            }
            cluster.network = []
            return cluster
        }
        func ask(_ cluster: TestCluster, _ term: UInt64, _ kind: Message.Kind) -> Message.Kind? {
            cluster.network = []
            cluster.deliver(Message(from: NodeID(3), to: NodeID(2), term: Term(term), kind: kind))
            return cluster.network.first { $0.to == NodeID(3) }?.kind
        }
        let vote = Message.Kind.voteRequest(last: ahead, isTransfer: false)
        let cluster = follower()
        #expect(
            ask(cluster, 1, .preVoteRequest(proposedTerm: Term(2), last: ahead))
                == .preVoteResponse(proposedTerm: Term(2), granted: false))
        #expect(ask(cluster, 2, vote) == nil)
        #expect(cluster[2].term == Term(1))
        // The term came by another message first.
        _ = ask(cluster, 2, .staleTerm)
        #expect(cluster[2].term == Term(2))
        #expect(ask(cluster, 2, vote) == .voteResponse(granted: false))
        // The leader may let go; and silence ends the promise.
        #expect(ask(follower(), 2, .voteRequest(last: ahead, isTransfer: true)) == .voteResponse(granted: true))
        let later = follower()
        later.advance(milliseconds: 1000)
        #expect(ask(later, 2, vote) == .voteResponse(granted: true))
    }

    @Test func A38_aLeaderThatStepsDownLeavesRoomForAnother() throws {
        let cluster = TestCluster.led(3)
        cluster.hold(disk: 1)
        cluster.with(1) { [now = cluster.now] in $0.stepDown(now: now) }
        #expect(cluster[1].role == .follower && !cluster[1].leaseValid(now: cluster.now))
        cluster.run(milliseconds: 4000, until: { !cluster.leaders.isEmpty })
        let leader = try #require(cluster.leaders.first)
        #expect(leader != 1)
        try cluster.propose(leader, "x")
        cluster.run(milliseconds: 100)
        #expect(cluster.appliedText(leader) == ["x"])
    }

    @Test func A10_aLeaderThatHearsNothingStepsDown() {
        let cluster = TestCluster.led(3)
        cluster.cut = [.init(from: 2, to: 1), .init(from: 3, to: 1)]
        cluster.run(milliseconds: 6000)
        #expect(cluster.leaders.count == 1 && cluster.leaders != [1])
        let term = cluster[cluster.leaders[0]].term
        cluster.run(milliseconds: 10_000)
        #expect(cluster[cluster.leaders[0]].term == term)
    }

    @Test func A11_aFollowerThatHearsNothingDeposesNobody() {
        let cluster = TestCluster.led(3)
        cluster.cut = [.init(from: 1, to: 3), .init(from: 2, to: 3)]
        cluster.run(milliseconds: 20_000)
        #expect(cluster.leaders == [1])
        #expect(cluster[1].term == Term(1))
    }

    @Test func A12_aBridgeDoesNotKeepAnOldLeader() {
        // n1 reaches the bridge n2 only; n2, n3 and n4 are a majority; n5 is alone.
        let cluster = TestCluster.led(5)
        cluster.isolate(5)
        cluster.cut(between: [1], and: [3, 4])
        cluster.run(milliseconds: 5000)
        #expect(cluster.leaders.count == 1)
        #expect([2, 3, 4].contains(cluster.leaders[0]))
    }

    @Test func A13_aRemovedNodeLearnsItsFate() throws {
        let cluster = TestCluster.led(3)
        cluster.isolate(3)
        _ = try cluster.with(1) { core throws in
            try core.changeMembership(voters: [NodeID(1), NodeID(2)], learners: [])
        }
        cluster.run(milliseconds: 5000)
        cluster.heal()
        cluster.run(milliseconds: 5000)
        #expect(cluster.leaders == [1] && cluster[1].term == Term(1))
        #expect(cluster[3].status.isRemoved)
        let sent = cluster.sent.filter { $0.from == NodeID(3) }.count
        cluster.run(milliseconds: 5000)
        #expect(cluster.sent.filter { $0.from == NodeID(3) }.count == sent)
    }

    @Test func A14_theOldOfTwoLeadersDoesNothing() throws {
        let cluster = TestCluster.led(3)
        cluster.pause(1)
        cluster.run(milliseconds: 4000)
        let leader = try #require(cluster.leaders.first { $0 != 1 })
        try cluster.propose(leader, "new")
        cluster.run(milliseconds: 200)
        cluster.resume(1)
        #expect(cluster[1].role == .leader)
        #expect(cluster[1].leaseReadIndex(now: cluster.now) == nil)
        try cluster.propose(1, "old")
        try cluster.with(1) { core throws in try core.requestRead(context: 5) }
        cluster.run(milliseconds: 1000)
        #expect(cluster.reads[1, default: []].isEmpty)
        #expect(cluster.abandonedReads[1] == [5])
        #expect(cluster.leaders == [leader])
        #expect(cluster.nodes.allSatisfy { cluster.appliedText($0) == ["new"] })
    }
}
