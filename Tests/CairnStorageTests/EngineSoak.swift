import CairnFiles
import CairnSimulator
import CairnTestSupport

@testable import CairnStorage

/// One run of the engine beside a ``ReferenceModel``, all of it drawn from a seed: the options, the operations, and what
/// goes wrong.
///
/// What must hold: every answer is the model's, or an error that the disk's mood explains. A batch that was refused never
/// appears. After a crash the state is that after one of the batches, not before the last that was promised.
struct EngineSoak {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    typealias Contents = [(key: [UInt8], value: [UInt8])]

    private let disk: SimulatedFileSystem
    private let background = ManualBackgroundExecutor()
    private let options: EngineOptions
    private var random: SeededGenerator
    private var work: Workload
    private var engine: Engine {
        didSet { nesting.engine = engine }
    }
    /// Compactions begin, and flushes happen, while another compaction is at work.
    private let nesting: CompactionNesting
    /// What there is after each mark; the last one is what the engine shows.
    private var states = [ReferenceModel()]
    private var pins: [UInt64] = []
    /// Iterators that stay open, with what they must show to the end.
    private var iterators: [(iterator: EngineIterator, contents: Contents)] = []
    private var checkpoints: [(path: String, contents: Contents)] = []
    /// Steps until the disk behaves again; 0 while it does.
    private var disturbedSteps = 0
    private var step = 0
    private var what = "opening"

    private var model: ReferenceModel { states.last! }

    init(seed: UInt64) throws {
        random = SeededGenerator(seed: seed)
        disk = SimulatedFileSystem(seed: seed)
        disk.startTrace()
        options = Self.options(&random)
        if random.oneIn(3) { try disk.encrypt() }
        work = Workload(random: random.split())
        nesting = CompactionNesting(on: disk, background, seed: seed)
        engine = try Engine.open(directory: "/t", fileSystem: disk, options: options, background: background)
        nesting.engine = engine
    }

    static func options(_ random: inout SeededGenerator) -> EngineOptions {
        var options = EngineOptions.tiny
        options.blockBytes = [64, 256, 1024, 16 << 10].randomElement(using: &random)!
        options.tableBytesMax = max([1 << 10, 2 << 10, 8 << 10].randomElement(using: &random)!, options.blockBytes)
        options.restartInterval = [1, 2, 8, 16].randomElement(using: &random)!
        options.compression = random.oneIn(2) ? .snappy : .none
        options.walCompression = random.oneIn(2) ? .snappy : .none
        options.uncompressedLevels = Int(random.next() % 3)
        options.bloomBitsPerKey = random.oneIn(4) ? 0 : 10
        options.level0BloomBitsPerKey = random.oneIn(4) ? 0 : 20
        options.prefixFilterBytes = [0, 0, 1, 3, 6].randomElement(using: &random)!
        options.memtableBytesMax = [1 << 10, 2 << 10, 8 << 10, 64 << 10].randomElement(using: &random)!
        options.frozenMemtablesMax = Int.random(in: 1...3, using: &random)
        options.level0Trigger = Int.random(in: 1...4, using: &random)
        options.level0SlowdownTrigger = options.level0Trigger + Int.random(in: 0...2, using: &random)
        options.level0StopTrigger = options.level0SlowdownTrigger + Int.random(in: 1...3, using: &random)
        options.level1BytesMax = [2 << 10, 6 << 10, 64 << 10].randomElement(using: &random)!
        options.levelSizeRatio = [2, 3, 10].randomElement(using: &random)!
        options.compactionsMax = Int.random(in: 1...3, using: &random)
        options.disablesAutomaticCompaction = random.oneIn(8)
        options.wal = random.oneIn(4) ? .disabled : .enabled
        options.history = random.oneIn(6) ? .latest : .fromHorizon
        options.blockCache = BlockCache(capacityBytes: random.oneIn(3) ? 0 : 64 << 10)
        return options
    }

    mutating func run(steps: Int) throws {
        do {
            for number in 1...steps {
                step = number
                try takeStep()
            }
            step += 1
            try calm()
            if engine.hasFailed.load(ordering: .relaxed) || disk.isPowerOff { try crash() }
            try closeIterators()
            background.runAll()
            what = "the end"
            try check(nil)
            try engine.verify()
            try engine.close()
        } catch {
            throw Failure(description: "step \(step), \(what): \(error)\n\(disk.trace.suffix(12))")
        }
    }

    private func require(_ holds: Bool, _ message: @autoclosure () -> String) throws {
        guard holds else { throw Failure(description: message()) }
    }

    /// Fails unless the disk's mood explains `error`.
    private func allow(_ error: StorageError) throws {
        if disk.isPowerOff { return }
        if engine.hasFailed.load(ordering: .relaxed), error.code == .failed { return }
        guard disturbedSteps > 0, [.io, .outOfSpace, .failed].contains(error.code) else {
            throw Failure(description: "\(error)")
        }
    }

    /// Does what may fail if the disk does; false if it did.
    @discardableResult
    private func attempt(_ body: () throws -> Void) throws -> Bool {
        do { try body() } catch let error as StorageError {
            try allow(error)
            return false
        }
        return true
    }

