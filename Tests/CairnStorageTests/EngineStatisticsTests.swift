import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// The numbers that an engine gives about itself.
@Suite struct EngineStatisticsTests {
    private let background = ManualBackgroundExecutor()

    private func open(_ change: (inout EngineOptions) -> Void = { _ in }) throws -> Engine {
        var options = EngineOptions.tiny
        options.memtableBytesMax = 1 << 20
        options.disablesAutomaticCompaction = true
        options.blockCache = BlockCache(capacityBytes: 1 << 20)
        change(&options)
        return try Engine.open(
            directory: "/e", fileSystem: SimulatedFileSystem(seed: 1), options: options, background: background)
    }

    private func put(_ keys: some Sequence<UInt8>, in engine: Engine) throws {
        for key in keys {
            var batch = WriteBatch()
            batch.put([key], [UInt8](repeating: key, count: 100))
            try engine.write(batch)
        }
    }

    @Test func everyByteThatIsWrittenIsCountedOnceByWhatWroteIt() throws {
        let engine = try open {
            $0.compression = .none
            $0.history = .latest
        }
        #expect(engine.statistics.writeAmplification == 0)
        try put(0..<100, in: engine)
        var statistics = engine.statistics
        #expect(statistics.userBytes >= 100 * 101)
        #expect(statistics.walBytes == statistics.userBytes + 100 * UInt64(WriteAheadLog.recordHeaderBytes))
        #expect(statistics.flushedBytes == 0)
        try engine.flush()
        try put(50..<150, in: engine)
        try engine.flush()
        statistics = engine.statistics
        #expect(statistics.flushes >= 2)
        #expect(statistics.flushedBytes == statistics.levels[0].bytes)
        #expect(statistics.levels[0].tables == 2)
        try engine.compactRange()
        let after = engine.statistics
        #expect(after.compactionReadBytes == statistics.flushedBytes)
        #expect(after.compactionWrittenBytes == after.levels[1].bytes)
        #expect(after.compactions >= 1 && after.compactionsRunning == 0)
        #expect(after.flushTime > .zero && after.compactionTime > .zero)
        let written = after.walBytes + after.flushedBytes + after.compactionWrittenBytes
        #expect(after.writeAmplification == Double(written) / Double(after.userBytes))
        try engine.close()
    }

    @Test func aLookupCountsTheTablesItAsksAndTheBlocksItReads() throws {
        let engine = try open()
        try put(stride(from: 0, to: 200, by: 2), in: engine)
        #expect(try engine.get([4]) != nil)
        var statistics = engine.statistics
        #expect(statistics.lookups == 1 && statistics.lookupTables == 0, "the memtable knew")
        try engine.flush()
        #expect(try engine.get([4]) != nil)
        statistics = engine.statistics
        #expect(statistics.lookups == 2 && statistics.lookupTables == 1 && statistics.lookupBlockReads == 1)
        #expect(try engine.get([4]) != nil)
        #expect(engine.statistics.lookupBlockReads == 1, "the cache has it")
        // Keys beyond the table's range ask nobody.
        #expect(try engine.get([250]) == nil)
        #expect(engine.statistics.lookupTables == 2)
        _ = try engine.multiGet([[4], [6], [8]])
        statistics = engine.statistics
        #expect(statistics.lookups == 7 && statistics.lookupTables == 5)
        try engine.close()
    }

    @Test func lookupsOfSeveralThreadsAreCountedWholeHoweverManyTheyAre() async {
        final class Counts: Sendable { let value = LookupCounts() }
        let counts = Counts()
        await withTaskGroup(of: Void.self) { group in
            for thread in 0..<4 as Range<UInt64> {
                group.addTask {
                    for number in 0..<30_000 as Range<UInt64> {
                        // Now and then one that is too large to be packed.
                        let scale: UInt64 = number % 1000 == 0 ? 2000 : 1
                        counts.value.add(
                            LookupTally(
                                lookups: scale, tables: 40 * scale, filtered: 39 * scale, falsePositives: 1,
                                blockReads: thread & 1))
                    }
                }
            }
        }
        let sums = counts.value.sums
        let lookups: UInt64 = 4 * (30_000 + 30 * 1999)
        #expect(sums.lookups == lookups && sums.tables == 40 * lookups && sums.filtered == 39 * lookups)
        #expect(sums.falsePositives == 120_000 && sums.blockReads == 60_000)
    }

    @Test func whatTheFilterSparesIsCountedAndSoIsWhereItWasWrong() throws {
        let engine = try open { $0.level0BloomBitsPerKey = 10 }
        try put(stride(from: 0, to: 250, by: 2), in: engine)
        try engine.flush()
        for key in stride(from: 1, to: 247, by: 2) as StrideTo<UInt8> { #expect(try engine.get([key]) == nil) }
        let statistics = engine.statistics
        #expect(statistics.lookupTables == 123)
        #expect(statistics.filterRejections + statistics.filterFalsePositives == 123)
        #expect(statistics.filterRejections > 110)
        // A filter that lets pass what is there was right.
        #expect(try engine.get([2]) != nil)
        #expect(engine.statistics.filterFalsePositives == statistics.filterFalsePositives)
        try engine.close()
    }

    @Test func aWriterThatIsHeldBackIsCountedWithItsTime() throws {
        let engine = try open {
            $0.level0Trigger = 1
            $0.level0SlowdownTrigger = 1
            $0.level0StopTrigger = 2
        }
        for round in 0..<2 as Range<UInt8> {
            try put([round], in: engine)
            try engine.flush()
        }
        #expect(engine.statistics.stalls == 0)
        #expect(engine.writePressure == 1)
        try put([9], in: engine)
        let statistics = engine.statistics
        #expect(statistics.stalls == 1 && statistics.stallTime > .zero)
        #expect(engine.writePressure < 1, "it has made room itself")
        try engine.close()
    }
}
