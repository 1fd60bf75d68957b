import CairnFiles
import CairnRaft
import CairnReplication
import CairnSimulator
import CairnTestSupport
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

    @Test func A41_aFullDiskStallsTheWriterUntilThereIsRoom() throws {
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
        while !writer.isStalled {}
        #expect(result.withLock { $0 == nil })
        disk.setCapacity(.max)
        while result.withLock({ $0 == nil }) {}
        if case .failure(let error) = result.withLock({ $0! }) { Issue.record("\(error)") }
        writer.stop()
    }

    @Test func A40_aFailedSyncIsReportedToAllWhoWait() throws {
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
