import CairnFiles
import CairnRaft
import CairnReplication
import CairnSimulator
import CairnTestSupport
import Foundation
import Synchronization
import Testing

@Suite struct LogWriterTests {
    @Test func batchesOfSeveralLoopsBecomeDurableInTheirOrder() throws {
        let disk = SimulatedFileSystem(seed: 31)
        var options = LogWorkload.options()
        options.segmentBytes = 64 << 10
        let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: options)
        let writer = LogWriter(log)
        let done = Mutex<[UInt32: [UInt64]]>([:])
        for loop in 1...3 as ClosedRange<UInt32> {
            let group = log.open(GroupID(loop))
            for index in 1...100 as ClosedRange<UInt64> {
                var batch = LogBatch(id: index)
                let entry = Entry(
                    term: Term(1), index: LogIndex(index), kind: .normal,
                    payload: [UInt8](repeating: UInt8(loop), count: 50)[...])
                group.append([entry], to: &batch)
                writer.submit(batch) { result in
                    guard case .success = result else { return }
                    done.withLock { $0[loop, default: []].append(index) }
                }
            }
        }
        writer.stop()
        for loop in 1...3 as ClosedRange<UInt32> { #expect(done.withLock { $0[loop] } == Array(1...100)) }
        let refused = Mutex(false)
        writer.submit(LogBatch(id: 1)) { result in
            if case .failure(let error) = result, error.code == .closed { refused.withLock { $0 = true } }
        }
        #expect(refused.withLock { $0 })
        disk.restart()
        let again = try SharedLog.open(directory: "raft", fileSystem: disk, options: options)
        for loop in 1...3 as ClosedRange<UInt32> { #expect(again.open(GroupID(loop)).lastIndex == LogIndex(100)) }
    }

    @Test func anIdleLogIsMarkedAsSynced() throws {
        let disk = SimulatedFileSystem(seed: 32)
        let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
        let writer = LogWriter(log)
        defer { writer.stop() }
        let group = log.open(GroupID(1))
        var batch = LogBatch(id: 1)
        group.append(
            [Entry(term: Term(1), index: LogIndex(1), kind: .normal, payload: [1, 2, 3])], to: &batch)
        writer.submit(batch) { _ in }
        func tags() throws -> [UInt64] {
            let segment = try disk.list("raft").first { $0.hasPrefix("segment") }!
            var reader = try RecordLogReader("raft/" + segment, kind: RecordLogHeader.Kind("RAFT"), in: disk)
            var tags: [UInt64] = []
            while let record = try reader.next() { tags.append(record.tag) }
            return tags
        }
        let deadline = ContinuousClock.now + .seconds(10)
        while try tags().count < 2, ContinuousClock.now < deadline { usleep(10_000) }
        let found = try tags()
        #expect(found.count == 2 && found[0] != found[1])
        usleep(600_000)
        #expect(try tags() == found, "one mark, not one each time that nothing comes")
    }

    @Test func onARealDiskSegmentsAreFilledRecycledAndReadBack() throws {
        let disk = PosixFileSystem()
        let directory = "/tmp/cairn-log-\(disk.makeFileID())"
        defer { try? disk.removeTree(directory) }
        var options = SharedLogOptions()
        options.segmentBytes = 256 << 10
        options.cacheBytesPerGroup = 16 << 10
        let log = try SharedLog.open(directory: directory, fileSystem: disk, options: options)
        let writer = LogWriter(log)
        let group = log.open(GroupID(1))
        let idle = log.open(GroupID(2))
        var random = SeededGenerator(seed: 34)
        var expected: [Entry] = []
        for number in 1...400 as ClosedRange<UInt64> {
            var batch = LogBatch(id: number)
            let entries = (0..<4).map { offset in
                Entry(
                    term: Term(1), index: group.lastIndex + 1 + offset, kind: .normal, payload: random.bytes(1000)[...])
            }
            expected += entries
            group.append(entries, to: &batch)
            if number == 1 { idle.append([], hardState: HardState(term: Term(3)), to: &batch) }
            if number % 50 == 0 { group.purge(through: LogIndex(number * 4 - 100), in: &batch) }
            writer.submit(batch) { result in
                if case .failure(let error) = result { Issue.record("\(error)") }
            }
            // Waits as a loop would be called back, so that the cache may shrink.
            let position = LogPosition(term: Term(1), index: group.lastIndex)
            if number % 20 == 0 {
                let reached = Mutex(false)
                writer.submit(LogBatch(id: number)) { _ in reached.withLock { $0 = true } }
                while !reached.withLock({ $0 }) {}
                group.persisted(through: position)
            }
        }
        let left = try group.entries(from: group.firstIndex, through: group.lastIndex, maxBytes: .max)
        #expect(left == Array(expected.suffix(100)))
        #expect(try disk.list(directory).count <= 8)
        writer.stop()
        let again = try SharedLog.open(directory: directory, fileSystem: disk, options: options)
        let found = again.open(GroupID(1))
        #expect(found.damage == nil)
        #expect(
            try found.entries(from: group.firstIndex, through: found.lastIndex, maxBytes: .max)
                == Array(expected.suffix(100)))
        #expect(again.open(GroupID(2)).hardState.term == Term(3))
        try again.close()
    }

    @Test func D5_aFullDiskStallsTheWriterUntilThereIsRoom() throws {
        let disk = SimulatedFileSystem(seed: 32)
        var options = LogWorkload.options()
        options.fillsAhead = false
        let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: options)
        let writer = LogWriter(log)
        let group = log.open(GroupID(1))
        disk.setCapacity(1)
        var batch = LogBatch(id: 1)
        group.append([], hardState: HardState(term: Term(9)), to: &batch)
        let result = Mutex<Result<Void, SharedLogError>?>(nil)
        writer.submit(batch) { answer in result.withLock { $0 = answer } }
        while !log.isOutOfSpace {}
        #expect(result.withLock { $0 == nil })
        disk.setCapacity(.max)
        while result.withLock({ $0 == nil }) {}
        if case .failure(let error) = result.withLock({ $0! }) { Issue.record("\(error)") }
        writer.stop()
    }

    @Test func D2_aFailedSyncIsReportedToAllWhoWait() throws {
        let disk = SimulatedFileSystem(seed: 33)
        let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
        let group = log.open(GroupID(1))
        disk.inject(DiskFault(.error(.io), on: .synchronize, pathContains: "segment", lasts: true))
        let writer = LogWriter(log)
        let failures = Mutex<[SharedLogError.Code]>([])
        for term in 1...3 as ClosedRange<UInt64> {
            var batch = LogBatch(id: term)
            group.append([], hardState: HardState(term: Term(term)), to: &batch)
            writer.submit(batch) { result in
                if case .failure(let error) = result { failures.withLock { $0.append(error.code) } }
            }
        }
        writer.stop()
        #expect(failures.withLock { $0 } == [.syncFailed, .syncFailed, .syncFailed])
    }
}
