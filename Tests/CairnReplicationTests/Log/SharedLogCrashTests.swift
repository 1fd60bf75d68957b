import CairnRaft
import CairnReplication
import CairnSimulator
import CairnTestSupport
import Testing

@Suite struct SharedLogCrashTests {
    private static let steps = 60

    private func open(_ disk: SimulatedFileSystem) throws -> SharedLog {
        try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
    }

    @Test func D1_afterAPowerCutAtAnyOperationAPrefixIsThereWithAllThatWasSynced() throws {
        let whole = SimulatedFileSystem(seed: 1)
        var reference = LogWorkload(seed: 1, log: try open(whole))
        for step in 0..<Self.steps {
            try reference.step()
            try reference.checkLoops("step \(step)")
        }
        let operations = whole.operationCount
        #expect(reference.log.statistics.segments < 12, "segments are given up: \(reference.log.statistics)")
        for cut in 0..<operations {
            try crash(seed: 1, cut: cut, luck: UInt64(cut))
        }
    }

    @Test(arguments: [2, 3, 4, 5, 6, 7, 8, 9] as [UInt64])
    func D1_afterPowerCutsAtRandomOperationsAPrefixIsThere(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<25 { try crash(seed: seed, cut: Int(random.next() % 250), luck: random.next()) }
    }

    /// Runs the workload of `seed` until the power goes after `cut` operations, and looks at what is left; then the same
    /// in the middle of recovery, and again after more work.
    private func crash(seed: UInt64, cut: Int, luck: UInt64) throws {
        let place = Comment("seed \(seed), cut \(cut), luck \(luck)")
        let disk = SimulatedFileSystem(seed: luck)
        disk.cutPower(afterOperations: cut)
        var model = LogModel()
        var durable = 0
        if let log = try? open(disk) {
            var workload = LogWorkload(seed: seed, log: log)
            do {
                for _ in 0..<Self.steps { try workload.step() }
            } catch {}
            model = workload.model
            durable = workload.durable
        }
        disk.restart()

        // B08: recovery is cut off too, and the next one shows no less than this one did.
        disk.cutPower(afterOperations: Int(luck % 10))
        if let log = try? open(disk) {
            let shown = try LogWorkload.matching(log, model, durable...model.count)
            let count = try #require(shown.count, "\(place): \(shown.reasons)")
            durable = count
        }
        disk.restart()
        var log = try open(disk)
        let shown = try LogWorkload.matching(log, model, durable...model.count)
        let count = try #require(shown.count, "\(place): \(shown.reasons)")
        disk.killProcess()
        log = try open(disk)
        let again = try LogWorkload.matching(log, model, count...count)
        #expect(again.count == count, "\(place): \(again.reasons)")
    }

    @Test func B08_reopeningShowsTheSameAndUsesUpNothing() throws {
        let disk = SimulatedFileSystem(seed: 5)
        var workload = LogWorkload(seed: 5, log: try open(disk))
        for _ in 0..<Self.steps { try workload.step() }
        try workload.log.close()
        var files: Set<Int> = []
        for _ in 0..<6 {
            let log = try open(disk)
            let shown = try LogWorkload.matching(log, workload.model, workload.model.count...workload.model.count)
            #expect(shown.count != nil, "\(shown.reasons)")
            try log.close()
            files.insert(try disk.list("raft").count)
        }
        #expect(files.count <= 3, "the number of files settles: \(files)")
    }

    @Test func D2_afterAFailedSyncNothingMoreIsWritten() throws {
        let disk = SimulatedFileSystem(seed: 6)
        let log = try open(disk)
        let group = log.open(GroupID(1))
        disk.inject(DiskFault(.error(.io), on: .synchronize, nth: 1))
        var batch = LogBatch(id: 1)
        group.append([], hardState: HardState(term: Term(1)), to: &batch)
        try log.append(batch)
        do throws(SharedLogError) {
            try log.synchronize()
            Issue.record("the sync failed")
        } catch {
            #expect(error.code == .syncFailed && error.cause?.path.hasPrefix("raft/segment-") == true)
        }
        #expect(throws: SharedLogError.self) { try log.synchronize() }
        #expect(throws: SharedLogError.self) { try log.append(batch) }
    }

