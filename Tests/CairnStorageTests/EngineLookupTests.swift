import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Lookups of many keys at once, and reads that may not touch the disk.
@Suite struct EngineLookupTests {
    /// An engine with entries in memory, in level 0 and below, and the model that it must agree with.
    static func mixed(
        _ disk: SimulatedFileSystem, seed: UInt64, _ options: EngineOptions, batches: Int = 150
    ) throws -> (engine: Engine, model: ReferenceModel) {
        var random = SeededGenerator(seed: seed)
        var work = Workload(random: random.split())
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(directory: "/t", fileSystem: disk, options: options, background: background)
        var model = ReferenceModel()
        for number in 1...UInt64(batches) {
            let batch = work.batch()
            try engine.apply(batch, at: Version(number), mark: number)
            model.apply(batch, version: number, mark: number)
            if random.oneIn(3) { background.runNext() }
        }
        background.runAll()
        return (engine, model)
    }

    /// From here on every call to the disk fails, after `count` reads.
    static func forbidDisk(_ disk: SimulatedFileSystem, afterReads count: Int = 0) {
        disk.inject(
            DiskFault(.error(.io), on: count > 0 ? .read : nil, nth: count + 1, lasts: true))
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func manyKeysAtOnceHaveTheValuesTheyHaveOneByOneInTheirOrder(seed: UInt64) throws {
        let (engine, model) = try Self.mixed(SimulatedFileSystem(seed: seed), seed: seed, .tiny)
        var random = SeededGenerator(seed: seed + 100)
        var work = Workload(random: random.split())
        for _ in 0..<20 {
            let keys = (0..<Int.random(in: 0...60, using: &random)).map { _ in work.key() }
            let version = UInt64.random(in: 1...model.lastVersion, using: &random)
            let values = try engine.multiGet(keys, at: Version(version))
            #expect(
                values.map { $0.map { Array($0) } } == keys.map { model.value($0, at: version) },
                "seed \(seed) at \(version)")
            let latest = try engine.multiGet(keys)
            #expect(latest.map { $0.map { Array($0) } } == keys.map { model.value($0, at: model.lastVersion) })
        }
        try engine.close()
    }

