import CairnRaft
import Testing

@Suite struct LogScenarios {
    private func entry(_ term: UInt64, _ index: UInt64) -> Entry {
        Entry(term: Term(term), index: LogIndex(index), kind: .normal, payload: Array("\(term)/\(index)".utf8)[...])
    }

    private func append(
        _ term: UInt64, after previous: (UInt64, UInt64), _ entries: [Entry], commit: UInt64 = 0
    ) -> Message {
        let position = LogPosition(term: Term(previous.0), index: LogIndex(previous.1))
        return Message(
            from: NodeID(1), to: NodeID(2), term: Term(term),
            kind: .append(previous: position, commit: LogIndex(commit), entries: entries))
    }

    /// Node 2 with entries 1...9 of term 1, all durable.
    private func followerWithNine() -> TestCluster {
        let cluster = TestCluster(voters: [1, 2, 3])
        cluster.deliver(append(1, after: (0, 0), (1...9).map { entry(1, $0) }))
        cluster.network = []
        return cluster
    }

    private func answers(_ cluster: TestCluster) -> [Message.Kind] {
        defer { cluster.network = [] }
        return cluster.network.filter { $0.from == NodeID(2) }.map(\.kind)
    }

    @Test func A04_anEntryOfAnOlderTermDoesNotCommitByCounting() throws {
        // n1 leads term 1 and has an entry that nobody else has. n3 reigns in term 2 with a tail that nobody has.
        let cluster = TestCluster.led(5)
        try cluster.propose(1, "term 1")
        cluster.network = []
        cluster.crash(1)
        cluster.crash(2)
        cluster.tick(milliseconds: 1200)
        cluster.network = []
        cluster.campaign(3)
        cluster.deliver { if case .append = $0.kind { false } else { true } }
        #expect(cluster[3].role == .leader)
        cluster.network = []
        cluster.crash(3)
        // n1 again, term 3. Its old entry reaches a majority, its term's first entry does not.
        cluster.start(1)
        cluster.start(2)
        cluster.tick(milliseconds: 1200)
        cluster.network = []
        cluster.campaign(1)  // Learns the term.
        cluster.deliver()
        cluster.campaign(1)
        cluster.deliver { if case .append = $0.kind { false } else { true } }
        #expect(cluster[1].role == .leader && cluster[1].term == Term(3))
        for message in cluster.network {
            guard case .append(let previous, let commit, let entries) = message.kind else { continue }
            #expect(entries.map(\.kind) == [.empty] && previous.index == LogIndex(2))
            var old = message
            old.kind = .append(
                previous: LogPosition(term: Term(1), index: LogIndex(1)), commit: commit,
                entries: [cluster.disk(1).storage.log[LogIndex(2)]])
            cluster.deliver(old)
        }
        cluster.network.removeAll { if case .append = $0.kind { true } else { false } }
        cluster.deliver { if case .append = $0.kind { false } else { true } }
        #expect([2, 4, 5].allSatisfy { cluster.disk($0).durable.log.lastIndex == LogIndex(2) })
        #expect(cluster[1].status.peers.filter { $0.match == LogIndex(2) }.count >= 3)
        #expect(cluster[1].commitIndex < LogIndex(2))
        // The rival with the later tail wins, and the entry goes.
        cluster.network = []
        cluster.crash(1)
        cluster.start(3)
        cluster.tick(milliseconds: 1200)
        cluster.network = []
        for _ in 0..<2 {  // The first time it learns the term.
            cluster.campaign(3)
            cluster.deliver()
        }
        cluster.run(milliseconds: 500)
        #expect(cluster.leaders == [3])
        #expect(cluster.nodes.allSatisfy { !cluster.appliedText($0).contains("term 1") })
    }

    @Test func A23_aLateDuplicateAppendTakesNothingAway() {
        let cluster = followerWithNine()
        cluster.deliver(append(1, after: (0, 0), (1...5).map { entry(1, $0) }, commit: 5))
        #expect(cluster.disk(2).storage.lastIndex == LogIndex(9))
        #expect(cluster[2].commitIndex == LogIndex(5))
        #expect(answers(cluster) == [.appendResponse(match: LogIndex(9))])
    }

    @Test func A24_aCommitReachesNoFurtherThanWhatItsMessageVerified() {
        let cluster = followerWithNine()
        cluster.deliver(append(2, after: (1, 3), [], commit: 9))  // Entries 4...9 may be a dead leader's.
        #expect(cluster[2].commitIndex == LogIndex(3))
        let heartbeat = Message.Heartbeat(
            round: 1, sentAt: 1, commit: LogPosition(term: Term(2), index: LogIndex(7)), acknowledged: .zero,
            revokedToken: 0)
        cluster.deliver(Message(from: NodeID(1), to: NodeID(2), term: Term(2), kind: .heartbeat(heartbeat)))
        #expect(cluster[2].commitIndex == LogIndex(3))
        cluster.deliver(
            Message(
                from: NodeID(1), to: NodeID(2), term: Term(2),
                kind: .commit(LogPosition(term: Term(1), index: LogIndex(20)))))
        #expect(cluster[2].commitIndex == LogIndex(3))
    }

