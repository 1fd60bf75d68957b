import CairnRaft
import Testing

/// Silent groups in the situations in which others have lost data or leaders.
@Suite struct QuietScenarios {
    private static func quiet(_ count: Int, learners: [UInt64] = []) -> TestCluster {
        var options = RaftOptions()
        options.quietAfter = .milliseconds(300)
        let cluster = TestCluster.led(count, options: options)
        cluster.run(milliseconds: 2000)
        precondition(cluster.nodes.allSatisfy { cluster[$0].isQuiet }, "somebody is awake")
        return cluster
    }

    /// Tells every host's core whom its host does not hear: who is down, or cut off on the way to it.
    private static func watch(_ cluster: TestCluster) {
        for node in cluster.nodes where cluster.isUp(node) {
            let absent = cluster.nodes.filter {
                $0 != node && (!cluster.isUp($0) || cluster.cut.contains(.init(from: $0, to: node)))
            }
            cluster.with(node) { [now = cluster.now] in $0.setAbsent(absent.map { NodeID($0) }, now: now) }
        }
    }

    @Test func nothingIsSentOrWrittenInASilence() {
        let cluster = Self.quiet(3)
        let sent = cluster.sent.count
        cluster.run(milliseconds: 20_000)
        #expect(cluster.sent.count == sent)
        // Much later the leader shows that the silence is meant.
        cluster.run(milliseconds: 12_000)
        #expect(cluster.sent.count == sent + 4)
        #expect(cluster.nodes.allSatisfy { cluster[$0].isQuiet })
    }

    @Test func A06_theReturnOfTheIsolatedDisturbsNoSilentGroup() {
        let cluster = Self.quiet(3)
        cluster.isolate(3)
        cluster.run(milliseconds: 1000)
        Self.watch(cluster)
        cluster.run(milliseconds: 50_000)
        #expect(cluster[1].isQuiet && cluster[2].isQuiet && !cluster[3].isQuiet)
        cluster.heal()
        Self.watch(cluster)
        cluster.run(milliseconds: 4000)
        #expect(cluster.leaders == [1])
        #expect(cluster.nodes.allSatisfy { cluster[$0].term == Term(1) && cluster[$0].isQuiet })
    }

    @Test func A11_aFollowerThatHearsNothingDeposesNoQuietLeader() {
        let cluster = Self.quiet(3)
        cluster.cut = [.init(from: 1, to: 3), .init(from: 2, to: 3)]
        cluster.run(milliseconds: 1000)
        Self.watch(cluster)
        cluster.run(milliseconds: 20_000)
        #expect(cluster.leaders == [1])
        #expect(cluster[1].term == Term(1))
    }

    @Test func A10_aQuietLeaderThatHearsNothingGivesWay() {
        let cluster = Self.quiet(3)
        cluster.cut = [.init(from: 2, to: 1), .init(from: 3, to: 1)]
        cluster.run(milliseconds: 1000)
        Self.watch(cluster)
        cluster.run(milliseconds: 8000)
        #expect(cluster.leaders.count == 1 && cluster.leaders != [1])
    }

    @Test func A13_aStrangerWakesNobody() throws {
        let cluster = Self.quiet(3)
        cluster.isolate(3)
        cluster.run(milliseconds: 1000)
        Self.watch(cluster)
        _ = try cluster.with(1) { core throws in
            try core.changeMembership(voters: [NodeID(1), NodeID(2)], learners: [])
        }
        cluster.run(milliseconds: 3000)
        #expect(cluster[1].isQuiet && cluster[2].isQuiet)
        cluster.heal()
        Self.watch(cluster)
        cluster.run(milliseconds: 3000)
        #expect(cluster[1].isQuiet && cluster[2].isQuiet)
        #expect(cluster[3].status.isRemoved)
    }

    @Test func A15_aQuietLeaderThatWasReplacedAnswersNoReadOfTheOldState() throws {
        let cluster = Self.quiet(3)
        cluster.pause(1)
        cluster.cut = [.init(from: 1, to: 2), .init(from: 1, to: 3)]
        cluster.run(milliseconds: 1000)
        Self.watch(cluster)
        cluster.run(milliseconds: 4000)
        let successor = try #require(cluster.leaders.first { $0 != 1 })
        try cluster.propose(successor, "news")
        cluster.deliver { $0.to.rawValue != 1 }
        cluster.network = []
        cluster.heal()
        cluster.resume(1)
        // The first thing it does is to answer a read that waited in its socket.
        #expect(cluster[1].isQuiet && cluster[1].role == .leader)
        #expect(cluster[1].leaseReadIndex(now: cluster.now) == nil)
        try cluster.with(1) { core throws in try core.requestRead(context: 7) }
        #expect(cluster[1].leaseReadIndex(now: cluster.now) == nil)
        cluster.run(milliseconds: 4000)
        #expect(cluster.reads[1, default: []].isEmpty)
        #expect(cluster.abandonedReads[1] == [7])
        #expect(cluster.appliedText(1) == ["news"])
    }

