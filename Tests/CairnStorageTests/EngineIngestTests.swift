import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

@Suite struct EngineIngestTests {
    /// Writes `entries`, nil being a deletion, and `ranges` to a table outside any engine.
    static func table(
        _ disk: SimulatedFileSystem, _ name: String, version: UInt64, _ entries: [[UInt8]: [UInt8]?],
        ranges: [(from: [UInt8], to: [UInt8])] = [], options: EngineOptions = EngineOptions()
    ) throws -> SortedTable {
        try disk.createDirectory("/in")
        let writer = try SortedTableWriter(
            path: "/in/" + name, version: Version(version), fileSystem: disk, options: options)
        for range in ranges { try writer.deleteRange(from: range.from[...], to: range.to[...]) }
        for (key, value) in entries.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            if let value { try writer.put(key, value) } else { try writer.delete(key) }
        }
        return try writer.finish()
    }

    /// The batch that does what the table does.
    static func batch(_ entries: [[UInt8]: [UInt8]?], ranges: [(from: [UInt8], to: [UInt8])] = []) -> WriteBatch {
        var batch = WriteBatch()
        for range in ranges { batch.deleteRange(from: range.from, to: range.to) }
        for (key, value) in entries {
            if let value { batch.put(key, value) } else { batch.delete(key) }
        }
        return batch
    }

    static func open(
        _ disk: SimulatedFileSystem, _ options: EngineOptions = EngineOptions(),
        _ background: any BackgroundExecutor = ManualBackgroundExecutor()
    ) throws -> Engine {
        try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
    }

    /// The tables in the engine's directory, and those that its tree has.
    static func expectNoStrayTable(_ disk: SimulatedFileSystem, _ engine: Engine, _ place: String) throws {
        let files = try disk.list("/e").filter { $0.hasSuffix(".sst") }
        let named = engine.view.withLock { $0.tables.all }
            .map { FileName.table($0.description.number).name }
        #expect(files == named.sorted(), "\(place)")
    }

    @Test func readersAtOlderVersionsDoNotSeeItAndNewerOnesDo() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try EngineFaultTests.filled(disk, count: 10)
        let old = try engine.makeIterator()
        let table = try Self.table(
            disk, "t", version: 50, [EngineFaultTests.key(1): [1], EngineFaultTests.key(2): nil, [9]: [9]],
            ranges: [(Array("key-3".utf8), Array("key-5".utf8))])
        #expect(table.entryCount == 3)
        try engine.ingest(table, mark: 77)
        #expect(engine.lastVersion == Version(50))
        #expect(engine.mark == 77)
        #expect(engine.durableMark == 77)
        #expect(try engine.get(EngineFaultTests.key(1)) == [1])
        #expect(try engine.get(EngineFaultTests.key(2)) == nil)
        #expect(try engine.get(EngineFaultTests.key(4)) == nil)
        #expect(try engine.get([9]) == [9])
        #expect(try engine.get(EngineFaultTests.key(1), at: Version(49))?.count == 40)
        #expect(try engine.get(EngineFaultTests.key(4), at: Version(49))?.count == 40)
        #expect(try engine.get([9], at: Version(49)) == nil)
        try old.seekToFirst()
        var count = 0
        while old.isValid {
            count += 1
            try old.next()
        }
        #expect(count == 10, "an iterator made before it shows what was there")
        #expect(try disk.exists("/in/t"), "the caller's file stays")
        try engine.verify()
        try engine.close()
    }

    @Test func itGoesToTheDeepestLevelWhereItOverlapsNothingAndElseBeforeWhatItOverlaps() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions()
        options.disablesAutomaticCompaction = true
        let engine = try Self.open(disk, options)
        func ingest(_ version: UInt64, _ keys: [UInt8]) throws {
            let entries = Dictionary(uniqueKeysWithValues: keys.map { ([$0], Optional([UInt8(version)])) })
            try engine.ingest(try Self.table(disk, "\(version)", version: version, entries), moving: true)
        }
        func tables() -> [Int] { engine.statistics.levels.map(\.tables) }
        try ingest(1, [10, 20])
        #expect(tables() == [0, 0, 0, 0, 0, 0, 1])
        try ingest(2, [30, 40])
        #expect(tables() == [0, 0, 0, 0, 0, 0, 2])
        try ingest(3, [15, 16])
        #expect(tables() == [0, 0, 0, 0, 0, 1, 2])
        var batch = WriteBatch()
        batch.put([35], [4])
        try engine.apply(batch, at: Version(4), mark: engine.mark)
        try ingest(5, [35])
        #expect(tables() == [2, 0, 0, 0, 0, 1, 2], "what is in memory is flushed and lies behind it")
        #expect(try engine.get([35]) == [5])
        #expect(try engine.get([35], at: Version(4)) == [4])
        #expect(try disk.list("/in").isEmpty, "the files were taken")
        try engine.compactRange()
        try engine.close()
        let reopened = try Self.open(disk, options)
        let values = try [10, 15, 16, 20, 30, 35, 40].map { try reopened.get([$0]) }
        #expect(values == [[1], [3], [3], [1], [2], [5], [2]])
        try reopened.verify()
        try reopened.close()
    }

    @Test func tablesThatBreakTheRulesAreRefusedAndLeaveNothingBehind() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try EngineFaultTests.filled(disk, count: 10)
        var mark = engine.mark
        let good = try Self.table(disk, "good", version: 20, [[5]: [1], [7]: [1]])
        let gone = try Self.table(disk, "gone", version: 20, [[9]: [1]])
        let damaged = try Self.table(disk, "damaged", version: 20, [[9]: [1]])
        try disk.flipBit(0, ofByte: Int(damaged.byteCount) - 70, in: "/in/damaged")
        let cut = try Self.table(disk, "cut", version: 20, [[9]: [1]])
        try disk.cut("/in/cut", to: Int(cut.byteCount) - 1)
        try disk.remove("/in/gone")
        func expect(_ code: StorageError.Code, _ place: String, _ body: () throws -> Void) throws {
            #expect(performing: body, throws: { ($0 as? StorageError)?.code == code })
            try Self.expectNoStrayTable(disk, engine, place)
            #expect(engine.mark == mark)
        }
        try expect(.invalidArgument, "none") { try engine.ingest([]) }
        try expect(.invalidArgument, "an old version") {
            try engine.ingest(try Self.table(disk, "old", version: 10, [[1]: [1]]))
        }
        try expect(.invalidArgument, "an old mark") { try engine.ingest(good, mark: 9) }
        try expect(.invalidArgument, "overlapping") {
            try engine.ingest([good, try Self.table(disk, "overlapping", version: 20, [[6]: [1]])])
        }
        try expect(.invalidArgument, "two versions") {
            try engine.ingest([good, try Self.table(disk, "other", version: 21, [[9]: [1]])])
        }
        try expect(.invalidArgument, "a missing file") { try engine.ingest([good, gone]) }
        try expect(.corruption, "a damaged file") { try engine.ingest([good, damaged]) }
        try expect(.corruption, "a cut file") { try engine.ingest([good, cut]) }
        try engine.ingest(good)
        #expect(try engine.get([5]) == [1])
        mark += 1
        try expect(.invalidArgument, "the same again") { try engine.ingest(good) }
        try engine.close()
    }

    @Test func aWriterTakesAscendingKeysOnlyAndRemovesItsFileUnlessItIsFinished() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.createDirectory("/in")
        do {
            let writer = try SortedTableWriter(path: "/in/a", version: Version(1), fileSystem: disk)
            try writer.put([5], [1])
            #expect(throws: StorageError.self) { try writer.put([5], [2]) }
            #expect(throws: StorageError.self) { try writer.put([4], [2]) }
            try writer.put([6], [1])
            #expect(try disk.exists("/in/a"))
        }
        #expect(try disk.list("/in").isEmpty, "dropped before it was finished")
        let empty = try SortedTableWriter(path: "/in/b", version: Version(1), fileSystem: disk)
        #expect { _ = try empty.finish() } throws: { ($0 as? StorageError)?.code == .invalidArgument }
        #expect { try empty.put([1], [1]) } throws: { ($0 as? StorageError)?.code == .closed }
        #expect(try disk.list("/in").isEmpty)
        #expect(throws: StorageError.self) {
            _ = try SortedTableWriter(path: "/in/c", version: .zero, fileSystem: disk)
        }
        let failing = try SortedTableWriter(path: "/in/d", version: Version(1), fileSystem: disk)
        try failing.put([1], [1])
        disk.inject(DiskFault(.error(.io), on: .synchronize))
        #expect { _ = try failing.finish() } throws: { ($0 as? StorageError)?.code == .failed }
        #expect(try disk.list("/in").isEmpty)
        disk.removeFaults()
        let finished = try SortedTableWriter(path: "/in/e", version: Version(1), fileSystem: disk)
        try finished.deleteRange(from: [1], to: [3])
        let table = try finished.finish()
        #expect(try disk.size(of: "/in/e") == table.byteCount)
        let engine = try Self.open(disk)
        try engine.ingest(table)
        #expect(engine.statistics.levels.map(\.tables).reduce(0, +) == 1, "a range deletion alone is a table")
        try engine.close()
    }

    @Test(arguments: 1...EngineCrashTests.volume(debug: 6, release: 100))
    func anEngineWithIngestedTablesAnswersLikeASortedMap(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let disk = SimulatedFileSystem(seed: UInt64(seed))
        var options = EngineSoak.options(&random)
        options.history = .fromHorizon
        let background = ManualBackgroundExecutor()
        var engine = try Self.open(disk, options, background)
        var work = Workload(random: random.split())
        var model = ReferenceModel()
        var horizon: UInt64 = 0
        for step in 0..<250 {
            let version = model.lastVersion + UInt64.random(in: 1...3, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                let batch = work.batch()
                try engine.apply(batch, at: Version(version), mark: model.mark + 1)
                model.apply(batch, version: version, mark: model.mark + 1)
            case 45..<60:
                var entries: [[UInt8]: [UInt8]?] = [:]
                let (from, to) = work.range()
                let isNarrow = random.oneIn(2)
                for _ in 0..<Int.random(in: 1...30, using: &random) {
                    let key = work.key()
                    guard !isNarrow || EngineChangesTests.isWithin(key, from, to) else { continue }
                    entries[key] = random.oneIn(4) ? .some(nil) : work.value()
                }
                let ranges = random.oneIn(3) && from != to ? [(from: from, to: to)] : []
                guard !entries.isEmpty || !ranges.isEmpty else { continue }
                let table = try Self.table(
                    disk, "\(step)", version: version, entries, ranges: ranges, options: options)
                try engine.ingest(table, mark: model.mark + 1, moving: random.oneIn(2))
                model.apply(Self.batch(entries, ranges: ranges), version: version, mark: model.mark + 1)
            case 60..<80:
                guard model.lastVersion > 0 else { continue }
                let old = UInt64.random(in: max(1, horizon)...model.lastVersion, using: &random)
                let at = random.oneIn(2) ? model.lastVersion : old
                let difference = try difference(try engine.makeIterator(at: Version(at)), model.contents(at: at))
                #expect(difference == nil, "seed \(seed) step \(step) at \(at)")
                let key = work.key()
                #expect(try engine.get(key, at: Version(at)).map { Array($0) } == model.value(key, at: at))
            case 80..<83:
                horizon = max(horizon, UInt64.random(in: 0...model.lastVersion, using: &random))
                engine.setHistoryHorizon(Version(horizon))
            case 83..<85: try engine.compactRange()
            case 85..<97: background.runNext()
            case 97..<98: background.runAll()
            default:
                try engine.close()
                engine = try Self.open(disk, options, background)
                #expect(engine.mark == model.mark, "seed \(seed) step \(step)")
                #expect(engine.lastVersion.rawValue == model.lastVersion, "seed \(seed) step \(step)")
            }
        }
        background.runAll()
        let difference = try difference(try engine.makeIterator(), model.contents(at: model.lastVersion))
        #expect(difference == nil, "seed \(seed) at the end")
        try engine.verify()
        try Self.expectNoStrayTable(disk, engine, "seed \(seed)")
        try engine.close()
    }

    @Test func whatWasIngestedIsAChangeLikeAnyOther() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try EngineFaultTests.filled(disk, count: 10)
        let table = try Self.table(
            disk, "t", version: 50, [EngineFaultTests.key(1): [1], EngineFaultTests.key(2): nil],
            ranges: [(Array("key-3".utf8), Array("key-5".utf8))])
        try engine.ingest(table)
        let shown = try EngineChangesTests.Shown(try engine.makeChangeIterator(since: Version(10)))
        #expect(shown.keys.map(\.key) == [EngineFaultTests.key(1), EngineFaultTests.key(2)])
        #expect(shown.keys.map(\.value) == [[1], nil])
        #expect(
            shown.ranges
                == [DeletedRange(from: Array("key-3".utf8), to: Array("key-5".utf8), version: Version(50))])
        #expect(try EngineChangesTests.Shown(try engine.makeChangeIterator(since: Version(50))).keys.isEmpty)
        try engine.close()
    }

    @Test func writersThatGoOnMeanwhileLoseNothing() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        let engine = try Self.open(disk, .tiny, background)
        let rounds = EngineCrashTests.volume(debug: 300, release: 3000)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<2 as Range<UInt8> {
                group.addTask {
                    for round in 0..<rounds {
                        var batch = WriteBatch()
                        let key = [writer, UInt8(round & 0xFF), UInt8(round >> 8)]
                        batch.put(key, Array(repeating: writer, count: 30))
                        try engine.write(batch)
                        if round % 16 == 0 { await Task.yield() }
                    }
                }
            }
            group.addTask {
                for number in 0..<20 as Range<UInt8> {
                    // Far above what the writers reach until it is ingested.
                    let version = engine.lastVersion.rawValue + 1_000_000
                    let table = try Self.table(
                        disk, "\(number)", version: version, [[number & 1, 0xFF, number, 1]: [number]])
                    try engine.ingest(table, moving: true)
                    await Task.yield()
                }
            }
            try await group.waitForAll()
        }
        for number in 0..<20 as Range<UInt8> { #expect(try engine.get([number & 1, 0xFF, number, 1]) == [number]) }
        for writer in 0..<2 as Range<UInt8> {
            for round in 0..<rounds {
                #expect(try engine.get([writer, UInt8(round & 0xFF), UInt8(round >> 8)])?.count == 30)
            }
        }
        #expect(engine.mark == UInt64(2 * rounds + 20))
        try engine.close()
    }
}