    @Test func A33_aLogThatEndsBeforeWhatItsLeaderHasAnAcknowledgementForIsLost() {
        let cluster = followerWithNine()
        func heartbeat(acknowledged: Int) {
            let heartbeat = Message.Heartbeat(
                round: 1, sentAt: 1, commit: .zero, acknowledged: LogIndex(UInt64(acknowledged)), revokedToken: 0)
            cluster.deliver(Message(from: NodeID(1), to: NodeID(2), term: Term(1), kind: .heartbeat(heartbeat)))
        }
        heartbeat(acknowledged: 9)
        #expect(cluster[2].lostThrough == nil)
        #expect(answers(cluster).count == 1)
        heartbeat(acknowledged: 10)
        #expect(cluster[2].lostThrough == LogIndex(10))
        #expect(answers(cluster).isEmpty)
    }

    @Test func A25_anAppendBelowThePurgePointIsNoConflict() {
        let cluster = followerWithNine()
        cluster.deliver(append(1, after: (1, 9), [], commit: 8))
        cluster.purge(2, through: 6)
        _ = answers(cluster)
        cluster.deliver(append(1, after: (1, 2), [entry(1, 3), entry(1, 4)]))
        #expect(answers(cluster) == [.appendResponse(match: LogIndex(9))])
        cluster.deliver(append(1, after: (1, 4), (5...10).map { entry(1, $0) }))
        #expect(cluster.disk(2).storage.lastIndex == LogIndex(10))
        #expect(answers(cluster) == [.appendResponse(match: LogIndex(10))])
    }

    @Test(arguments: [(0, 0), (0, 1), (1, 0)]) func A26_aDroppedTailNeverReturns(survivors: Int, tornEntries: Int) {
        let cluster = followerWithNine()
        cluster.hold(disk: 2)
        cluster.deliver(append(2, after: (1, 4), [entry(2, 5), entry(2, 6)]))
        cluster.crash(2, survivors: survivors, tornHardState: true, tornEntries: tornEntries)
        cluster.start(2)
        let terms = cluster.disk(2).storage.log.entries.map(\.term.rawValue)
        let legal: [[UInt64]] = [
            [1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 2], [1, 1, 1, 1, 2, 2],
        ]
        #expect(legal.contains(terms))
    }

    @Test func A27_aCompletionOfAnOldWriteDoesNotVouchForANewOne() {
        let cluster = followerWithNine()
        cluster.hold(disk: 2)
        cluster.deliver(append(2, after: (1, 9), [entry(2, 10)]))
        cluster.deliver(append(3, after: (1, 9), [entry(3, 10)]))
        cluster.deliver(append(4, after: (1, 9), [entry(4, 10), entry(4, 11)]))
        cluster.write(2)
        #expect(cluster.receipts[2]!.count == 3)
        cluster.report(2, at: 1)  // Term 3, out of order.
        #expect(cluster[2].status.stable == LogIndex(9) && answers(cluster).isEmpty)
        cluster.report(2, at: 0)  // Term 2.
        #expect(cluster[2].status.stable == LogIndex(9))
        #expect(!answers(cluster).contains(.appendResponse(match: LogIndex(10))))
        cluster.report(2, at: 0)  // Term 4.
        #expect(cluster[2].status.stable == LogIndex(11))
        #expect(answers(cluster).contains(.appendResponse(match: LogIndex(11))))
    }

    @Test func A27_anEntryThatCameBackIsNotVouchedForByItsFirstWrite() {
        let cluster = followerWithNine()
        cluster.hold(disk: 2)
        cluster.deliver(append(2, after: (1, 9), [entry(2, 10)]))
        cluster.deliver(append(3, after: (1, 9), [entry(3, 10)]))
        cluster.deliver(append(4, after: (1, 9), [entry(2, 10), entry(4, 11)]))
        cluster.write(2)
        cluster.report(2)
        #expect(cluster[2].status.stable == LogIndex(9))
        cluster.report(2)
        #expect(cluster[2].status.stable == LogIndex(9))
        cluster.report(2)
        #expect(cluster[2].status.stable == LogIndex(11))
    }

    @Test func A29_theLeadersDiskIsOneVote() throws {
        let cluster = TestCluster.led(3)
        cluster.hold(disk: 1)
        try cluster.propose(1, "x")
        cluster.deliver()
        #expect(cluster.appliedText(1) == ["x"])
        cluster.disk(1).flushStateMachine(applied: LogIndex(2))
        cluster.crash(1)  // Its tablet has the entry, its log has not.
        cluster.start(1)
        #expect(cluster[1].lastIndex == LogIndex(1) && cluster[1].appliedIndex == LogIndex(2))
        cluster.release(disk: 1)
        cluster.run(milliseconds: 5000)
        let leader = try #require(cluster.leaders.first)
        #expect(leader != 1)
        try cluster.propose(leader, "y")
        cluster.run(milliseconds: 200)
        #expect(cluster.appliedText(1) == ["y"])  // Not "x" again.
        #expect(cluster.disk(1).storage.log == cluster.disk(leader).storage.log)
    }

