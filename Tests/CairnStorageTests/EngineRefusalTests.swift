import CairnFiles
import CairnSimulator
import Testing

@testable import CairnStorage

/// A call that throws has done nothing, and one that has done its work does not throw.
@Suite struct EngineRefusalTests {
    @Test func B16_aSyncedBatchIsNotRefusedBecauseAFlushFindsNoRoom() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.frozenMemtablesMax = 1
        options.memtableBytesMax = 1 << 10
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        disk.inject(DiskFault(.error(.outOfSpace), on: .write, pathContains: ".sst"))
        for number in 1...8 as ClosedRange<UInt64> {
            var batch = WriteBatch()
            batch.put([UInt8(number)], Array(repeating: 7, count: 600))
            try engine.apply(batch, at: Version(number), mark: number, durability: .synced)
            #expect(engine.durableMark == number)
        }
        #expect(engine.writePressure == 1 && engine.statistics.backgroundError?.code == .outOfSpace)
        disk.removeFaults()
        try engine.flush()
        disk.cutPower()
        disk.restart()
        let again = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        #expect(again.mark == 8)
        try again.close()
    }
}
