import CairnFiles
import CairnSimulator
import CairnTestSupport
import Synchronization
import Testing

@testable import CairnStorage

/// Several compactions of one engine at once.
///
/// Where it must repeat exactly, one begins within another, at the moment at which that one makes a table, on the same
/// thread (see ``CompactionNesting``); else threads do.
@Suite struct EngineParallelCompactionTests {
    private static var options: EngineOptions {
        var options = EngineOptions.tiny
        options.compactionsMax = 3
        options.memtableBytesMax = 2 << 10
        options.tableBytesMax = 1 << 10
        options.level1BytesMax = 3 << 10
        options.levelSizeRatio = 2
        return options
    }

    /// An engine whose compactions begin within each other.
    private func openNesting(
        seed: UInt64
    ) throws -> (Engine, SimulatedFileSystem, ManualBackgroundExecutor, CompactionNesting) {
        let disk = SimulatedFileSystem(seed: seed)
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: Self.options, background: background)
        let nesting = CompactionNesting(on: disk, background, seed: seed)
        nesting.engine = engine
        return (engine, disk, background, nesting)
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func compactionsOfDisjointTablesRunWithinEachOtherAndNothingIsLost(seed: UInt64) throws {
        let (engine, disk, background, nesting) = try openNesting(seed: seed)
        var work = Workload(random: SeededGenerator(seed: seed), keyCount: 200)
        var model = ReferenceModel()
        for step in 1...400 as ClosedRange<UInt64> {
            let batch = work.batch()
            model.apply(batch, version: step, mark: step)
            try engine.apply(batch, at: Version(step), mark: step)
            if step % 40 == 0 { engine.setHistoryHorizon(Version(step - 20)) }
            if step % 3 == 0 { background.runNext() }
            if step % 50 == 0 {
                let difference = try difference(try engine.makeIterator(), model.contents(at: step))
                #expect(difference == nil, "seed \(seed), step \(step)")
            }
        }
        try engine.flush()
        background.runAll()
        disk.onCreate(nil)
        #expect(nesting.runningMost > 1, "seed \(seed)")
        #expect(nesting.runningMost <= 3, "seed \(seed)")
        #expect(try difference(try engine.makeIterator(), model.contents(at: 400)) == nil, "seed \(seed)")
        let picker = CompactionPicker(options: Self.options)
        #expect(picker.pick(engine.view.withLock { $0.tables }, retained: engine.retainedVersions()) == nil, "arrears")
        try engine.verify()
        try engine.close()
        // The manifest says the same.
        let again = try Engine.open(directory: "/e", fileSystem: disk, options: Self.options, background: background)
        #expect(try difference(try again.makeIterator(), model.contents(at: 400)) == nil, "seed \(seed)")
        try again.close()
    }

