import CairnRaft
import Testing

@Suite struct ReadScenarios {
    @Test func aLeaseRunsFromTheMomentItsHeartbeatWasSent() {
        let cluster = TestCluster.led(3)
        cluster.run(milliseconds: 100)
        let sentAt = cluster.now
        cluster.tick(milliseconds: 100)  // Sends heartbeats at sentAt + 100 ms; nothing is answered before 400 ms.
        cluster.advance(milliseconds: 300)
        cluster.deliver()
        let lease = 1_000_000_000 / 1050 * 950 as UInt64
        #expect(cluster[1].leaseValid(now: sentAt + 100_000_000 + lease - 1000))
        #expect(!cluster[1].leaseValid(now: sentAt + 100_000_000 + lease))
    }

    @Test func A15_aLeaderThatWasStoppedHasNoLease() {
        let cluster = TestCluster.led(3)
        #expect(cluster[1].leaseValid(now: cluster.now))
        cluster.advance(milliseconds: 3000)  // No event has told the core; the clock is read for the question.
        #expect(!cluster[1].leaseValid(now: cluster.now))
    }

    @Test func A17_aClockOutOfBoundsVoidsTheLease() {
        // The followers' clocks run twice as fast as the leader's.
        var core = leader(of: 3)
        var now: UInt64 = 2_000_000_000
        var theirs: UInt64 = 9_000_000_000
        for _ in 0..<20 {
            now += 100_000_000
            theirs += 200_000_000
            core.tick(now: now)
            for message in core.takeReady().messages {
                guard case .heartbeat(let heartbeat) = message.kind else { continue }
                let answer = Message.HeartbeatResponse(
                    round: heartbeat.round, sentAt: heartbeat.sentAt, clock: theirs, transferToken: 1)
                core.step(
                    Message(from: message.to, to: core.id, term: core.term, kind: .heartbeatResponse(answer)), now: now)
            }
        }
        #expect(core.role == .leader)
        #expect(!core.leaseValid(now: now))
    }

    @Test func A18_aTransferVoidsTheLease() throws {
        let cluster = TestCluster.led(3)
        #expect(cluster[1].leaseValid(now: cluster.now))
        cluster.isolate(2)
        try cluster.with(1) { core throws in _ = try core.transferLeadership(to: NodeID(2)) }
        #expect(!cluster[1].leaseValid(now: cluster.now))
        let order = try #require(cluster.sent.last { if case .timeoutNow = $0.kind { true } else { false } })
        cluster.run(milliseconds: 1200)
        #expect(cluster[1].status.transferTarget == nil)
        #expect(!cluster[1].leaseValid(now: cluster.now))
        cluster.heal()
        cluster.run(milliseconds: 300)
        #expect(cluster[1].leaseValid(now: cluster.now))
        // The order that was given up arrives late, more than once: it is no longer obeyed.
        cluster.deliver(order)
        cluster.deliver(order)
        cluster.deliver()
        #expect(cluster.leaders == [1] && cluster[1].term == Term(1))
    }

    @Test func A19_noReadBeforeTheTermsFirstCommit() throws {
        let cluster = TestCluster(voters: [1, 2, 3])
        cluster.campaign(1)
        cluster.deliver { if case .append = $0.kind { false } else { true } }
        #expect(cluster[1].role == .leader)
        try cluster.with(1) { core throws in try core.requestRead(context: 1) }
        cluster.deliver { if case .append = $0.kind { false } else { true } }
        #expect(cluster.reads[1]!.isEmpty)
        #expect(cluster[1].leaseReadIndex(now: cluster.now) == nil)
        cluster.deliver()
        #expect(cluster.reads[1]!.map(\.context) == [1])
        #expect(cluster.reads[1]![0].index == LogIndex(1))
    }

    @Test func A20_anEarlierRoundConfirmsNoLaterRead() throws {
        let cluster = TestCluster.led(3)
        func isAnswer(_ message: Message) -> Bool {
            if case .heartbeatResponse = message.kind { true } else { false }
        }
        try cluster.with(1) { core throws in try core.requestRead(context: 7) }
        cluster.deliver { !isAnswer($0) }
        let early = cluster.network.filter(isAnswer)
        cluster.network = []
        try cluster.with(1) { core throws in try core.requestRead(context: 7) }
        cluster.network = []  // The second round is lost.
        for message in early + early { cluster.deliver(message) }
        #expect(cluster.reads[1]!.map(\.context) == [7])
        cluster.run(milliseconds: 200)
        #expect(cluster.reads[1]!.map(\.context) == [7, 7])
        // Nor does an answer of an earlier reign.
        cluster.isolate(1)
        cluster.run(milliseconds: 4000)
        cluster.heal()
        cluster.run(milliseconds: 4000)
        let leader = try #require(cluster.leaders.first)
        try cluster.with(leader) { core throws in try core.requestRead(context: 9) }
        cluster.network = []
        for var message in early {
            message.to = NodeID(leader)
            cluster.deliver(message)
        }
        #expect(cluster.reads[leader, default: []].allSatisfy { $0.context != 9 })
    }

    @Test func readsOfOneTurnShareARound() throws {
        let cluster = TestCluster.led(3)
        let before = cluster.sent.count
        try cluster.with(1) { core throws in for context in 1...50 { try core.requestRead(context: UInt64(context)) } }
        #expect(cluster.sent.count == before + 2)
        cluster.deliver()
        #expect(cluster.reads[1]!.count == 50)
    }

    /// A leader of `count`, elected without a cluster.
    private func leader(of count: UInt64) -> RaftCore {
        let storage = MemoryLogStorage()
        var core = try! RaftCore(
            id: NodeID(1), configuration: Configuration(voters: (1...count).map { NodeID($0) }),
            hardState: HardState(), storage: storage, applied: .zero, options: RaftOptions(), seed: 1, now: 1)
        func settle() {
            while core.hasReady {
                let ready = core.takeReady()
                storage.log.append(ready.entries)
                if let receipt = ready.receipt { core.persisted(receipt) }
            }
        }
        core.campaign(now: 2)
        settle()
        for node in 2...count {
            core.step(
                Message(
                    from: NodeID(node), to: NodeID(1), term: Term(0),
                    kind: .preVoteResponse(proposedTerm: Term(1), granted: true)), now: 3)
        }
        settle()
        for node in 2...count {
            core.step(
                Message(from: NodeID(node), to: NodeID(1), term: Term(1), kind: .voteResponse(granted: true)), now: 4)
        }
        settle()
        precondition(core.role == .leader)
        return core
    }
}
