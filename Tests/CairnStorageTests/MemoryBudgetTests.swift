import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// One bound for the memtables of many engines.
@Suite struct MemoryBudgetTests {
    private let disk = SimulatedFileSystem(seed: 1)
    private let background = ManualBackgroundExecutor()
    private let cache = BlockCache(capacityBytes: 1 << 20)

    private func open(_ name: String, _ budget: MemoryBudget) throws -> Engine {
        var options = EngineOptions()
        options.wal = .disabled
        options.memtableBytesMax = 64 << 20
        options.blockCache = cache
        options.memoryBudget = budget
        return try Engine.open(directory: "/\(name)", fileSystem: disk, options: options, background: background)
    }

    /// Writes `kibibytes` values of 1 KiB under keys of their own.
    private func fill(_ engine: Engine, _ kibibytes: Int, tag: UInt8 = 0) throws {
        for number in 0..<kibibytes {
            var batch = WriteBatch()
            batch.put(
                [tag, UInt8(number >> 8), UInt8(number & 0xFF)], [UInt8](repeating: UInt8(number & 0xFF), count: 1024))
            let next = engine.mark + 1
            try engine.apply(batch, at: Version(next), mark: next)
        }
    }

    @Test func theLargestMemtableIsFlushedWhenAllTogetherPassThreeQuartersOfTheShare() throws {
        let budget = MemoryBudget(bytesMax: 2 << 20, cache: cache)
        #expect(budget.memtableBytesMax == 1 << 20)
        let (small, large, other) = (try open("a", budget), try open("b", budget), try open("c", budget))
        background.runAll()
        try fill(small, 100)
        try fill(large, 400)
        #expect(background.pendingJobs == 0, "half of it is nothing to act upon")
        let written = budget.memtableBytes
        #expect(written > 500 << 10)
        #expect(
            written == small.statistics.memtableBytes + large.statistics.memtableBytes + other.statistics.memtableBytes)
        try fill(other, 300)
        #expect(background.pendingJobs == 1, "one is asked at a time, however many writes follow")
        background.runAll()
        #expect(large.statistics.levels[0].tables == 1, "the largest, not the one that wrote last")
        #expect(small.statistics.levels[0].tables == 0 && other.statistics.levels[0].tables == 0)
        #expect(
            budget.memtableBytes == small.statistics.memtableBytes + large.statistics.memtableBytes
                + other.statistics.memtableBytes)
        #expect(large.durableMark == 400)
        for engine in [small, large, other] { try engine.close() }
        #expect(budget.memtableBytes == 0)
    }

    @Test func ofEquallyLargeOnesTheOneThatWasOpenedFirstIsFlushed() throws {
        let budget = MemoryBudget(bytesMax: 2 << 20, cache: cache)
        let engines = try ["a", "b", "c"].map { try open($0, budget) }
        background.runAll()
        for round in 0..<320 {
            // The last one writes last each time.
            for engine in engines { try fill(engine, 1, tag: UInt8(round & 0xFF)) }
            if background.pendingJobs > 0 { break }
        }
        background.runAll()
        #expect(engines.map { $0.statistics.levels[0].tables }.reduce(0, +) == 1)
        #expect(engines[0].statistics.levels[0].tables == 1)
        for engine in engines { try engine.close() }
    }

    @Test func pressureRisesForAllEnginesWhileFlushesAreBehind() throws {
        let budget = MemoryBudget(bytesMax: 2 << 20, cache: cache)
        let (busy, idle) = (try open("a", budget), try open("b", budget))
        background.runAll()
        try fill(busy, 800)
        #expect(idle.writePressure == 0)
        try fill(busy, 400, tag: 1)
        let pressure = idle.writePressure
        #expect(pressure > 0 && pressure < 1)
        #expect(busy.writePressure == pressure && idle.suggestedDelay > .zero)
        try fill(busy, 600, tag: 2)
        #expect(idle.writePressure == 1)
        background.runAll()
        // What was frozen is gone, and what came meanwhile is frozen by the next write.
        try fill(idle, 1)
        background.runAll()
        #expect(idle.writePressure == 0)
        #expect(budget.memtableBytes < 3 << 18)
        for engine in [busy, idle] { try engine.close() }
    }

    @Test func pressureFallsWithoutAnotherWriteHoweverSmallTheMemtablesAre() throws {
        let budget = MemoryBudget(bytesMax: 2 << 20, cache: cache)
        let engines = try (0..<30).map { try open("\($0)", budget) }
        background.runAll()
        for engine in engines { try fill(engine, 60) }
        #expect(budget.pressure == 1)
        background.runAll()
        #expect(budget.pressure == 0)
        for engine in engines { try engine.close() }
    }

    @Test func writersThatMayBlockMakeRoomThemselves() throws {
        let budget = MemoryBudget(bytesMax: 2 << 20, cache: cache)
        let threads = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        defer { threads.shutDown() }
        var options = EngineOptions()
        options.blockCache = cache
        options.memoryBudget = budget
        let engines = try ["a", "b", "c"].map {
            try Engine.open(directory: "/\($0)", fileSystem: disk, options: options, background: threads)
        }
        var most = 0
        for number in 0..<8000 {
            var batch = WriteBatch()
            batch.put(Array("\(number)".utf8), [UInt8](repeating: 7, count: 1024))
            try engines[number % 3].write(batch)
            most = max(most, budget.memtableBytes)
        }
        #expect(most < 2 << 20, "\(most) of \(budget.memtableBytesMax)")
        for engine in engines { try engine.close() }
        #expect(budget.memtableBytes == 0)
    }

    @Test func whatOpenTablesHoldBeyondTheCacheIsTakenFromTheMemtables() {
        let budget = MemoryBudget(bytesMax: 8 << 20, cache: cache)
        #expect(budget.memtableBytesMax == 7 << 20)
        cache.pin(1 << 19)
        #expect(budget.memtableBytesMax == 7 << 20, "the cache has room for it")
        cache.pin(5 << 19)
        #expect(budget.memtableBytesMax == 5 << 20)
        cache.pin(8 << 20)
        #expect(budget.memtableBytesMax == 1 << 20, "an eighth stays")
        cache.pin(-(11 << 20))
        #expect(budget.memtableBytesMax == 7 << 20)
    }

    @Test func anEngineThatCrashesOrWhoseJobIsLostDoesNotKeepOthersFromBeingAsked() throws {
        let budget = MemoryBudget(bytesMax: 2 << 20, cache: cache)
        var lost: Engine? = try open("a", budget)
        let other = try open("b", budget)
        background.runAll()
        try fill(lost!, 900)
        #expect(background.pendingJobs == 1)
        background.discardAll()
        lost = nil
        #expect(budget.memtableBytes == 0, "its memory is gone with it")
        try fill(other, 900)
        background.runAll()
        #expect(other.statistics.levels[0].tables == 1)
        try other.close()
    }
}