    /// Found by the whole-node simulation: the entries were shown, acknowledged and gone, and the next segment's header vouched for
    /// them, so that the log did not open again.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func A40_whatAStartShowsAfterAFailedSyncIsOnTheDisk(seed: UInt64) throws {
        let disk = SimulatedFileSystem(seed: seed)
        let log = try open(disk)
        let group = log.open(GroupID(1))
        var batch = LogBatch(id: 1)
        let entries = (1...5).map {
            Entry(term: Term(1), index: LogIndex($0), kind: .normal, payload: [UInt8](repeating: 7, count: 900)[...])
        }
        group.append(entries, hardState: HardState(term: Term(1)), to: &batch)
        try log.append(batch)
        disk.inject(DiskFault(.error(.io), on: .synchronize, nth: 1))
        #expect(throws: SharedLogError.self) { try log.synchronize() }
        disk.killProcess()
        let shown = try open(disk).open(GroupID(1)).lastIndex
        #expect(shown == LogIndex(5), "the kernel has the bytes")
        disk.cutPower()
        disk.restart()
        let again = try open(disk).open(GroupID(1))
        #expect(again.damage == nil)
        #expect(again.lastIndex == shown)
    }

    @Test func D5_aMarkThatFindsNoRoomIsNoHarm() throws {
        for seed in 0..<40 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            var options = LogWorkload.options()
            options.fillsAhead = false
            let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: options)
            let group = log.open(GroupID(1))
            func append(_ index: UInt64) throws {
                var batch = LogBatch(id: index)
                let payload = [UInt8](repeating: UInt8(index), count: 30 + Int(seed))
                group.append(
                    [Entry(term: Term(1), index: LogIndex(index), kind: .normal, payload: payload[...])], to: &batch)
                try log.append(batch)
                try log.synchronize()
            }
            try append(1)
            disk.inject(DiskFault(.error(.outOfSpace), on: .write, nth: 1))
            #expect(throws: SharedLogError.self) { try log.markSynced() }
            try log.markSynced()
            try append(2)
            try log.markSynced()
            disk.cutPower()
            disk.restart()
            let again = try open(disk).open(GroupID(1))
            #expect(again.damage == nil && again.lastIndex == LogIndex(2), "seed \(seed)")
        }
    }

    @Test func D5_aFullDiskStopsWritesAndNothingElse() throws {
        for seed in 0..<20 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            var options = LogWorkload.options()
            options.fillsAhead = false
            let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: options)
            let group = log.open(GroupID(1))
            var random = SeededGenerator(seed: seed)
            disk.setCapacity(4000 + seed * 130)
            var stalled: LogBatch?
            for index in 1...40 as ClosedRange<UInt64> {
                var batch = LogBatch(id: index)
                group.append(
                    [Entry(term: Term(1), index: LogIndex(index), kind: .normal, payload: random.bytes(150)[...])],
                    to: &batch)
                do throws(SharedLogError) {
                    try log.append(batch)
                    try log.synchronize()
                } catch {
                    #expect(error.code == .outOfSpace, "seed \(seed): \(error)")
                    stalled = batch
                    break
                }
                group.persisted(through: LogPosition(term: Term(1), index: LogIndex(index)))
            }
            let batch = try #require(stalled)
            let whole = try group.entries(from: LogIndex(1), through: group.lastIndex, maxBytes: .max)
            #expect(throws: SharedLogError.self) { try log.append(batch) }
            // The log may rest while the disk is full.
            try log.markSynced()
            disk.setCapacity(.max)
            try log.append(batch)
            try log.synchronize()
            try log.markSynced()
            disk.killProcess()
            let again = try open(disk).open(GroupID(1))
            #expect(again.damage == nil, "seed \(seed)")
            #expect(
                try again.entries(from: LogIndex(1), through: again.lastIndex, maxBytes: .max) == whole, "seed \(seed)")
        }
    }
}