    @Test func theLeaseAfterASilenceRunsFromTheFirstRoundAfterIt() throws {
        let cluster = Self.quiet(3)
        try cluster.with(1) { core throws in try core.requestRead(context: 1) }
        let asked = cluster.now
        // The answers take their time: what they prove is as old as the question.
        cluster.advance(milliseconds: 400)
        cluster.deliver()
        #expect(cluster[1].leaseReadIndex(now: cluster.now) != nil)
        #expect(cluster[1].leaseReadIndex(now: asked + 880_000_000) != nil)
        #expect(cluster[1].leaseReadIndex(now: asked + 910_000_000) == nil)
    }

    @Test func aFollowerKeepsItsPromiseToTheLeaseWhenTheSilenceEnds() {
        // The last heartbeat was answered a moment ago when the node of the leader is believed lost.
        var options = RaftOptions()
        options.quietAfter = .milliseconds(300)
        let cluster = TestCluster.led(3, options: options)
        cluster.run(milliseconds: 2000) { cluster.nodes.allSatisfy { cluster[$0].isQuiet } }
        for node in [2, 3] as [UInt64] {
            cluster.with(node) { [now = cluster.now] in $0.setAbsent([NodeID(1)], now: now) }
        }
        let silent = cluster.now
        cluster.isolate(1)
        while cluster.leaders == [1], cluster.now < silent + 10_000_000_000 {
            cluster.tick(milliseconds: 10)
            cluster.deliver()
        }
        #expect(cluster.leaders.count == 2)
        #expect(cluster.now >= silent + 900_000_000, "elected while the old leader might have had its lease")
    }

    @Test func A17_aClockThatRanTooFastInASilenceSupportsNoLease() throws {
        let cluster = Self.quiet(3)
        cluster.run(milliseconds: 20_000)
        try cluster.with(1) { core throws in try core.requestRead(context: 7) }
        cluster.deliver { if case .heartbeat = $0.kind { true } else { false } }
        // The followers' clocks say that twice the time has passed.
        for offset in cluster.network.indices {
            guard case .heartbeatResponse(var answer) = cluster.network[offset].kind else { continue }
            answer.clock += 20_000_000_000
            cluster.network[offset].kind = .heartbeatResponse(answer)
        }
        cluster.deliver()
        #expect(cluster.reads[1]?.map(\.context) == [7], "a round confirms a read under any clock")
        #expect(cluster[1].leaseReadIndex(now: cluster.now) == nil)
    }

    @Test func A18_aHandoverWakesTheGroupAndSucceeds() throws {
        let cluster = Self.quiet(3)
        _ = try cluster.with(1) { core throws in try core.transferLeadership(to: NodeID(3)) }
        cluster.deliver()
        cluster.run(milliseconds: 3000)
        #expect(cluster.leaders == [3])
        #expect(cluster.nodes.allSatisfy { cluster[$0].isQuiet })
    }

    @Test func aLeaderThatStepsDownInASilenceIsReplaced() {
        let cluster = Self.quiet(3)
        cluster.with(1) { [now = cluster.now] in $0.stepDown(now: now) }
        cluster.run(milliseconds: 4000)
        #expect(cluster.leaders.count == 1)
        #expect(cluster.nodes.allSatisfy { cluster[$0].term > Term(1) })
    }

    @Test func whatAFollowerHasToSayWakesTheLeader() {
        let cluster = Self.quiet(3)
        cluster.with(2) { $0.setShortOfSpace(true) }
        cluster.with(3) { $0.setShortOfSpace(true) }
        cluster.deliver()
        #expect(!cluster[1].isQuiet)
        #expect(cluster[1].isQuorumShortOfSpace)
        cluster.run(milliseconds: 3000)
        #expect(cluster.nodes.allSatisfy { cluster[$0].isQuiet })
        cluster.with(3) { [now = cluster.now] in $0.loseState(now: now) }
        cluster.deliver()
        #expect(!cluster[1].isQuiet)
        #expect(cluster.snapshotsToSend.contains { $0.to == 3 })
    }

    @Test func lateMessagesOfBeforeTheSilenceDoNoLastingHarm() throws {
        let cluster = Self.quiet(3)
        let old = cluster.sent
        for message in old {
            cluster.deliver(message)
            cluster.deliver()
        }
        cluster.run(milliseconds: 6000)
        #expect(cluster.leaders == [1])
        #expect(cluster.nodes.allSatisfy { cluster[$0].term == Term(1) && cluster[$0].isQuiet })
    }

    @Test func aLastHeartbeatPutsNobodyToSleepWhoLagsOrHasMore() throws {
        let cluster = Self.quiet(3)
        let last = try #require(
            cluster.sent.last {
                if case .heartbeat(let heartbeat) = $0.kind { heartbeat.isLast && $0.to == NodeID(3) } else { false }
            })
        try cluster.propose(1, "more")
        cluster.deliver()
        cluster.deliver(last)
        #expect(!cluster[3].isQuiet)
        cluster.run(milliseconds: 3000)
        #expect(cluster.nodes.allSatisfy { cluster[$0].isQuiet })
        #expect(cluster.nodes.allSatisfy { cluster.appliedText($0) == ["more"] })
    }
}