    @Test func keysThatShareABlockCostOneReadEvenWithoutACache() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions()
        options.blockCache = BlockCache(capacityBytes: 0)
        let engine = try EngineFaultTests.filled(disk, options, count: 100)
        #expect(try engine.get(EngineFaultTests.key(1)) != nil)
        Self.forbidDisk(disk, afterReads: 1)
        let keys = (1...100).reversed().map { EngineFaultTests.key($0) }
        let values = try engine.multiGet(keys + keys)
        #expect(values.count == 200 && values.allSatisfy { $0 != nil })
        #expect(throws: StorageError.self, "each key alone reads its block") {
            for key in keys.prefix(3) { _ = try engine.get(key) }
        }
        disk.removeFaults()
        try engine.close()
    }

    @Test func manyKeysBelowTheHorizonAreRefusedTogether() throws {
        let engine = try EngineFaultTests.filled(SimulatedFileSystem(seed: 1), count: 60)
        engine.setHistoryHorizon(Version(10))
        try engine.compactRange()
        #expect {
            _ = try engine.multiGet([EngineFaultTests.key(1)], at: Version(5))
        } throws: { ($0 as? StorageError)?.code == .versionTooOld }
        try engine.close()
    }

    @Test func aReadWithoutTheDiskAnswersFromMemtablesAndSaysWhenATableIsNotOpen() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try EngineFaultTests.filled(disk, count: 100)
        var batch = WriteBatch()
        batch.put(EngineFaultTests.key(1), [1])
        batch.delete(EngineFaultTests.key(2))
        batch.deleteRange(from: Array("key-3".utf8), to: Array("key-4".utf8))
        try engine.apply(batch, at: Version(1000), mark: 1000)
        Self.forbidDisk(disk)
        #expect(try engine.getCached(EngineFaultTests.key(1)) == .value([1]))
        #expect(try engine.getCached(EngineFaultTests.key(2)) == .value(nil))
        #expect(try engine.getCached(EngineFaultTests.key(35)) == .value(nil))
        #expect(try engine.getCached(EngineFaultTests.key(50)) == .needsDisk)
        #expect(try engine.getCached(EngineFaultTests.key(1), at: Version(999)) == .needsDisk)
        disk.removeFaults()
        let value = try engine.get(EngineFaultTests.key(50))
        Self.forbidDisk(disk)
        #expect(try engine.getCached(EngineFaultTests.key(50)) == .value(value))
        disk.removeFaults()
        try engine.close()
    }

    @Test func manyKeysWithoutTheDiskHaveTheAnswersTheyHaveOneByOne() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try EngineFaultTests.filled(disk, count: 100)
        var batch = WriteBatch()
        batch.put(EngineFaultTests.key(1), [1])
        batch.delete(EngineFaultTests.key(2))
        try engine.apply(batch, at: Version(1000), mark: 1000)
        let keys = [50, 2, 1, 77, 2].map { EngineFaultTests.key($0) }
        Self.forbidDisk(disk)
        #expect(try engine.multiGetCached(keys) == [.needsDisk, .value(nil), .value([1]), .needsDisk, .value(nil)])
        #expect(try engine.multiGetCached(keys) == keys.map { try engine.getCached($0) })
        #expect(try engine.multiGetCached(keys, at: Version(999)) == keys.map { _ in .needsDisk })
        disk.removeFaults()
        // Once the blocks are in the cache, all of it is known without the disk.
        let values = try engine.multiGet(keys)
        Self.forbidDisk(disk)
        #expect(try engine.multiGetCached(keys) == values.map { .value($0) })
        disk.removeFaults()
        try engine.close()
    }

    @Test func aBlockThatTheCacheLetGoNeedsTheDisk() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions()
        options.blockCache = BlockCache(capacityBytes: 0)
        let engine = try EngineFaultTests.filled(disk, options, count: 100)
        #expect(try engine.get(EngineFaultTests.key(50)) != nil)
        #expect(try engine.getCached(EngineFaultTests.key(50)) == .needsDisk)
        // The filter of the open table is in memory, and says that the key is not there.
        #expect(try engine.getCached(Array("nowhere".utf8)) == .value(nil))
        try engine.close()
    }

    @Test func anIteratorWithoutTheDiskWalksWhatIsCachedAndThrowsWhereTheDiskBegins() throws {
        let disk = SimulatedFileSystem(seed: 2)
        var options = EngineOptions.tiny
        options.blockCache = BlockCache(capacityBytes: 8 << 20)
        let (engine, model) = try Self.mixed(disk, seed: 2, options)
        #expect(engine.statistics.levels.dropFirst().contains { $0.tables > 1 })
        try engine.close()
        let reopened = try Engine.open(
            directory: "/t", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        var cacheOnly = IteratorOptions()
        cacheOnly.mode = .cacheOnly
        #expect {
            let iterator = try reopened.makeIterator(options: cacheOnly)
            try iterator.seekToFirst()
        } throws: { ($0 as? StorageError)?.code == .wouldNeedDisk }
        let contents = model.contents(at: model.lastVersion)
        let warm = try reopened.makeIterator()
        #expect(try difference(warm, contents) == nil)
        Self.forbidDisk(disk)
        let cached = try reopened.makeIterator(options: cacheOnly)
        #expect(try difference(cached, contents) == nil)
        disk.removeFaults()
        try reopened.close()
    }

    @Test func anIteratorWithoutTheDiskNeverShowsAWrongEntryBeforeItThrows() throws {
        let disk = SimulatedFileSystem(seed: 3)
        var options = EngineOptions.tiny
        options.blockCache = BlockCache(capacityBytes: 8 << 20)
        let (first, model) = try Self.mixed(disk, seed: 3, options)
        try first.close()
        let engine = try Engine.open(
            directory: "/t", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        let contents = model.contents(at: model.lastVersion)
        let half = contents[contents.count / 2].key
        // Everything of the first half comes into the cache, and every table is opened.
        let warm = try engine.makeIterator(upper: half[...])
        try warm.seekToFirst()
        while warm.isValid { try warm.next() }
        var cacheOnly = IteratorOptions()
        cacheOnly.mode = .cacheOnly
        var shown: [[UInt8]] = []
        var isRefused = false
        do throws(StorageError) {
            let iterator = try engine.makeIterator(options: cacheOnly)
            try iterator.seekToFirst()
            while iterator.isValid {
                shown.append(Array(iterator.key))
                try iterator.next()
            }
        } catch {
            #expect(error.code == .wouldNeedDisk)
            isRefused = true
        }
        #expect(isRefused)
        #expect(shown == contents.prefix(shown.count).map(\.key))
        try engine.close()
    }
}
