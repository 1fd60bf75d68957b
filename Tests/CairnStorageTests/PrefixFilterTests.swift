import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Tables that a walk leaves out because their filters know no key that begins like its bounds.
@Suite struct PrefixFilterTests {
    private static func options(_ bytes: Int) -> EngineOptions {
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        options.prefixFilterBytes = bytes
        options.level0BloomBitsPerKey = 20
        return options
    }

    private func open(_ disk: SimulatedFileSystem, _ bytes: Int) throws -> Engine {
        try Engine.open(
            directory: "/e", fileSystem: disk, options: Self.options(bytes), background: ManualBackgroundExecutor())
    }

    /// How many sources a walk merges beside the memtable.
    private func tables(_ engine: Engine, _ lower: [UInt8]?, _ upper: [UInt8]?) throws -> Int {
        try engine.sources(in: engine.view.withLock { $0 }, lower, upper, IteratorOptions()) { _ in true }
            .children.count - 1
    }

    private func write(_ engine: Engine, _ keys: [[UInt8]]) throws {
        var batch = WriteBatch()
        for key in keys { batch.put(key, [1]) }
        try engine.write(batch)
        try engine.flush()
    }

    @Test func aWalkWithinOnePrefixLeavesOutTablesThatHaveNoKeyOfIt() throws {
        let engine = try open(SimulatedFileSystem(seed: 1), 2)
        try write(engine, [[1, 1, 1], [9, 9, 9]])
        try write(engine, [[1, 1, 2], [5, 5, 5], [9, 9, 8]])
        #expect(try tables(engine, [5, 5], [5, 6]) == 1)
        #expect(try tables(engine, [5, 5, 0], [5, 5, 9]) == 1)
        #expect(try tables(engine, [4, 4], [4, 5]) == 0)
        // Bounds of more than one prefix, or of a shorter one, need every table.
        #expect(try tables(engine, [4, 4], [4, 6]) == 2)
        #expect(try tables(engine, [4], [5]) == 2)
        #expect(try tables(engine, [4, 4], nil) == 2)
        #expect(try tables(engine, nil, [5, 6]) == 2)
        let iterator = try engine.makeIterator(lower: [5, 5], upper: [5, 6])
        try iterator.seekToFirst()
        #expect(iterator.isValid && Array(iterator.key) == [5, 5, 5])
        try iterator.next()
        #expect(!iterator.isValid)
        try engine.close()
    }

    @Test func aRangeDeletionOfATableThatIsLeftOutStillCounts() throws {
        let engine = try open(SimulatedFileSystem(seed: 1), 2)
        try write(engine, [[1, 1, 1], [5, 5, 5], [9, 9, 9]])
        var batch = WriteBatch()
        batch.put([0, 0, 0], [1])
        batch.put([9, 9, 9], [1])
        batch.deleteRange(from: [5], to: [6])
        try engine.write(batch)
        try engine.flush()
        #expect(try tables(engine, [5, 5], [5, 6]) == 1, "the newer table has no entry of it")
        let iterator = try engine.makeIterator(lower: [5, 5], upper: [5, 6])
        try iterator.seekToFirst()
        #expect(!iterator.isValid)
        try engine.close()
    }

    @Test func aTableIsAskedByTheLengthThatItWasWrittenWith() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let keys: [[UInt8]] = [[1, 1, 1, 1], [9, 9, 9, 9]]
        for bytes in [0, 1, 3, 2] {
            let engine = try open(disk, bytes)
            try write(engine, keys)
            try engine.close()
        }
        let engine = try open(disk, 1)
        let lengths = engine.view.withLock { $0.tables.levels[0].map(\.description.prefixFilterBytes) }
        #expect(lengths == [2, 3, 1, 0], "newest first")
        // One table has no prefixes; the others know none that begins with 5, if the bounds are long enough for them.
        #expect(try tables(engine, [5, 5, 5], [5, 5, 6]) == 1)
        #expect(try tables(engine, [5, 5], [5, 6]) == 2)
        #expect(try tables(engine, [5], [6]) == 3)
        for key in keys { #expect(try engine.get(key) == [1]) }
        try engine.close()
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func walksAreTheSameWithAndWithoutPrefixes(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let engine = try open(SimulatedFileSystem(seed: seed), Int.random(in: 1...4, using: &random))
        var model = ReferenceModel()
        func key(_ random: inout SeededGenerator) -> [UInt8] {
            (0..<Int.random(in: 0...6, using: &random)).map { _ in [0, 1, 0xFE, 0xFF].randomElement(using: &random)! }
        }
        for step in 1...60 as ClosedRange<UInt64> {
            var batch = WriteBatch()
            for _ in 0..<4 {
                if random.oneIn(4) { batch.delete(key(&random)) } else { batch.put(key(&random), [UInt8(step)]) }
            }
            model.apply(batch, version: step, mark: step)
            try engine.apply(batch, at: Version(step), mark: step)
            if random.oneIn(5) { try engine.flush() }
            if random.oneIn(30) { try engine.compactRange() }
        }
        for _ in 0..<200 {
            let lower = key(&random)
            var upper = lower
            // Mostly within a prefix of the lower bound.
            if random.oneIn(3) { upper = key(&random) } else { upper[(upper.count / 2)...] = [0xFF, 0xFF] }
            if !lower.lexicographicallyPrecedes(upper) { continue }
            let expected = model.contents(at: 60).filter {
                !$0.key.lexicographicallyPrecedes(lower) && $0.key.lexicographicallyPrecedes(upper)
            }
            let iterator = try engine.makeIterator(lower: lower[...], upper: upper[...])
            #expect(try difference(iterator, expected) == nil, "seed \(seed), \(lower) to \(upper)")
        }
        try engine.close()
    }

    @Test func theEndOfAPrefixIsTheFirstKeyBehindIt() {
        func end(_ lower: [UInt8], _ upper: [UInt8]?, _ length: Int) -> [UInt8]?? {
            PrefixFilter.common(lower, upper, length: length).map { $0.end }
        }
        #expect(end([1, 2, 3], [1, 2, 4], 2) == .some([1, 3]))
        #expect(end([1, 2, 3], [1, 3], 2) == .some([1, 3]))
        #expect(end([1, 2, 3], [1, 3, 0], 2) == nil)
        #expect(end([1, 0xFF, 3], [2], 2) == .some([2]))
        #expect(end([0xFF, 0xFF], nil, 2) == .some(nil), "nothing comes behind")
        #expect(end([1], [2], 2) == nil)
    }
}
