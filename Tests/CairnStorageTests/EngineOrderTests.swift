import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// What has to happen in order: files become durable before what they replace goes, newer versions stand above older ones,
/// and a reader's history stays until the reader is done.
@Suite struct EngineOrderTests {
    // MARK: - B15

    /// Rounds of synced batches, each flushed, with a compaction between: everything that removes a file.
    ///
    /// - Returns: the last mark that was promised, and the last one that was tried.
    private func fillAndReplace(
        _ disk: SimulatedFileSystem, _ states: inout [ReferenceModel], _ options: EngineOptions
    ) -> (promised: UInt64, issued: UInt64) {
        let background = ManualBackgroundExecutor()
        defer { background.discardAll() }
        var work = Workload(random: SeededGenerator(seed: 15), keyCount: 12)
        var outcome: (promised: UInt64, issued: UInt64) = (0, 0)
        states = [ReferenceModel()]
        do throws(StorageError) {
            let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            for round in 1...5 {
                for _ in 1...3 {
                    let batch = work.batch()
                    outcome.issued += 1
                    var model = states.last!
                    model.apply(batch, version: outcome.issued * 2, mark: outcome.issued)
                    states.append(model)
                    try engine.apply(batch, at: Version(outcome.issued * 2), mark: outcome.issued)
                }
                // The last round stays in the log, and so does every other one until its flush.
                if round % 2 == 1 { try engine.synchronizeLog(through: outcome.issued) }
                outcome.promised = max(outcome.promised, engine.durableMark)
                if round == 5 { break }
                try engine.flush()
                outcome.promised = max(outcome.promised, engine.durableMark)
                background.runAll()
                if round >= 3 {
                    engine.setHistoryHorizon(engine.lastVersion)
                    try engine.compactRange()
                    background.runAll()
                }
            }
        } catch {}
        return outcome
    }

    @Test func B15_noFileGoesBeforeWhatReplacesItIsOnTheDisk() throws {
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        var states: [ReferenceModel] = []
        let whole = SimulatedFileSystem(seed: 1)
        whole.startTrace()
        _ = fillAndReplace(whole, &states, options)
        let trace = whole.trace
        #expect(trace.contains { $0.contains("remove") && $0.hasSuffix(".sst") }, "a compaction's inputs went")
        #expect(trace.contains { $0.contains("rename") && $0.hasSuffix(".wal") }, "a segment was used again")
        for cut in 0..<whole.operationCount {
            let disk = SimulatedFileSystem(seed: 1)
            disk.cutPower(afterOperations: cut)
            let outcome = fillAndReplace(disk, &states, options)
            // Each copy is another choice of what the disk had done of all that was not synced.
            for choice in 1...EngineCrashTests.volume(debug: 8, release: 40) as ClosedRange<Int> {
                let copy = disk.copy(seed: UInt64(cut * 1000 + choice))
                copy.restart()
                let place = "cut \(cut) after \(cut > 0 ? trace[cut - 1] : "nothing"), choice \(choice)"
                let background = ManualBackgroundExecutor()
                let engine = try Engine.open(
                    directory: "/e", fileSystem: copy, options: options, background: background)
                #expect(engine.mark >= outcome.promised && engine.mark <= outcome.issued, "\(place)")
                let state = states[Int(engine.mark)]
                let difference = try difference(try engine.makeIterator(), state.contents(at: state.lastVersion))
                #expect(difference == nil, "\(place)")
                try engine.verify()
                try engine.close()
            }
        }
    }

    // MARK: - B20

    /// Every entry of a table in its order.
    private func entries(of table: Table) throws -> [(key: [UInt8], version: UInt64)] {
        let iterator = try table.reader().makeIterator(fillsCache: false)
        var result: [(key: [UInt8], version: UInt64)] = []
        try iterator.seekToFirst()
        while iterator.isValid {
            result.append((iterator.key.copied(), iterator.version))
            try iterator.next()
        }
        return result
    }

