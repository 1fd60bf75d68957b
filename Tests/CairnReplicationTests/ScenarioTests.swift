import CairnFiles
import CairnRaft
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnReplication

/// Scenarios of whole nodes, each named by its number.
@Suite("scenarios of whole nodes")
struct ScenarioTests {
    private func node(_ number: UInt64) -> NodeID { NodeID(number) }

    private func terms(_ cluster: SimulatedCluster) -> [Term?] {
        cluster.groups.map { cluster.leader(of: $0)?.host?.status(of: $0)?.term }
    }

    // MARK: Reads

    @Test("A21: a linearizable read waits until the leader has applied what was committed when its round began")
    func A21_aReadWaitsForApply() throws {
        let cluster = try SimulatedCluster(seed: 21, groups: 1) { $0.spaceReadingNanoseconds = 50_000_000 }
        let group = cluster.groups[0]
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 100)
        let leader = try #require(cluster.leader(of: group))
        let tablet = try #require(leader.tablets[group] as? TestTablet)
        tablet.refusesEntries = true
        let applied = tablet.appliedIndex
        cluster.write(to: group)
        let host = try #require(leader.host)
        #expect(try cluster.run { host.status(of: group)!.commitIndex > applied })
        let committed = host.status(of: group)!.commitIndex
        var answered: LogIndex?
        host.readIndex(group) { answered = try? $0.get() }
        // Long enough for many rounds of messages.
        try cluster.run(milliseconds: 40)
        #expect(answered == nil, "the leader answered with what it had not applied")
        #expect(tablet.appliedIndex == applied)
        if let lease = host.leaseReadIndex(group, now: leader.clock) { #expect(lease >= committed) }
        tablet.refusesEntries = false
        #expect(try cluster.run(limit: 500) { answered != nil })
        #expect(answered.map { $0 >= committed } == true && tablet.appliedIndex >= committed)
        try cluster.expectLevel()
    }

    // MARK: Disks

