import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

@Suite struct EngineChangesTests {
    /// What an iterator shows, in its order.
    struct Shown {
        var keys: [(key: [UInt8], version: UInt64, value: [UInt8]?)] = []
        var ranges: [DeletedRange] = []

        init(_ iterator: ChangeIterator) throws {
            ranges = iterator.deletedRanges
            try iterator.seekToFirst()
            while iterator.isValid {
                keys.append((Array(iterator.key), iterator.version.rawValue, iterator.value.map { Array($0) }))
                try iterator.next()
            }
        }
    }

    static func isWithin(_ key: [UInt8], _ lower: [UInt8]?, _ upper: [UInt8]?) -> Bool {
        if let lower, key.lexicographicallyPrecedes(lower) { return false }
        if let upper { return key.lexicographicallyPrecedes(upper) }
        return true
    }

    /// Every batch that was applied, for what the reference model does not keep apart: ranges, and what a key was given.
    struct History {
        var ranges: [(from: [UInt8], to: [UInt8], version: UInt64)] = []
        /// The versions at which a key got an entry of its own.
        var entries: [[UInt8]: [(version: UInt64, value: [UInt8]?)]] = [:]

        mutating func apply(_ batch: WriteBatch, version: UInt64) {
            batch.forEach { operation in
                switch operation {
                case .put(let key, let value): set(Array(key), Array(value), version)
                case .delete(let key): set(Array(key), nil, version)
                case .deleteRange(let from, let to):
                    ranges.append((Array(from), Array(to), version))
                    for (key, last) in entries.compactMapValues(\.last) where last.version == version {
                        if EngineChangesTests.isWithin(key, Array(from), Array(to)) { set(key, nil, version) }
                    }
                }
            }
        }

        private mutating func set(_ key: [UInt8], _ value: [UInt8]?, _ version: UInt64) {
            if entries[key]?.last?.version == version { entries[key]!.removeLast() }
            entries[key, default: []].append((version, value))
        }

        func newestRange(over key: [UInt8], at version: UInt64) -> UInt64 {
            ranges.filter { $0.version <= version && EngineChangesTests.isWithin(key, $0.from, $0.to) }
                .map(\.version).max() ?? 0
        }
    }