    // MARK: - Steps

    private mutating func takeStep() throws {
        if disturbedSteps > 0 {
            disturbedSteps -= 1
            if disturbedSteps == 0 { try calm() }
        } else if random.oneIn(12) {
            disturb()
        }
        if disk.isPowerOff { return try crash() }
        if engine.hasFailed.load(ordering: .relaxed), random.oneIn(3) { return try crash() }
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<52: try write()
        case 52..<62: try get()
        case 62..<67: try walk()
        case 67..<70: try check(version())
        case 70..<73 where iterators.count < 3: try openIterator()
        case 73..<75: try closeIterators()
        case 75..<78: try retain()
        case 78..<80 where !pins.isEmpty:
            engine.release(Version(pins.remove(at: Int.random(in: 0..<pins.count, using: &random))))
        case 80..<82:
            guard model.lastVersion > 0 else { break }
            engine.setHistoryHorizon(Version(UInt64.random(in: 0...model.lastVersion, using: &random)))
        case 82..<84:
            what = "flush"
            if try attempt({ try engine.flush() }) {
                try require(engine.durableMark == model.mark, "\(engine.durableMark) of \(model.mark) is durable")
            }
        case 84..<86:
            what = "compact"
            let (from, to) = work.range()
            let (lower, upper) = (random.oneIn(2) ? nil : from[...], random.oneIn(2) ? nil : to[...])
            try attempt { try engine.compactRange(from: lower, to: upper) }
            try check(nil)
        case 86..<93: background.runNext()
        case 93..<94: background.runAll()
        case 94..<96: try checkpoint()
        case 96..<98: try reopen()
        case 98..<99: try crash()
        default: break
        }
    }

    private mutating func write() throws {
        what = "write"
        let batch = work.batch()
        let version = model.lastVersion + UInt64.random(in: 1...3, using: &random)
        let mark = model.mark + 1
        let isSynced = random.oneIn(8)
        var next = model
        next.apply(batch, version: version, mark: mark)
        do throws(StorageError) {
            try engine.apply(batch, at: Version(version), mark: mark, durability: isSynced ? .synced : .buffered)
        } catch {
            try allow(error)
            if !disk.isPowerOff {
                // It was refused and never comes, unless a sync failed: then it is there until the end of this life.
                guard engine.mark == mark else { return }
                try require(error.code == .failed, "\(error), and yet it was applied")
            }
            return states.append(next)
        }
        states.append(next)
        if isSynced, options.wal == .enabled {
            try require(engine.durableMark >= mark, "synced, and \(engine.durableMark) of \(mark) is durable")
        }
    }

    /// A version that can be read; nil is the last one.
    private mutating func version() -> UInt64? {
        let horizon = max(1, engine.historyHorizon.rawValue)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return pins.randomElement(using: &random)
        case 1 where horizon <= model.lastVersion:
            return UInt64.random(in: horizon...model.lastVersion, using: &random)
        default: return nil
        }
    }

    private mutating func get() throws {
        what = "get"
        let key = work.key()
        let version = version()
        try attempt {
            let got = try engine.get(key, at: version.map { Version($0) }).map { Array($0) }
            let wanted = model.value(key, at: version ?? model.lastVersion)
            try require(got == wanted, "key \(key) @\(version as Any): \(got as Any), not \(wanted as Any)")
        }
    }

    private func check(_ version: UInt64?) throws {
        try attempt {
            let iterator = try engine.makeIterator(at: version.map { Version($0) })
            if let difference = try difference(iterator, model.contents(at: version ?? model.lastVersion)) {
                throw Failure(description: "@\(version as Any): \(difference)")
            }
        }
    }

    private mutating func walk() throws {
        what = "walk"
        let version = version()
        let (from, to) = work.range()
        let (lower, upper) = (random.oneIn(2) ? from : nil, random.oneIn(2) ? to : nil)
        let contents = model.contents(at: version ?? model.lastVersion).filter { entry in
            !(lower.map { entry.key.lexicographicallyPrecedes($0) } ?? false)
                && (upper.map { entry.key.lexicographicallyPrecedes($0) } ?? true)
        }
        let steps = (0..<20).map { _ in WalkStep(&work, &random) }
        try attempt {
            let iterator = try engine.makeIterator(
                lower: lower.map { $0[...] }, upper: upper.map { $0[...] }, at: version.map { Version($0) })
            if let difference = try difference(iterator, contents, taking: steps) {
                throw Failure(description: "@\(version as Any), \(lower as Any)..<\(upper as Any): \(difference)")
            }
        }
    }

    private mutating func openIterator() throws {
        what = "opening an iterator"
        let version = version()
        var opened: EngineIterator?
        try attempt { opened = try engine.makeIterator(at: version.map { Version($0) }) }
        if let opened { iterators.append((opened, model.contents(at: version ?? model.lastVersion))) }
    }

    private mutating func closeIterators() throws {
        what = "an iterator of before"
        for (iterator, contents) in iterators {
            try attempt {
                if let difference = try difference(iterator, contents) { throw Failure(description: difference) }
            }
        }
        iterators = []
    }

    private mutating func retain() throws {
        what = "retain"
        guard model.lastVersion > 0 else { return }
        let version = UInt64.random(in: 1...model.lastVersion, using: &random)
        let isReadable = version >= engine.historyHorizon.rawValue || pins.contains(version)
        do throws(StorageError) { try engine.retain(Version(version)) } catch {
            return try require(!isReadable && error.code == .versionTooOld, "@\(version): \(error)")
        }
        pins.append(version)
        try require(isReadable, "@\(version) below \(engine.historyHorizon)")
    }

    private mutating func checkpoint() throws {
        what = "checkpoint"
        let path = "/checkpoint-\(step)"
        let isMade = try attempt {
            let mark = try engine.checkpoint(into: path)
            try require(mark == model.mark, "of mark \(mark), not \(model.mark)")
        }
        guard isMade else { return }
        checkpoints.append((path, model.contents(at: model.lastVersion)))
        if disturbedSteps == 0 { try checkCheckpoints() }
    }

    private mutating func checkCheckpoints() throws {
        for (path, contents) in checkpoints {
            let copy = try Engine.open(directory: path, fileSystem: disk, options: options, background: background)
            if let difference = try difference(try copy.makeIterator(), contents) {
                throw Failure(description: "\(path): \(difference)")
            }
            try copy.close()
            try disk.removeTree(path)
        }
        checkpoints = []
    }

    // MARK: - What goes wrong

    private mutating func disturb() {
        disturbedSteps = Int.random(in: 1...15, using: &random)
        let path = ["", ".wal", ".sst", "MANIFEST", "CURRENT"].randomElement(using: &random)!
        let nth = Int.random(in: 1...6, using: &random)
        let lasts = random.oneIn(3)
        let code = random.oneIn(2) ? FileError.Code.io : .outOfSpace
        switch Int.random(in: 0..<7, using: &random) {
        case 0...1: disk.cutPower(afterOperations: Int.random(in: 0..<40, using: &random))
        case 2:
            let effect = random.oneIn(3) ? DiskFault.Effect.shortWrite : .error(code)
            disk.inject(DiskFault(effect, on: .write, pathContains: path, nth: nth, lasts: lasts))
        case 3: disk.inject(DiskFault(.error(.io), on: .synchronize, pathContains: path, nth: nth, lasts: lasts))
        case 4:
            let operation = [FileError.Operation.create, .rename, .synchronizeDirectory, .link, .remove]
                .randomElement(using: &random)!
            disk.inject(DiskFault(.error(code), on: operation, nth: nth, lasts: lasts))
        case 5: disk.inject(DiskFault(.error(.io), on: .read, pathContains: ".sst", probability: 0.2))
        default:
            let used = UInt64.max - ((try? disk.freeSpace(at: "/")) ?? .max)
            disk.setCapacity(used + UInt64.random(in: 0...8000, using: &random))
        }
    }

    /// The disk behaves again.
    private mutating func calm() throws {
        disturbedSteps = 0
        disk.removeFaults()
        disk.setCapacity(.max)
        // A cut that has not come yet will not.
        disk.cutPower(afterOperations: 1 << 40)
    }

    private mutating func reopen() throws {
        guard disturbedSteps == 0, !engine.hasFailed.load(ordering: .relaxed) else { return }
        what = "reopen"
        try closeIterators()
        try engine.close()
        try open(atLeast: model.mark, promised: model.mark)
    }

    /// The process dies or the power goes; then, at times, recovery is disturbed too.
    private mutating func crash() throws {
        what = "crash"
        iterators = []
        background.discardAll()
        let promised = engine.durableMark
        var bound = promised
        if disk.isPowerOff || random.oneIn(2) {
            disk.cutPower()
            disk.restart()
        } else {
            // What the kernel has stays, unless the power went: every batch that was logged.
            disk.killProcess()
            if options.wal == .enabled { bound = model.mark }
        }
        try calm()
        while random.oneIn(3) {
            disturb()
            let again = try? Engine.open(directory: "/t", fileSystem: disk, options: options, background: background)
            let shown = again?.mark
            background.discardAll()
            if random.oneIn(2) || disk.isPowerOff {
                disk.cutPower()
                disk.restart()
                bound = promised
            } else {
                disk.killProcess()
            }
            // What recovery has shown stays.
            if let shown { bound = max(bound, shown) }
            try calm()
        }
        try open(atLeast: bound, promised: promised)
        try checkCheckpoints()
    }

    private mutating func open(atLeast bound: UInt64, promised: UInt64) throws {
        pins = []
        engine = try Engine.open(directory: "/t", fileSystem: disk, options: options, background: background)
        let mark = engine.mark
        try require(mark >= bound, "found mark \(mark), promised \(promised), and \(bound) had to be there")
        try require(mark <= model.mark, "found mark \(mark) after \(model.mark)")
        try require(engine.durableMark == mark, "what recovery shows is durable")
        states.removeLast(states.count - Int(mark) - 1)
        try require(engine.lastVersion.rawValue == model.lastVersion, "found \(engine.lastVersion)")
        try check(nil)
    }
}