    /// Says where an older version of a key stands above a newer one, or a key in two tables of a sorted level.
    private func disorder(in engine: Engine) throws -> String? {
        let set = engine.view.withLock { $0.tables }
        /// The oldest version of each key in what has been looked at, which is all newer than what comes.
        var oldest: [[UInt8]: UInt64] = [:]
        for (number, level) in set.levels.enumerated() {
            var owners: [[UInt8]: UInt64] = [:]
            for table in level {
                for (key, version) in try entries(of: table) {
                    if number > 0,
                        owners.updateValue(table.description.number, forKey: key) ?? table.description.number
                            != table.description.number
                    {
                        return "level \(number): key \(key) in two tables"
                    }
                    if let above = oldest[key], above <= version {
                        return "level \(number): key \(key) @\(version) below @\(above)"
                    }
                    oldest[key] = version
                }
            }
        }
        return nil
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func B20_ofOneKeyNewerVersionsStandAboveOlderOnesAndAKeyInOneTableOfALevel(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let disk = SimulatedFileSystem(seed: seed)
        let background = ManualBackgroundExecutor()
        var options = EngineOptions.tiny
        options.tableBytesMax = 1 << 10
        options.wal = .disabled
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        var model = ReferenceModel()
        // Few keys with more versions than a table has room for: no horizon is set, so all of them stay.
        var work = Workload(random: random.split(), keyCount: 5)
        for step in 1...150 as ClosedRange<UInt64> {
            let batch = work.batch()
            try engine.apply(batch, at: Version(step), mark: step)
            model.apply(batch, version: step, mark: step)
            if random.oneIn(4) { background.runNext() }
            if random.oneIn(9) { try engine.flush() }
            if random.oneIn(20) {
                let (from, to) = work.range()
                try engine.compactRange(from: random.oneIn(2) ? nil : from[...], to: random.oneIn(2) ? nil : to[...])
            }
            guard step % 10 == 0 else { continue }
            let found = try disorder(in: engine)
            #expect(found == nil, "seed \(seed), step \(step)")
            for key in model.history.keys {
                let version = UInt64.random(in: 1...step, using: &random)
                let value = try engine.get(key, at: Version(version)).map { Array($0) }
                #expect(value == model.value(key, at: version), "seed \(seed), step \(step), key \(key) @\(version)")
            }
        }
        try engine.compactRange()
        let tables = engine.view.withLock { $0.tables.all }
        #expect(tables.contains { $0.description.byteCount > 2 * UInt64(options.tableBytesMax) }, "one key, one table")
        try engine.close()
    }

    @Test func B20_aCompactionTakesEveryTableThatHasTheKey() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        // Old in level 1, newer in two tables of level 0, and a table of another key between them.
        let flushes: [[UInt8]] = [[1, 9], [5], [9], [5]]
        for (number, keys) in flushes.enumerated() {
            var batch = WriteBatch()
            for key in keys { batch.put([key], [UInt8(number)]) }
            if number == 0 { batch.put([5], [0]) }
            try engine.apply(batch, at: Version(UInt64(number) + 1), mark: UInt64(number) + 1)
            try engine.flush()
            if number == 0 { try engine.compactRange() }
        }
        let set = engine.view.withLock { $0.tables }
        #expect(set.levels[0].count == 3 && set.levels[1].count == 1)
        let compaction = CompactionPicker(options: options).compactionOfLevel0(set)
        #expect(compaction.inputs.map(\.level) == [0, 0, 0, 1], "all that overlap, newest first")
        try engine.compactRange()
        for version in 1...4 as ClosedRange<UInt64> {
            #expect(try engine.get([5], at: Version(version)) == [version == 4 ? 3 : version >= 2 ? 1 : 0])
        }
        #expect(try disorder(in: engine) == nil)
        try engine.close()
    }

    // MARK: - B21

    /// Readers of an engine's history, each with what it saw at first.
    ///
    /// Safety: one thread uses it, the one that runs the test and, from within its calls, the compactions.
    private final class Readers: @unchecked Sendable {
        var random: SeededGenerator
        let engine: Engine
        var model = ReferenceModel()
        var pins: [(version: UInt64, contents: [(key: [UInt8], value: [UInt8])])] = []
        var iterators: [(iterator: EngineIterator, contents: [(key: [UInt8], value: [UInt8])])] = []
        var acted = 0

