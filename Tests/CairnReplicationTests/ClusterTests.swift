import CairnFiles
import CairnRaft
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnReplication

/// Whole nodes on simulated disks and a simulated network. Each message of a failure names the seed.
@Suite("groups of three nodes")
struct ClusterTests {
    @Test("every group elects, replicates, answers reads, and its replicas are equal")
    func calm() throws {
        let cluster = try SimulatedCluster(seed: 1)
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 500, writesPerMillisecond: 2)
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 800)
        #expect(cluster.readsAnswered > 10)
        #expect(cluster.leaseReads > 10)
    }

    @Test("a group alone on its node commits by itself and drains at once")
    func alone() throws {
        let cluster = try SimulatedCluster(seed: 2, nodes: 1)
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 100)
        cluster.nodes[0].cutPower()
        try cluster.nodes[0].start()
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 50)
        cluster.nodes[0].host!.beginShutdown()
        #expect(try cluster.run(limit: 100) { cluster.nodes[0].host!.isDrained })
    }

    @Test("A28: what was acknowledged survives a power cut of all nodes at once", arguments: SimulatedCluster.seeds(3))
    func A28_powerCutOfAll(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        for _ in 0..<4 {
            try cluster.run { cluster.hasAllLeaders }
            try cluster.load(milliseconds: 20 + Int(cluster.random.next() % 150), writesPerMillisecond: 2)
            for node in cluster.nodes { node.cutPower() }
            for node in cluster.nodes { try node.start() }
        }
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 100, "seed \(seed)")
    }

    @Test("A28: nodes lose power in the middle of any write, one after the other", arguments: SimulatedCluster.seeds(3))
    func A28_powerCutAtAnyOperation(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        try cluster.run { cluster.hasAllLeaders }
        for round in 0..<9 {
            let node = cluster.nodes[round % 3]
            node.fileSystem.cutPower(afterOperations: 1 + Int(cluster.random.next() % 60))
            try cluster.load(milliseconds: 150)
            if !node.isUp {
                try node.start()
            } else {
                node.cutPower()
                try node.start()
            }
        }
        try cluster.expectLevel()
        #expect(cluster.acknowledgedCount > 100, "seed \(seed)")
    }

    @Test(
        "any mix of lost frames, partitions, kills and power cuts loses nothing acknowledged",
        arguments: SimulatedCluster.seeds(6)
    )
    func chaos(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed) { options in
            options.logEntriesKept = 30
            options.snapshotChunkBytes = 300
            options.snapshotWindowBytes = 1200
        }
        for _ in 0..<12 {
            let node = cluster.nodes[Int(cluster.random.next() % 3)]
            cluster.lossPermille = cluster.random.oneIn(2) ? 0 : cluster.random.next() % 200
            switch cluster.random.next() % 6 {
            case 0: cluster.isolate(node.id)
            case 1: cluster.heal()
            case 2: if node.isUp { node.kill() }
            case 3: if node.isUp { node.cutPower() }
            case 4: node.fileSystem.cutPower(afterOperations: 1 + Int(cluster.random.next() % 100))
            default: break
            }
            try cluster.load(milliseconds: 100)
            for node in cluster.nodes where !node.isUp && cluster.random.oneIn(2) { try node.start() }
        }
        try cluster.expectLevel()
    }

    @Test(
        "A35: the log begins at or below what the tablet has made durable, at every power cut",
        arguments: SimulatedCluster.seeds(2)
    )
    func A35_purgeAgainstDurable(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed) { $0.logEntriesKept = 5 }
        cluster.persistsEvery = 37
        for _ in 0..<4 {
            try cluster.run { cluster.hasAllLeaders }
            for _ in 0..<4 {
                try cluster.load(milliseconds: 50, writesPerMillisecond: 2)
                for node in cluster.nodes {
                    for group in cluster.groups {
                        let status = node.host!.status(of: group)!
                        #expect(status.firstLogIndex.previous <= status.durableIndex, "seed \(seed)")
                    }
                }
            }
            for node in cluster.nodes { node.cutPower() }
            for node in cluster.nodes {
                try node.start()
                #expect(node.startFailures.isEmpty, "seed \(seed): \(node.startFailures)")
            }
        }
        try cluster.expectLevel()
        let first = cluster.nodes[0].host!.status(of: cluster.groups[0])!.firstLogIndex
        #expect(first > LogIndex(50), "nothing was purged")
    }

    @Test("A38: a leader whose disk hangs hands its offices over, and comes back when the disk does")
    func A38_hungDisk() throws {
        let cluster = try SimulatedCluster(seed: 38)
        #expect(try cluster.run { cluster.hasAllLeaders })
        let node = cluster.leader(of: cluster.groups[0])!
        try cluster.load(milliseconds: 50)
        node.logHangs = true
        try cluster.load(milliseconds: 1000)
        for group in cluster.groups { #expect(node.host!.role(of: group)!.isLeader == false) }
        #expect(cluster.hasAllLeaders)
        #expect(node.host!.statistics.logStalls == 1)
        let before = cluster.acknowledgedCount
        try cluster.load(milliseconds: 200)
        #expect(cluster.acknowledgedCount > before + 150)
        node.logHangs = false
        try cluster.expectLevel()
    }

    @Test("A38: a leader whose disk hangs and whose followers do not obey gives its office up")
    func A38_hungDiskUnheard() throws {
        let cluster = try SimulatedCluster(seed: 39, groups: 1)
        #expect(try cluster.run { cluster.hasAllLeaders })
        let node = cluster.leader(of: cluster.groups[0])!
        // The handover never arrives.
        cluster.tap = { flight in
            guard flight.from == node.id else { return flight }
            let messages = try! PeerCodec.messages(in: flight.frame[...], cluster: 42)
            let isHandover = messages.contains { message in
                guard let decoded = try? RaftMessageCodec.decode(message.bytes, from: flight.from, to: flight.to) else {
                    return false
                }
                if case .timeoutNow = decoded.kind { return true }
                return false
            }
            return isHandover ? nil : flight
        }
        node.logHangs = true
        try cluster.load(milliseconds: 2000)
        #expect(node.host!.role(of: cluster.groups[0])!.isLeader == false)
        #expect(cluster.leader(of: cluster.groups[0]) != nil)
        try cluster.expectLevel()
    }

    @Test(
        "A40: a failed sync ends the node, and nothing that relied on it was acknowledged",
        arguments: SimulatedCluster.seeds(2))
    func A40_failedSync(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 100)
        let node = cluster.leader(of: cluster.groups[0])!
        node.fileSystem.inject(DiskFault(.error(.io), on: .synchronize, pathContains: "raft"))
        try cluster.load(milliseconds: 600)
        #expect(!node.isUp)
        #expect(node.crashReason?.contains("logFailed") == true, "\(node.crashReason ?? "")")
        #expect(cluster.hasAllLeaders)
        try cluster.expectLevel()
    }

    @Test("leaders spread as configured, after the start and after a restart")
    func preferredLeaders() throws {
        let cluster = try SimulatedCluster(seed: 7, groups: 6)
        cluster.preferredLeaders = true
        for node in cluster.nodes {
            node.cutPower()
            try node.start()
        }
        func isSpread() -> Bool {
            cluster.groups.allSatisfy { cluster.leader(of: $0)?.id == cluster.founders[Int($0.rawValue) % 3] }
        }
        #expect(try cluster.run(until: isSpread), "\(cluster.describe())")
        cluster.nodes[0].kill()
        try cluster.run(milliseconds: 1000)
        #expect(cluster.hasAllLeaders)
        try cluster.nodes[0].start()
        #expect(try cluster.run(until: isSpread), "\(cluster.describe())")
        try cluster.expectLevel()
    }

    @Test("a node that shuts down hands all its offices over first")
    func shutdown() throws {
        let cluster = try SimulatedCluster(seed: 8, groups: 6)
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 200)
        let node = cluster.leader(of: cluster.groups[0])!
        node.host!.beginShutdown()
        #expect(try cluster.run(limit: 1000) { node.host!.isDrained })
        try cluster.load(milliseconds: 300)
        for group in cluster.groups { #expect(node.host!.role(of: group)!.isLeader == false) }
        node.kill()
        let before = cluster.acknowledgedCount
        try cluster.load(milliseconds: 50)
        #expect(cluster.acknowledgedCount > before + 30)
        try cluster.expectLevel()
    }

    @Test("a leadership handed over on request is taken by the node that was named")
    func transfer() throws {
        let cluster = try SimulatedCluster(seed: 9, groups: 1)
        #expect(try cluster.run { cluster.hasAllLeaders })
        let group = cluster.groups[0]
        for target in [2, 3, 1, 3] {
            try cluster.load(milliseconds: 50)
            let leader = cluster.leader(of: group)!
            guard leader.id != NodeID(UInt64(target)) else { continue }
            try leader.host!.transferLeadership(group, to: NodeID(UInt64(target)))
            #expect(try cluster.run(limit: 500) { cluster.leader(of: group)?.id == NodeID(UInt64(target)) })
        }
        try cluster.expectLevel()
    }

    @Test("A14: a leader cut off from its followers acknowledges nothing, answers no read, and steps down")
    func A14_isolatedLeader() throws {
        let cluster = try SimulatedCluster(seed: 14, groups: 1)
        let group = cluster.groups[0]
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 50)
        let old = cluster.leader(of: group)!
        cluster.isolate(old.id)
        try cluster.run(milliseconds: 5)
        let applied = old.host!.appliedIndex(of: group)!
        var outcome: Result<LogIndex, GroupReadError>?
        old.host!.readIndex(group) { outcome = $0 }
        try cluster.load(milliseconds: 1500)
        #expect(old.host!.role(of: group) == .follower(leader: nil))
        #expect(old.host!.appliedIndex(of: group) == applied)
        guard case .failure = outcome else {
            Issue.record("the read got \(String(describing: outcome))")
            return
        }
        #expect(cluster.leader(of: group)!.id != old.id)
        try cluster.expectLevel()
    }

    /// A cluster whose first node starts on a log with a flipped bit in an entry of one group.
    private func clusterWithDamagedLog(seed: UInt64, usesEngine: Bool = false) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed, usesEngine: usesEngine)
        cluster.persistsEvery = 0
        cluster.padding = 200
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 300)
        try cluster.run(milliseconds: 100)
        let node = cluster.nodes[0]
        node.cutPower()
        // In the middle of the written part of the oldest segment: an entry of one group, with many records after it.
        let segment = try node.fileSystem.list("raft").filter { $0.hasPrefix("segment-") && !$0.hasSuffix(".new") }
            .first!
        try node.fileSystem.flipBit(3, ofByte: 20_000, in: "raft/" + segment)
        try node.start()
        #expect(node.startFailures.count == 1, "\(node.startFailures)")
        return cluster
    }

    @Test("A33: a group whose log is damaged stays out, says why, and leaves the other groups alone")
    func A33_damagedGroup() throws {
        let cluster = try clusterWithDamagedLog(seed: 33)
        let node = cluster.nodes[0]
        let (damaged, failure) = node.startFailures.first!
        #expect(failure.code == .damaged)
        #expect(node.host!.status(of: damaged)!.failure == failure)
        #expect(node.host!.role(of: damaged) == nil)
        // Nobody hears of it, so it stays as it is.
        cluster.isolate(node.id)
        let before = cluster.acknowledgedCount
        try cluster.run(limit: 2000) { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 200)
        #expect(cluster.acknowledgedCount > before + 100)
        #expect(node.host!.releasedGroups.isEmpty && node.host!.status(of: damaged)!.failure == failure)
    }

    @Test(
        "A33: a replica whose log is damaged is removed by its group and made anew, while clients write",
        arguments: [true, false])
    func A33_damagedLogIsRebuilt(usesEngine: Bool) throws {
        let cluster = try clusterWithDamagedLog(seed: 34, usesEngine: usesEngine)
        let node = cluster.nodes[0]
        let damaged = node.startFailures.first!.key
        try cluster.load(milliseconds: 3_000)
        #expect(node.rejoined == [damaged], "\(cluster.describe())")
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        try cluster.expectLevel()
        // It counts again: the group goes on when another one fails.
        cluster.nodes[1].kill()
        let before = cluster.acknowledgedCount
        try cluster.run(limit: 2000) { cluster.hasAllLeaders }
        try cluster.load(milliseconds: 200)
        #expect(cluster.acknowledgedCount > before + 100)
        try cluster.expectLevel()
    }

    @Test("A33: a replica whose log ends before what it had acknowledged is made anew")
    func A33_lostEndOfTheLog() throws {
        let cluster = try SimulatedCluster(seed: 36)
        cluster.persistsEvery = 0
        cluster.padding = 200
        #expect(try cluster.run { cluster.hasAllLeaders })
        try cluster.load(milliseconds: 300)
        let node = cluster.nodes[0]
        node.kill()
        // The last entry of the log, in a batch that no later record vouches for.
        let segment = try node.fileSystem.list("raft").filter { $0.hasPrefix("segment-") && !$0.hasSuffix(".new") }
            .last!
        var reader = try RecordLogReader("raft/" + segment, kind: RecordLogHeader.Kind("RAFT"), in: node.fileSystem)
        var last: LogRecord?
        while let record = try reader.next() { if record.body.count > 200 { last = record } }
        try node.fileSystem.flipBit(3, ofByte: Int(last!.offset) + 100, in: "raft/" + segment)
        try node.start()
        #expect(node.startFailures.isEmpty, "nothing on the disk shows the loss")
        try cluster.load(milliseconds: 3_000)
        #expect(node.rejoined.count == 1, "\(cluster.describe())")
        #expect(try cluster.run { cluster.isPlaced }, "\(cluster.describe())")
        try cluster.expectLevel()
    }

    @Test("A33: a power cut at any point of making a lost replica anew loses nothing and ends in a whole one")
    func A33_powerCutWhileRebuilding() throws {
        for cut in stride(from: 1, to: 400, by: 7) {
            let cluster = try clusterWithDamagedLog(seed: 35)
            let node = cluster.nodes[0]
            node.fileSystem.cutPower(afterOperations: cut)
            try cluster.load(milliseconds: 600)
            if let problem = try cluster.verify() {
                Issue.record("cut after \(cut) operations: \(problem)")
                return
            }
        }
    }

    @Test("E17: forged frames change no term and no role")
    func E17_forgedFrames() throws {
        let cluster = try SimulatedCluster(seed: 17, groups: 2)
        #expect(try cluster.run { cluster.hasAllLeaders })
        let target = cluster.leader(of: cluster.groups[0])!
        let host = target.host!
        let terms = cluster.groups.map { host.status(of: $0)!.term }
        let peer = cluster.founders.first { $0 != target.id }!
        func forge(
            cluster clusterID: UInt64 = 42, from: NodeID, group: GroupID, term: Term, kind: Message.Kind
        ) -> [UInt8] {
            let collector = FrameCollector()
            var builder = FrameBuilder(cluster: clusterID, node: from, peer: target.id, channel: .raft)
            builder.add(group: group, byteCount: 64, to: collector) {
                RaftMessageCodec.append(Message(from: from, to: target.id, term: term, kind: kind), to: &$0)
            }
            builder.finish(collector)
            return collector.frames[0].frame
        }
        let group = cluster.groups[0]
        let vote = Message.Kind.voteRequest(
            last: LogPosition(term: Term(99), index: LogIndex(1 << 40)), isTransfer: true)
        let frames: [(NodeID, [UInt8])] = [
            (peer, forge(cluster: 7, from: peer, group: group, term: Term(99), kind: vote)),
            (NodeID(9), forge(from: NodeID(9), group: group, term: Term(99), kind: vote)),
            (peer, forge(from: NodeID(9), group: group, term: Term(99), kind: vote)),
            (peer, forge(from: peer, group: GroupID(77), term: Term(99), kind: vote)),
            (peer, forge(from: peer, group: GroupID(1 << 31), term: Term(99), kind: vote)),
            (peer, forge(from: peer, group: group, term: Term(1 << 63), kind: vote)),
        ]
        for (sender, frame) in frames {
            host.receive(frame: frame[...], from: sender, over: .raft, now: target.clock)
        }
        // Far ahead of the log, and of a term that was: refused without harm.
        host.receive(
            frame: forge(
                from: peer, group: group, term: terms[0],
                kind: .append(
                    previous: LogPosition(term: terms[0], index: LogIndex(1 << 50)), commit: LogIndex(1 << 50),
                    entries: [])
            )[...],
            from: peer, over: .raft, now: target.clock)
        host.flush()
        #expect(cluster.groups.map { host.status(of: $0)!.term } == terms)
        #expect(host.statistics.refusedFrames == 3)
        #expect(host.statistics.unknownMessages == 3)
        try cluster.load(milliseconds: 100)
        try cluster.expectLevel()
    }
}