    /// Compares what is shown with the history.
    static func check(
        _ shown: Shown, _ history: History, _ model: ReferenceModel, since: UInt64, at: UInt64, lower: [UInt8]?,
        upper: [UInt8]?, _ place: String
    ) {
        var found: [[UInt8]: (version: UInt64, value: [UInt8]?)] = [:]
        for entry in shown.keys { found[entry.key] = (entry.version, entry.value) }
        #expect(found.count == shown.keys.count, "\(place): a key is shown twice")
        #expect(
            zip(shown.keys, shown.keys.dropFirst()).allSatisfy { $0.key.lexicographicallyPrecedes($1.key) },
            "\(place): keys ascend")
        for (key, entries) in history.entries {
            let newest = entries.last { $0.version <= at }
            let isChanged = newest.map { $0.version > since } ?? false
            let isHidden = newest.map { history.newestRange(over: key, at: at) > $0.version } ?? false
            guard isWithin(key, lower, upper), let newest, isChanged, !isHidden else {
                #expect(found[key] == nil, "\(place): \(key) did not change and is shown")
                continue
            }
            // A deletion may be forgotten where it hides nothing.
            if newest.value == nil, model.value(key, at: since) == nil, found[key] == nil { continue }
            #expect(found[key]?.version == newest.version, "\(place): the version of \(key)")
            #expect(found[key]?.value == newest.value, "\(place): the value of \(key)")
        }
        for (left, right) in zip(shown.ranges, shown.ranges.dropFirst()) {
            #expect(!right.from.lexicographicallyPrecedes(left.to), "\(place): ranges overlap")
        }
        // Ranges are compared at the keys that any of them begins at, and at those that there are.
        let probes = Set(history.ranges.flatMap { [$0.from, $0.to] } + history.entries.keys)
        for key in probes where isWithin(key, lower, upper) {
            let newest = history.newestRange(over: key, at: at)
            let covering = shown.ranges.first { isWithin(key, $0.from, $0.to) }
            #expect((covering?.version.rawValue ?? 0) == (newest > since ? newest : 0), "\(place): range over \(key)")
        }
        for range in shown.ranges { #expect(isWithin(range.from, lower, upper), "\(place): a range out of bounds") }
        // The promise: the old state and the changes make the new state.
        var state = Dictionary(uniqueKeysWithValues: model.contents(at: since).map { ($0.key, $0.value) })
        for range in shown.ranges {
            state = state.filter { !isWithin($0.key, range.from, range.to) }
        }
        for entry in shown.keys { state[entry.key] = entry.value }
        let expected = model.contents(at: at).filter { isWithin($0.key, lower, upper) }
        let made = state.filter { isWithin($0.key, lower, upper) }
        #expect(
            made == Dictionary(uniqueKeysWithValues: expected.map { ($0.key, $0.value) }),
            "\(place): what the changes make of the old state")
    }

    @Test(arguments: 1...EngineCrashTests.volume(debug: 8, release: 100))
    func theOldStateAndTheChangesSinceMakeTheNewState(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var options = EngineSoak.options(&random)
        options.history = .fromHorizon
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/t", fileSystem: SimulatedFileSystem(seed: UInt64(seed)), options: options,
            background: background)
        var work = Workload(random: random.split())
        var model = ReferenceModel()
        var history = History()
        var horizon: UInt64 = 0
        var pins: [UInt64] = []
        for step in 0..<300 {
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<60:
                let batch = work.batch()
                let version = model.lastVersion + UInt64.random(in: 1...3, using: &random)
                try engine.apply(batch, at: Version(version), mark: model.mark + 1)
                model.apply(batch, version: version, mark: model.mark + 1)
                history.apply(batch, version: version)
            case 60..<75:
                let readable = pins + [horizon, model.lastVersion, (horizon + model.lastVersion) / 2]
                let one = readable.randomElement(using: &random)!
                let other = readable.randomElement(using: &random)!
                let (since, at) = (min(one, other), max(one, other))
                let (from, to) = work.range()
                let lower = random.oneIn(2) ? from : nil
                let upper = random.oneIn(2) ? to : nil
                let isLatest = at == model.lastVersion && random.oneIn(2)
                let iterator = try engine.makeChangeIterator(
                    since: Version(since), lower: lower.map { $0[...] }, upper: upper.map { $0[...] },
                    at: isLatest ? nil : Version(at))
                let shown = try Shown(iterator)
                Self.check(
                    shown, history, model, since: since, at: at, lower: lower, upper: upper,
                    "seed \(seed) step \(step), \(since) to \(at)")
                let target = work.key()
                try iterator.seek(to: target[...])
                let next = shown.keys.first { !$0.key.lexicographicallyPrecedes(target) }?.key
                #expect((iterator.isValid ? Array(iterator.key) : nil) == next, "seed \(seed) step \(step) seek")
            case 75..<79 where model.lastVersion > 0:
                try engine.retain(engine.lastVersion)
                pins.append(model.lastVersion)
            case 79..<80 where !pins.isEmpty:
                engine.release(Version(pins.remove(at: Int.random(in: 0..<pins.count, using: &random))))
            case 80..<82:
                horizon = max(horizon, UInt64.random(in: 0...model.lastVersion, using: &random))
                engine.setHistoryHorizon(Version(horizon))
            case 82..<85: try engine.flush()
            case 85..<87: try engine.compactRange()
            case 87..<98: background.runNext()
            default: background.runAll()
            }
        }
        try engine.close()
    }

    @Test func tablesWithNothingNewerAreNotEvenOpened() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try EngineFaultTests.filled(disk, count: 100)
        var batch = WriteBatch()
        batch.put([1], [2])
        try engine.apply(batch, at: Version(200), mark: 200)
        EngineLookupTests.forbidDisk(disk)
        let shown = try Shown(try engine.makeChangeIterator(since: Version(100)))
        #expect(shown.keys.map(\.key) == [[1]])
        #expect(shown.ranges.isEmpty)
        disk.removeFaults()
        try engine.close()
    }

    @Test func rangeDeletionsAreShownAsRangesWithTheirVersionAndPutsAfterThemStay() throws {
        let engine = try Engine.open(
            directory: "/e", fileSystem: SimulatedFileSystem(seed: 1), options: EngineOptions(),
            background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        for key in 1...9 as ClosedRange<UInt8> { batch.put([key], [key]) }
        try engine.apply(batch, at: Version(1), mark: 1)
        batch = WriteBatch()
        batch.put([5], [50])
        try engine.apply(batch, at: Version(2), mark: 2)
        batch = WriteBatch()
        batch.deleteRange(from: [4], to: [8])
        batch.put([6], [60])
        try engine.apply(batch, at: Version(3), mark: 3)
        batch = WriteBatch()
        batch.delete([1])
        try engine.apply(batch, at: Version(4), mark: 4)
        for isFlushed in [false, true] {
            if isFlushed { try engine.flush() }
            let shown = try Shown(try engine.makeChangeIterator(since: Version(1)))
            #expect(shown.keys.map(\.key) == [[1], [6]], "5 was put, and then deleted with its range")
            #expect(shown.keys.map(\.value) == [nil, [60]])
            #expect(shown.keys.map(\.version) == [4, 3])
            #expect(shown.ranges == [DeletedRange(from: [4], to: [8], version: Version(3))])
            let earlier = try Shown(try engine.makeChangeIterator(since: Version(1), at: Version(2)))
            #expect(earlier.keys.map(\.value) == [[50]])
            #expect(earlier.ranges.isEmpty)
            let part = try engine.makeChangeIterator(since: Version(2), lower: [5], upper: [7])
            #expect(part.deletedRanges == [DeletedRange(from: [5], to: [7], version: Version(3))])
        }
        try engine.close()
    }

    @Test func changesSinceAVersionWhoseHistoryMayBeGoneAreRefused() throws {
        let engine = try EngineFaultTests.filled(SimulatedFileSystem(seed: 1), count: 60)
        try engine.retain(Version(20))
        engine.setHistoryHorizon(Version(40))
        try engine.compactRange()
        #expect {
            _ = try engine.makeChangeIterator(since: Version(10))
        } throws: { ($0 as? StorageError)?.code == .versionTooOld }
        #expect(try Shown(try engine.makeChangeIterator(since: Version(20))).keys.count == 40)
        #expect(try Shown(try engine.makeChangeIterator(since: Version(40))).keys.count == 20)
        #expect {
            _ = try engine.makeChangeIterator(since: Version(50), at: Version(45))
        } throws: { ($0 as? StorageError)?.code == .invalidArgument }
        try engine.close()
    }
}