        init(_ engine: Engine, seed: UInt64) {
            self.engine = engine
            random = SeededGenerator(seed: seed)
        }

        /// Opens, reads or closes a reader, or moves the horizon.
        func act() throws {
            guard model.lastVersion > 0 else { return }
            acted += 1
            switch Int.random(in: 0..<6, using: &random) {
            case 0...1 where pins.count < 8:
                let version = UInt64.random(in: 1...model.lastVersion, using: &random)
                let isReadable = version >= engine.historyHorizon.rawValue || pins.contains { $0.version == version }
                do throws(StorageError) {
                    try engine.retain(Version(version))
                    #expect(isReadable, "@\(version) was retained below the horizon")
                    pins.append((version, model.contents(at: version)))
                } catch {
                    #expect(!isReadable && error.code == .versionTooOld, "@\(version): \(error)")
                }
            case 2 where pins.count > 1:
                // The first one stays to the end.
                let pin = pins.remove(at: Int.random(in: 1..<pins.count, using: &random))
                engine.release(Version(pin.version))
            case 3:
                let version = UInt64.random(in: 1...model.lastVersion, using: &random)
                engine.setHistoryHorizon(Version(version))
            case 4 where iterators.count < 4:
                let pin = pins.randomElement(using: &random)!
                iterators.append((try engine.makeIterator(at: Version(pin.version)), pin.contents))
            default:
                if !iterators.isEmpty, random.oneIn(2) {
                    let (iterator, contents) = iterators.removeFirst()
                    let difference = try difference(iterator, contents)
                    #expect(difference == nil, "an iterator, seed \(random.seed)")
                }
                try check(pins.randomElement(using: &random)!)
            }
        }

        func check(_ pin: (version: UInt64, contents: [(key: [UInt8], value: [UInt8])])) throws {
            let difference = try difference(try engine.makeIterator(at: Version(pin.version)), pin.contents)
            #expect(difference == nil, "@\(pin.version), seed \(random.seed)")
            for key in model.history.keys.shuffled(using: &random).prefix(3) {
                let value = try engine.get(key, at: Version(pin.version)).map { Array($0) }
                #expect(value == pin.contents.first { $0.key == key }?.value, "@\(pin.version), seed \(random.seed)")
            }
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func B21_aReaderSeesTheSameBytesForItsWholeLife(seed: UInt64) throws {
        let disk = SimulatedFileSystem(seed: seed)
        let background = ManualBackgroundExecutor()
        var options = EngineOptions.tiny
        options.wal = .disabled
        options.blockCache = BlockCache(capacityBytes: seed % 2 == 0 ? 0 : 64 << 10)
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        let readers = Readers(engine, seed: seed)
        var work = Workload(random: readers.random.split(), keyCount: 16)
        for step in 1...120 as ClosedRange<UInt64> {
            let batch = work.batch()
            readers.model.apply(batch, version: step, mark: step)
            try engine.apply(batch, at: Version(step), mark: step)
            if step == 1 {
                try engine.retain(Version(1))
                readers.pins.append((1, readers.model.contents(at: 1)))
                // From here on readers come and go whenever a flush or compaction begins a table.
                disk.onCreate { [readers] path in
                    guard path.hasSuffix(".sst") else { return }
                    do { try readers.act() } catch { Issue.record("seed \(seed): \(error)") }
                }
            }
            if step % 2 == 0 { try readers.act() }
            if step % 3 == 0 { background.runNext() }
            if step % 25 == 0 { try engine.compactRange() }
        }
        background.runAll()
        #expect(readers.acted > 80)
        for pin in readers.pins { try readers.check(pin) }
        for (iterator, contents) in readers.iterators { #expect(try difference(iterator, contents) == nil) }
        disk.onCreate(nil)
        // Once nobody looks back, nothing but the last state is left.
        for pin in readers.pins { engine.release(Version(pin.version)) }
        readers.iterators = []
        engine.setHistoryHorizon(engine.lastVersion)
        try engine.compactRange()
        try engine.compactRange()
        let kept = engine.view.withLock { $0.tables.all.reduce(0) { $0 + $1.description.entries } }
        #expect(kept == UInt64(readers.model.contents(at: 120).count))
        try engine.close()
    }
}