    @Test func A32_aLogThatLacksWhatIsKnownAsCommittedIsRefused() {
        let storage = MemoryLogStorage()
        #expect(throws: RaftLogError.self) {
            _ = try RaftCore(
                id: NodeID(1), configuration: Configuration(voters: [NodeID(1)]),
                hardState: HardState(term: Term(1), commit: LogIndex(5)), storage: storage, applied: .zero,
                options: RaftOptions(), seed: 1, now: 1)
        }
    }

    @Test func A36_anUnreachableMarkIsForgotten() throws {
        let cluster = TestCluster.led(3)
        cluster.with(1) { $0.reportUnreachable(NodeID(2)) }
        #expect(cluster[1].status.peers[0].phase == .probe)
        try cluster.propose(1, "x")
        cluster.run(milliseconds: 200)
        #expect(cluster[1].status.peers[0].phase == .replicate)
        #expect(cluster.appliedText(2) == ["x"])
    }

    /// Found by the whole-node simulation: a learner whose connection broke when it had everything was never made a voter, because
    /// nobody wrote.
    @Test func A36_anUnreachableMarkIsForgottenAlsoWhereNothingIsMissing() {
        let cluster = TestCluster.led(3)
        cluster.with(1) { $0.reportUnreachable(NodeID(2)) }
        cluster.run(milliseconds: 500)
        #expect(cluster[1].status.peers[0].phase == .replicate)
    }

    @Test func A36_aFullWindowThatWasLostOpensAgain() throws {
        var options = RaftOptions()
        options.inflightMessagesMax = 4
        options.inflightBytesMax = 300
        let cluster = TestCluster.led(3, options: options)
        for index in 0..<50 { try cluster.propose(1, "entry \(index)") }
        #expect(cluster[1].status.peers.allSatisfy { $0.inflightMessages <= 4 })
        cluster.network = []
        cluster.run(milliseconds: 1000)
        #expect(cluster.nodes.allSatisfy { cluster.applied($0).count == 51 })
    }

    @Test func A36_aFollowerBehindThePurgePointGetsASnapshot() throws {
        let cluster = TestCluster.led(3)
        cluster.isolate(3)
        for index in 0..<10 { try cluster.propose(1, "\(index)") }
        cluster.run(milliseconds: 5000)
        cluster.purge(1, through: 8)
        cluster.heal()
        cluster.run(milliseconds: 300)
        #expect(cluster.snapshotsToSend.map(\.to) == [3])
        #expect(cluster[1].status.peers[1].phase == .snapshot)
        // The first try fails.
        cluster.with(1) { $0.reportSnapshot(to: NodeID(3), result: .failed) }
        cluster.run(milliseconds: 300)
        #expect(cluster.snapshotsToSend.map(\.to) == [3, 3])
        cluster.sendSnapshot(from: 1, to: 3)
        cluster.run(milliseconds: 300)
        #expect(cluster[1].status.peers[1].phase == .replicate)
        #expect(cluster[3].commitIndex == LogIndex(11))
    }

    @Test func A37_anEntryBeyondTheLimitIsRefused() throws {
        var options = RaftOptions()
        options.entryBytesMax = 100
        let cluster = TestCluster.led(3, options: options)
        #expect(throws: ProposalError.entryTooLarge(bytes: 101, limit: 100)) {
            try cluster.propose(1, String(repeating: "x", count: 101))
        }
        #expect(cluster[1].lastIndex == LogIndex(1))
    }

    @Test func A44_theSnapshotsConfigurationReplacesAnUncommittedOne() {
        let cluster = TestCluster(voters: [1, 2, 3])
        let stray = Entry(
            term: Term(1), index: LogIndex(1), kind: .configuration,
            payload: Configuration(voters: [NodeID(2)]).encoded()[...])
        cluster.deliver(append(1, after: (0, 0), [stray]))
        #expect(cluster[2].configuration.voters == [NodeID(2)])
        let metadata = SnapshotMetadata(
            position: LogPosition(term: Term(2), index: LogIndex(20)),
            configuration: Configuration(voters: [NodeID(1), NodeID(3)]))
        cluster.deliver(Message(from: NodeID(1), to: NodeID(2), term: Term(2), kind: .snapshot(metadata)))
        #expect(cluster[2].configuration.voters == [NodeID(1), NodeID(3)])
        #expect(cluster[2].commitIndex == LogIndex(20))
        cluster.run(milliseconds: 5000)
        #expect(!cluster.sent.contains { if case .preVoteRequest = $0.kind { $0.from == NodeID(2) } else { false } })
    }

    @Test func entriesOfOneTurnTravelTogether() throws {
        let cluster = TestCluster.led(3)
        let before = cluster.sent.count
        _ = try cluster.with(1) { core throws in try core.propose((0..<100).map { [UInt8($0)][...] }) }
        cluster.deliver()
        #expect(cluster.sent.count == before + 4)  // Two appends, two acknowledgements.
        #expect(cluster.applied(1).count == 101)
    }
}