    /// Fills an engine whose compactions begin within each other, until all is done or the power goes.
    ///
    /// - Returns: the places in the disk's order of operations at which several compactions were at work, the contents after
    ///   each mark, and the last mark that was promised.
    private func fill(_ disk: SimulatedFileSystem) -> (places: [Int], states: [ReferenceModel], promised: UInt64) {
        let background = ManualBackgroundExecutor()
        let nesting = CompactionNesting(on: disk, background, seed: 5)
        defer {
            background.discardAll()
            disk.onCreate(nil)
        }
        var states = [ReferenceModel()]
        var promised: UInt64 = 0
        do throws(StorageError) {
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: Self.options, background: background)
            nesting.engine = engine
            var work = Workload(random: SeededGenerator(seed: 5), keyCount: 200)
            for step in 1...300 as ClosedRange<UInt64> {
                let batch = work.batch()
                var model = states.last!
                model.apply(batch, version: step, mark: step)
                states.append(model)
                try engine.apply(batch, at: Version(step), mark: step)
                if step % 40 == 0 { engine.setHistoryHorizon(Version(step - 20)) }
                if step % 3 == 0 { background.runNext() }
                promised = engine.durableMark
            }
            background.runAll()
            promised = engine.durableMark
        } catch {}
        return (nesting.places, states, promised)
    }

    @Test func aCrashBetweenTheEditsOfTwoCompactionsLeavesTheTreeAsOneOfThemMadeIt() throws {
        let whole = SimulatedFileSystem(seed: 1)
        let places = fill(whole).places
        #expect(places.count > 2)
        // After the second has begun there come its tables, its edit, the first one's tables, and its edit.
        let cuts = Set(places.prefix(EngineCrashTests.volume(debug: 4, release: 40)).flatMap { $0..<($0 + 30) })
        for cut in cuts.sorted() where cut < whole.operationCount {
            let disk = SimulatedFileSystem(seed: 1)
            disk.cutPower(afterOperations: cut)
            let (_, states, promised) = fill(disk)
            disk.restart()
            let background = ManualBackgroundExecutor()
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: Self.options, background: background)
            #expect(engine.mark >= promised, "cut \(cut)")
            let contents = states[Int(engine.mark)].contents(at: engine.mark)
            #expect(try difference(try engine.makeIterator(), contents) == nil, "cut \(cut)")
            background.runAll()
            #expect(try difference(try engine.makeIterator(), contents) == nil, "cut \(cut)")
            try engine.verify()
            try engine.close()
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func onThreadsTheTreeStaysWholeAndClosingAmidCompactionsLosesNothing(seed: UInt64) throws {
        let disk = SimulatedFileSystem(seed: seed)
        let background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 3)
        defer { background.shutDown() }
        var work = Workload(random: SeededGenerator(seed: seed), keyCount: 200)
        var model = ReferenceModel()
        var step: UInt64 = 0
        for life in 1...EngineCrashTests.volume(debug: 4, release: 12) {
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: Self.options, background: background)
            #expect(engine.mark == step, "seed \(seed), life \(life)")
            #expect(try difference(try engine.makeIterator(), model.contents(at: step)) == nil)
            for _ in 1...150 {
                step += 1
                let batch = work.batch()
                model.apply(batch, version: step, mark: step)
                try engine.apply(batch, at: Version(step), mark: step)
                if step % 10 == 0 { engine.setHistoryHorizon(Version(step - 5)) }
                if step % 60 == 0 { try engine.compactRange(from: work.key()[...]) }
            }
            #expect(try difference(try engine.makeIterator(), model.contents(at: step)) == nil)
            if life % 2 == 0 {
                while try engine.compactIfNeeded() {}
                let isIdle = engine.work.withLock { !$0.isCompacting }
                #expect(isIdle, "nothing runs and nothing is due")
            }
            try engine.close()
            let isIdle = engine.work.withLock { !$0.isCompacting }
            #expect(isIdle, "closing has waited")
        }
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func compactionsThatFailDoNotRetryEachOtherWithoutEnd(seed: UInt64) throws {
        let (engine, disk, background, nesting) = try openNesting(seed: seed)
        defer { withExtendedLifetime(nesting) {} }
        var work = Workload(random: SeededGenerator(seed: seed), keyCount: 200)
        var model = ReferenceModel()
        for step in 1...300 as ClosedRange<UInt64> {
            let batch = work.batch()
            model.apply(batch, version: step, mark: step)
            try engine.apply(batch, at: Version(step), mark: step)
            if step % 40 == 0 { disk.inject(DiskFault(.error(.io), on: .create, pathContains: ".sst", lasts: true)) }
            if step % 3 == 0 {
                var jobs = 0
                while jobs < 200, background.runNext() { jobs += 1 }
                #expect(jobs < 200, "seed \(seed), step \(step)")
            }
            if step % 40 == 20 { disk.removeFaults() }
        }
        disk.removeFaults()
        try engine.flush()
        background.runAll()
        #expect(engine.statistics.backgroundError == nil)
        #expect(try difference(try engine.makeIterator(), model.contents(at: 300)) == nil, "seed \(seed)")
        disk.onCreate(nil)
        try engine.close()
    }

    @Test func whatRunsAloneWaitsForCompactionsAndTheyForIt() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: Self.options, background: background)
        for number in 0..<200 as Range<UInt8> {
            var batch = WriteBatch()
            batch.put([number], [UInt8](repeating: number, count: 40))
            try engine.write(batch)
        }
        try engine.flush()
        let began = Mutex(0)
        disk.onCreate { [background, engine] path in
            guard path.hasSuffix(".sst") else { return }
            // Jobs that come while it runs alone do nothing.
            background.runAll()
            engine.work.withLock { work in
                #expect(work.isAlone && work.claims.isEmpty)
            }
            began.withLock { $0 += 1 }
        }
        try engine.compactRange()
        disk.onCreate(nil)
        #expect(began.withLock { $0 } > 0)
        background.runAll()
        for number in 0..<200 as Range<UInt8> {
            #expect(try engine.get([number]) == ArraySlice(repeating: number, count: 40))
        }
        try engine.close()
    }
}

/// Runs background jobs of an engine in the midst of its compactions: whenever one begins a table, on its thread.
final class CompactionNesting: Sendable {
    private struct State {
        weak var engine: Engine?
        var random: SeededGenerator
        var runningMost = 0
        var places: [Int] = []
    }

    private let state: Mutex<State>

    init(on disk: SimulatedFileSystem, _ background: ManualBackgroundExecutor, seed: UInt64) {
        state = Mutex(State(random: SeededGenerator(seed: seed)))
        disk.onCreate { [self, background, weak disk] path in
            guard path.hasSuffix(".sst"), let engine, path.hasPrefix(engine.directory) else { return }
            let (isFlushing, running) = engine.work.withLock { ($0.isFlushing, $0.claims.count) }
            let acts = state.withLock { state in
                state.runningMost = max(state.runningMost, running)
                if running > 1, let disk { state.places.append(disk.operationCount) }
                return state.random.oneIn(2)
            }
            // A flush within a flush would wait for itself.
            if acts, !isFlushing { background.runNext() }
        }
    }

    var engine: Engine? {
        get { state.withLock { $0.engine } }
        set { state.withLock { $0.engine = newValue } }
    }

    /// The most compactions that were at work at once.
    var runningMost: Int { state.withLock { $0.runningMost } }
    /// The disk's count of operations whenever one of several made a table.
    var places: [Int] { state.withLock { $0.places } }
}
