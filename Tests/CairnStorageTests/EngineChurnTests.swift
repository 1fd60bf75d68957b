import CairnFiles
import CairnSimulator
import CairnTestSupport
import Synchronization
import Testing

@testable import CairnStorage

/// Readers, checkpoints and range deletions while flushes and compactions take files away, and flushes that fail in turn.
@Suite struct EngineChurnTests {
    private static var options: EngineOptions {
        var options = EngineOptions.tiny
        options.memtableBytesMax = 2 << 10
        return options
    }

    /// Files of `directory` that neither its manifest names nor its log uses.
    private func strangers(_ disk: SimulatedFileSystem, _ directory: String) throws -> [String] {
        let (state, number) = try #require(try Manifest.read(in: directory, fileSystem: disk))
        let tables = Set(state.levels.flatMap { $0.map(\.number) })
        return try disk.list(directory).filter { name in
            switch FileName(name) {
            case .table(let table): !tables.contains(table)
            case .manifest(let other): other != number
            case .wal, .current, .lock: false
            case nil: true
            }
        }
    }

    @Test func B14_checkpointsAndIteratorsTakenInTheMiddleOfCompactionsAreWhole() throws {
        let disk = SimulatedFileSystem(seed: 14)
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: Self.options, background: background)
        var model = ReferenceModel()
        var work = Workload(random: SeededGenerator(seed: 14), keyCount: 40)
        var copies: [(path: String, contents: [(key: [UInt8], value: [UInt8])])] = []
        var iterators: [(iterator: EngineIterator, contents: [(key: [UInt8], value: [UInt8])])] = []
        // Now and then, when a merge begins a table, every file of the tree is looked for.
        let begun = Atomic(0)
        disk.onCreate { path in
            guard path.hasPrefix("/e/"), path.hasSuffix(".sst") else { return }
            let number = begun.add(1, ordering: .relaxed).newValue
            guard number % 10 == 0 else { return }
            let tables = engine.view.withLock { $0.tables.all }
            for table in tables {
                let there = try? disk.exists(FileName.table(table.description.number).path(in: "/e"))
                #expect(there == true, "table \(table.description.number) went while it was in use")
            }
        }
        for step in 1...200 as ClosedRange<UInt64> {
            let batch = work.batch()
            model.apply(batch, version: step, mark: step)
            try engine.apply(batch, at: Version(step), mark: step)
            if step % 3 == 0 { background.runNext() }
            if step % 10 == 0 { engine.setHistoryHorizon(Version(step)) }
            if step % 25 == 0 {
                let contents = model.contents(at: step)
                #expect(try engine.checkpoint(into: "/copy-\(step)") == step)
                copies.append(("/copy-\(step)", contents))
                iterators.append((try engine.makeIterator(), contents))
                try engine.compactRange()
            }
        }
        disk.onCreate(nil)
        for (iterator, contents) in iterators { #expect(try difference(iterator, contents) == nil) }
        iterators = []
        background.runAll()
        #expect(try strangers(disk, "/e") == [], "what the last reader held on to is gone")
        // A crash leaves orphans of all kinds; the next opening removes them, and no file that counts.
        background.discardAll()
        disk.cutPower()
        disk.restart()
        let again = try Engine.open(directory: "/e", fileSystem: disk, options: Self.options, background: background)
        #expect(try strangers(disk, "/e") == [])
        try again.verify()
        try again.close()
        for (path, contents) in copies {
            let copy = try Engine.open(directory: path, fileSystem: disk, options: Self.options, background: background)
            #expect(try difference(try copy.makeIterator(), contents) == nil, "\(path) after the original moved on")
            try copy.close()
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func B22_rangesThatAreDroppedAndFilledAgainOverSplitTablesAreAsTheMapSays(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let disk = SimulatedFileSystem(seed: seed)
        let background = ManualBackgroundExecutor()
        var options = Self.options
        options.tableBytesMax = 1 << 10
        options.blockBytes = 256
        var engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        var model = ReferenceModel()
        var pins: [UInt64] = []
        func key() -> [UInt8] {
            [7, UInt8.random(in: 0..<8, using: &random), UInt8.random(in: 0..<12, using: &random)]
        }
        for step in 1...180 as ClosedRange<UInt64> {
            var batch = WriteBatch()
            if random.oneIn(8) {
                // A collection, a part of one, or everything; then at once new keys in it.
                let (one, other) = (key(), key())
                let (from, to): ([UInt8], [UInt8]) =
                    random.oneIn(3) ? ([7, one[1]], [7, one[1] + 1]) : random.oneIn(8) ? ([7], [8]) : (one, other)
                batch.put(key(), [1])
                batch.deleteRange(from: from, to: to)
            }
            for _ in 0..<Int.random(in: 1...5, using: &random) { batch.put(key(), random.bytes(60)) }
            try engine.apply(batch, at: Version(step), mark: step)
            model.apply(batch, version: step, mark: step)
            if random.oneIn(3) { background.runNext() }
            if random.oneIn(25) {
                try engine.retain(Version(step))
                pins.append(step)
            }
            if random.oneIn(12) { engine.setHistoryHorizon(Version(step)) }
            if random.oneIn(30), !pins.isEmpty { engine.release(Version(pins.removeFirst())) }
            if random.oneIn(15) { try engine.compactRange(from: key()[...], to: nil) }
            if random.oneIn(60) {
                try engine.close()
                engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
                pins = []
            }
            guard step % 6 == 0 else { continue }
            for version in pins + [step] {
                let difference = try difference(
                    try engine.makeIterator(at: Version(version)), model.contents(at: version))
                #expect(difference == nil, "seed \(seed), step \(step) @\(version)")
                let key = key()
                let value = try engine.get(key, at: Version(version)).map { Array($0) }
                #expect(value == model.value(key, at: version), "seed \(seed), step \(step) @\(version), \(key)")
            }
        }
        for pin in pins { engine.release(Version(pin)) }
        engine.setHistoryHorizon(engine.lastVersion)
        try engine.compactRange()
        try engine.compactRange()
        let tables = engine.view.withLock { $0.tables.all }
        #expect(tables.allSatisfy { $0.description.rangeTombstones == 0 && $0.description.deletions == 0 })
        #expect(tables.reduce(0) { $0 + Int($1.description.entries) } == model.contents(at: 180).count)
        try engine.close()
    }

    @Test(arguments: [FileError.Operation.create, .write, .synchronizeDirectory])
    func B24_whicheverFlushFailsNewerDataIsNeverBelowOlder(operation: FileError.Operation) throws {
        for nth in 1...6 {
            let disk = SimulatedFileSystem(seed: UInt64(nth))
            let background = ManualBackgroundExecutor()
            var options = EngineOptions.tiny
            options.frozenMemtablesMax = 4
            options.disablesAutomaticCompaction = true
            let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            background.runAll()
            let path = operation == .synchronizeDirectory ? "/e" : nth % 2 == 0 ? "MANIFEST" : ".sst"
            let fault = disk.inject(
                DiskFault(.error(.outOfSpace), on: operation, pathContains: path, nth: nth, lasts: nth > 3))
            for round in 1...5 as ClosedRange<UInt8> {
                var batch = WriteBatch()
                for key in 0..<5 as Range<UInt8> { batch.put([key], Array(repeating: round, count: 1000)) }
                try? engine.apply(batch, at: Version(UInt64(round)), mark: UInt64(round))
                background.runNext()
                #expect(try engine.get([2])?.first == UInt8(engine.mark), "\(operation) \(nth)")
            }
            disk.remove(fault: fault)
            let last = engine.mark
            try engine.flush()
            background.runAll()
            #expect(engine.durableMark == last)
            let marks = engine.view.withLock { $0.tables.levels[0].map(\.description.mark) }
            #expect(marks == marks.sorted(by: >), "newest first")
            disk.cutPower()
            disk.restart()
            let again = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            for version in 1...last {
                #expect(try again.get([2], at: Version(version))?.first == UInt8(version), "\(operation) \(nth)")
            }
            try again.compactRange()
            #expect(try again.get([2])?.first == UInt8(last))
            try again.close()
        }
    }
}