    @Test(
        "A39: disks that take two election timeouts now and then cost nobody the office, and heartbeats do not wait for them",
        arguments: SimulatedCluster.seeds(2))
    func A39_slowDisks(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: 390 + seed) {
            $0.logStallNanoseconds = 1_000 * SimulatedCluster.millisecond
        }
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 300)
        let before = terms(cluster)
        // The longest election timeout is twice the shortest, which is 150 ms here.
        let sync = 600
        for round in 0..<12 {
            let slow = round % 4 == 3 ? cluster.nodes : [cluster.nodes[round % 4]]
            for node in slow { node.logHangs = true }
            let acknowledged = cluster.acknowledgedCount
            try cluster.load(milliseconds: sync)
            if slow.count == 1 {
                #expect(cluster.acknowledgedCount > acknowledged + 300, "seed \(seed): the other two are a majority")
            }
            for node in slow { node.logHangs = false }
            try cluster.load(milliseconds: 100)
        }
        #expect(terms(cluster) == before, "seed \(seed): an election took place")
        #expect(cluster.nodes.allSatisfy { $0.host?.statistics.logStalls == 0 })
        try cluster.expectLevel()
    }

    // MARK: Incarnations

    @Test(
        "A51: late messages to a replica that is gone bring nothing back, nor do they touch the one that comes after it",
        arguments: SimulatedCluster.seeds(2))
    func A51_lateMessages(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: 510 + seed, nodes: 4, founders: 3, groups: 2)
        var late: [SimulatedCluster.Flight] = []
        cluster.tap = { flight in
            if flight.to == NodeID(3) { late.append(flight) }
            return flight
        }
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 300)
        // The frames of a snapshot among them: the node misses more than the log keeps.
        cluster.node(node(3)).kill()
        try cluster.load(milliseconds: 300)
        try cluster.node(node(3)).start()
        try cluster.load(milliseconds: 300)
        cluster.tap = nil
        for group in cluster.groups { try cluster.move(group, to: [node(1), node(2), node(4)]) }
        try cluster.load(milliseconds: 1_000)
        let third = cluster.node(node(3))
        #expect(try cluster.run { cluster.isPlaced && third.tablets.isEmpty }, "\(cluster.describe())")
        try cluster.run(milliseconds: 50)
        func deliverLate() throws {
            for flight in late {
                third.host?.receive(frame: flight.frame[...], from: flight.from, over: flight.channel, now: third.clock)
            }
            try cluster.run(milliseconds: 100)
        }
        let unknown = third.host!.statistics.unknownMessages
        try deliverLate()
        #expect(third.host!.statistics.unknownMessages > unknown && third.tablets.isEmpty)
        for group in cluster.groups {
            #expect(third.host!.status(of: group) == nil)
            #expect(try !third.fileSystem.exists("groups/\(group.rawValue)"), "seed \(seed): the replica came back")
        }
        // The same number again is another replica, to which the old messages mean nothing either.
        for group in cluster.groups { try cluster.move(group, to: [node(1), node(3), node(4)]) }
        try deliverLate()
        try cluster.load(milliseconds: 1_000)
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        let before = terms(cluster)
        try deliverLate()
        #expect(terms(cluster) == before, "seed \(seed): a late message began an election")
        try cluster.expectLevel()
    }

    @Test("A51: a replica's removal that a power cut interrupts is finished after the restart")
    func A51_removalInterrupted() throws {
        for operations in stride(from: 1, through: 61, by: 6) {
            let cluster = try SimulatedCluster(seed: 5_100 + UInt64(operations), nodes: 4, founders: 3, groups: 1)
            #expect(try cluster.run { cluster.hasAllLeaders })
            try cluster.load(milliseconds: 100)
            let third = cluster.node(node(3))
            try cluster.move(cluster.groups[0], to: [node(1), node(2), node(4)])
            third.fileSystem.cutPower(afterOperations: operations)
            try cluster.load(milliseconds: 600)
            if !third.isUp { try third.start() }
            #expect(
                try cluster.run { cluster.isPlaced && third.tablets.isEmpty }, "\(operations): \(cluster.describe())")
            try cluster.run(milliseconds: 50)
            // What it had promised is remembered, and nothing else.
            let names = try third.fileSystem.list("groups")
            #expect(names.allSatisfy { $0.hasSuffix(".left") }, "\(operations): \(names)")
            try cluster.expectLevel()
        }
    }

    // MARK: Versions

    @Test("A52: a log record of a kind that this version does not know is refused by file and offset, not skipped")
    func A52_unknownLogRecord() throws {
        let disk = SimulatedFileSystem(seed: 52)
        let log = try SharedLog.open(directory: "raft", fileSystem: disk)
        let group = log.open(GroupID(1))
        var batch = LogBatch(id: 1)
        group.append(
            [Entry(term: Term(1), index: LogIndex(1), kind: .normal, payload: [1, 2, 3])],
            hardState: HardState(term: Term(1)),
            to: &batch)
        try log.append(batch)
        try log.synchronize()
        let offset = log.writer.withLock { $0.segment.position }
        try log.writer.withLock { state in
            _ = try state.segment.append([1, 2, 3], tag: 99 << 56 | 1)
            try state.segment.synchronize()
        }
        disk.killProcess()
        let error = #expect(throws: SharedLogError.self) { try SharedLog.open(directory: "raft", fileSystem: disk) }
        #expect(error?.code == .damaged && error?.cause?.code == .unsupported)
        #expect(error?.cause?.offset == offset && error?.cause?.path.hasPrefix("raft/segment-") == true)
        #expect(error?.description.contains("this version does not know") == true)
    }

    @Test("A52: a message or an entry of a kind that this version does not know is refused, and changes nothing")
    func A52_unknownMessage() throws {
        let cluster = try SimulatedCluster(seed: 52, groups: 1)
        let group = cluster.groups[0]
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 100)
        try cluster.run(milliseconds: 100)
        let leader = try #require(cluster.leader(of: group))
        let follower = try #require(cluster.nodes.first { $0.id != leader.id })
        let status = try #require(follower.host?.status(of: group))
        let previous = LogPosition(term: status.term, index: status.lastLogIndex)
        func frame(changing byte: (inout [UInt8]) -> Void) -> [UInt8] {
            let collector = FrameCollector()
            var builder = FrameBuilder(cluster: 42, node: leader.id, peer: follower.id, channel: .raft)
            let entry = Entry(term: status.term, index: previous.index.next, kind: .normal, payload: [])
            let message = Message(
                from: leader.id, to: follower.id, term: status.term,
                kind: .append(previous: previous, commit: .zero, entries: [entry]))
            builder.add(group: group, byteCount: RaftMessageCodec.byteCount(of: message), to: collector) {
                RaftMessageCodec.append(message, to: &$0)
            }
            builder.finish(collector)
            var frame = collector.frames[0].frame
            byte(&frame)
            let sum = PeerCodec.checksum(header: frame[..<40], body: frame[PeerCodec.headerBytes...])
            for index in 0..<4 { frame[40 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
            return frame
        }
        for (frame, words) in [
            (frame { $0[PeerCodec.headerBytes + 8] = 50 }, "a message of kind 50"),
            (frame { $0[PeerCodec.headerBytes + 8] = 200 }, "a message of kind 200"),
            // An entry's kind is the byte before its length.
            (frame { $0[$0.count - 5] = 200 }, "an entry of kind 200"),
        ] {
            let host = try #require(follower.host)
            let refused = host.statistics.refusedFrames
            let error = host.receive(frame: frame[...], from: leader.id, over: .raft, now: follower.clock)
            #expect(error?.message.contains(words) == true, "\(String(describing: error))")
            #expect(error?.message.contains("this version does not know") == true)
            #expect(host.statistics.refusedFrames == refused + 1)
            #expect(host.status(of: group)?.lastLogIndex == previous.index)
        }
        try cluster.load(milliseconds: 100)
        try cluster.expectLevel()
    }

    // MARK: Lost majorities

    /// What ``cairn recover`` does to the log, on a node that is down.
    private func makeSoleVoter(_ survivor: SimulatedNode, _ cluster: SimulatedCluster) throws {
        let log = try SharedLog.open(directory: "raft", fileSystem: survivor.fileSystem)
        for group in cluster.groups {
            let tablet = try TestTablet(directory: "groups/\(group.rawValue)/tablet", fileSystem: survivor.fileSystem)
            try log.makeSoleVoter(
                survivor.id, of: group, applied: LogPosition(term: tablet.appliedTerm, index: tablet.appliedIndex))
        }
        try log.close()
    }

    @Test("A53: a survivor does nothing by itself, and goes on alone with all it had once it is told to")
    func A53_soleSurvivor() throws {
        for operations in [0, 1, 3, 6, 10, 15, 21, 28] {
            let cluster = try SimulatedCluster(seed: 530)
            #expect(try cluster.run { cluster.hasAllLeaders })
            try cluster.load(milliseconds: 300)
            #expect(try cluster.run { cluster.isLevel })
            cluster.nodes[0].cutPower()
            cluster.nodes[1].cutPower()
            let survivor = cluster.nodes[2]
            let acknowledged = cluster.acknowledgedCount
            try cluster.load(milliseconds: 3_000)
            #expect(cluster.acknowledgedCount == acknowledged && !cluster.hasAllLeaders, "it invented a quorum")
            survivor.kill()
            if operations > 0 {
                survivor.fileSystem.cutPower(afterOperations: operations)
                try? makeSoleVoter(survivor, cluster)
                survivor.fileSystem.restart()
            }
            try makeSoleVoter(survivor, cluster)
            survivor.fileSystem.killProcess()
            try survivor.start()
            #expect(try cluster.run { cluster.hasAllLeaders }, "\(operations): \(cluster.describe())")
            try cluster.load(milliseconds: 200)
            #expect(cluster.acknowledgedCount > acknowledged + 100)
            for group in cluster.groups {
                // The others may be learners already: they still belong to the layout of this test.
                #expect(survivor.host?.configuration(of: group)?.voters == [survivor.id])
                for (key, value) in cluster.ledger[group] ?? [:] {
                    #expect(try survivor.tablets[group]?.value(of: key) == value, "\(operations): \(group) lost \(key)")
                }
            }
        }
    }

    @Test("A53: a log that is behind its tablet begins anew behind it, and one that is damaged or gone is refused")
    func A53_logAndTablet() throws {
        let disk = SimulatedFileSystem(seed: 53)
        let log = try SharedLog.open(directory: "raft", fileSystem: disk)
        let group = log.open(GroupID(1))
        var batch = LogBatch(id: 1)
        group.append(
            (1...3).map { Entry(term: Term(1), index: LogIndex($0), kind: .normal, payload: []) },
            hardState: HardState(term: Term(2), vote: NodeID(2), commit: LogIndex(1)), to: &batch)
        try log.append(batch)
        try log.synchronize()
        let applied = LogPosition(term: Term(4), index: LogIndex(10))
        try log.makeSoleVoter(NodeID(3), of: GroupID(1), applied: applied)
        let summary = try #require(try SharedLog.summaries(in: "raft", fileSystem: disk).first)
        #expect(summary.last == LogPosition(term: Term(5), index: LogIndex(11)) && summary.committed == LogIndex(10))
        try log.close()
        let again = try SharedLog.open(directory: "raft", fileSystem: disk)
        let reopened = again.open(GroupID(1))
        #expect(reopened.base == applied && reopened.hardState.term == Term(5) && reopened.hardState.vote == nil)
        let entry = try #require(
            try reopened.entries(from: LogIndex(11), through: LogIndex(11), maxBytes: .max).first)
        #expect(Configuration(decoding: entry.payload) == Configuration(voters: [NodeID(3)]))
        let error = #expect(throws: ReplicationError.self) {
            try again.makeSoleVoter(
                NodeID(3), of: GroupID(1), applied: LogPosition(term: Term(1), index: LogIndex(5)))
        }
        #expect(error?.code == .logGap)
    }
}
