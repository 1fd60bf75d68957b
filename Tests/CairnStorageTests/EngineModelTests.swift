import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

@Suite struct EngineModelTests {
    /// Random option sets over the same rules.
    static func options(_ random: inout SeededGenerator) -> EngineOptions {
        var options = EngineOptions.tiny
        options.blockBytes = [64, 256, 1024, 16 << 10].randomElement(using: &random)!
        options.tableBytesMax = max(options.tableBytesMax, options.blockBytes)
        options.restartInterval = [1, 2, 8, 16].randomElement(using: &random)!
        options.compression = random.oneIn(2) ? .snappy : .none
        options.bloomBitsPerKey = random.oneIn(4) ? 0 : 10
        options.level0BloomBitsPerKey = random.oneIn(4) ? 0 : 20
        options.level0Compression = random.oneIn(2) ? .none : .snappy
        options.memtableBytesMax = [2 << 10, 8 << 10, 64 << 10].randomElement(using: &random)!
        options.wal = random.oneIn(4) ? .disabled : .enabled
        options.walCompression = random.oneIn(2) ? .none : .snappy
        options.blockCache = BlockCache(capacityBytes: random.oneIn(3) ? 0 : 64 << 10)
        return options
    }

    @Test(arguments: 1...EngineCrashTests.volume(debug: 5, release: 200))
    func B29_theEngineAnswersLikeASortedMap(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let disk = SimulatedFileSystem(seed: UInt64(seed))
        let background = ManualBackgroundExecutor()
        let options = Self.options(&random)
        if random.oneIn(2) { try disk.encrypt() }
        var engine = try Engine.open(directory: "/t", fileSystem: disk, options: options, background: background)
        var model = ReferenceModel()
        var work = Workload(random: random.split())
        var pins: [UInt64] = []
        var horizon: UInt64 = 0
        /// Iterators that stay open, with what they must show to the end.
        var open: [(iterator: EngineIterator, contents: [(key: [UInt8], value: [UInt8])])] = []

        func readable() -> [UInt64] {
            pins + (horizon <= model.lastVersion ? [model.lastVersion, max(1, horizon)] : [model.lastVersion])
        }
        func check(_ what: String) throws {
            let version = readable().randomElement(using: &random)!
            guard version > 0 else { return }
            let difference = try difference(
                try engine.makeIterator(at: Version(version)), model.contents(at: version))
            #expect(difference == nil, "seed \(seed), after \(what), at version \(version)")
        }

        for step in 0..<350 {
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<60:
                let batch = work.batch()
                let version = model.lastVersion + UInt64.random(in: 1...3, using: &random)
                try engine.apply(
                    batch, at: Version(version), mark: model.mark + 1, durability: random.oneIn(8) ? .synced : .buffered
                )
                model.apply(batch, version: version, mark: model.mark + 1)
            case 60..<75:
                let key = work.key()
                let version = readable().randomElement(using: &random)!
                if version > 0 {
                    let got = try engine.get(key, at: Version(version)).map { Array($0) }
                    #expect(got == model.value(key, at: version), "seed \(seed) step \(step) key \(key) at \(version)")
                }
                let latest = try engine.get(key).map { Array($0) }
                #expect(latest == model.value(key, at: model.lastVersion), "seed \(seed) step \(step) key \(key)")
            case 75..<80: try walk(engine, model, readable(), &work, &random, seed)
            case 80..<83: try check("step \(step)")
            case 83..<85 where open.count < 3 && model.lastVersion > 0:
                let iterator = try engine.makeIterator()
                open.append((iterator, model.contents(at: model.lastVersion)))
            case 85..<86 where !open.isEmpty:
                let (iterator, contents) = open.removeFirst()
                let difference = try difference(iterator, contents)
                #expect(difference == nil, "seed \(seed) step \(step), an old iterator")
            case 86..<88 where model.lastVersion > 0:
                try engine.retain(engine.lastVersion)
                pins.append(model.lastVersion)
            case 88..<89 where !pins.isEmpty:
                engine.release(Version(pins.remove(at: Int.random(in: 0..<pins.count, using: &random))))
            case 89..<90:
                horizon = max(horizon, UInt64.random(in: 0...model.lastVersion, using: &random))
                engine.setHistoryHorizon(Version(horizon))
            case 90..<92: try engine.flush()
            case 92..<93:
                let (from, to) = work.range()
                try engine.compactRange(from: random.oneIn(2) ? nil : from[...], to: random.oneIn(2) ? nil : to[...])
                try check("compacting at step \(step)")
            case 93..<97: background.runNext()
            case 97..<98: background.runAll()
            case 98..<99:
                let target = "/checkpoint-\(step)"
                let mark = try engine.checkpoint(into: target)
                #expect(mark == model.mark)
                let copy = try Engine.open(
                    directory: target, fileSystem: disk, options: options, background: background)
                #expect(copy.mark == mark)
                let difference = try difference(try copy.makeIterator(), model.contents(at: model.lastVersion))
                #expect(difference == nil, "seed \(seed) step \(step), a checkpoint")
                try copy.close()
            case 99..<100 where open.isEmpty:
                try engine.close()
                engine = try Engine.open(directory: "/t", fileSystem: disk, options: options, background: background)
                pins = []
                horizon = max(horizon, engine.historyHorizon.rawValue)
                #expect(engine.mark == model.mark, "seed \(seed) step \(step)")
                #expect(engine.lastVersion.rawValue == model.lastVersion)
                try check("reopening at step \(step)")
            default: break
            }
        }
        for (iterator, contents) in open {
            let difference = try difference(iterator, contents)
            #expect(difference == nil, "seed \(seed), an iterator at the end")
        }
        background.runAll()
        try check("all")
        try engine.verify()
        try engine.close()
    }

    /// Seeks, and steps that change their direction, against the same steps over an array.
    private func walk(
        _ engine: Engine, _ model: ReferenceModel, _ versions: [UInt64], _ work: inout Workload,
        _ random: inout SeededGenerator, _ seed: Int
    ) throws {
        let version = versions.randomElement(using: &random)!
        guard version > 0 else { return }
        let (from, to) = work.range()
        let lower = random.oneIn(2) ? from : nil
        let upper = random.oneIn(2) ? to : nil
        let contents = model.contents(at: version).filter { entry in
            !(lower.map { entry.key.lexicographicallyPrecedes($0) } ?? false)
                && (upper.map { entry.key.lexicographicallyPrecedes($0) } ?? true)
        }
        let iterator = try engine.makeIterator(
            lower: lower.map { $0[...] }, upper: upper.map { $0[...] }, at: Version(version))
        var place: Int? = nil
        for step in 0..<30 {
            let what: String
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                let key = work.key()
                what = "seek \(key)"
                try iterator.seek(to: key[...])
                place = contents.firstIndex { !$0.key.lexicographicallyPrecedes(key) }
            case 1:
                let key = work.key()
                what = "seekForPrev \(key)"
                try iterator.seekForPrev(key[...])
                place = contents.lastIndex { !key.lexicographicallyPrecedes($0.key) }
            case 2:
                what = "first"
                try iterator.seekToFirst()
                place = contents.isEmpty ? nil : 0
            case 3:
                what = "last"
                try iterator.seekToLast()
                place = contents.indices.last
            case 4, 5:
                what = "next"
                guard let here = place else { continue }
                try iterator.next()
                place = here + 1 < contents.count ? here + 1 : nil
            default:
                what = "previous"
                guard let here = place else { continue }
                try iterator.previous()
                place = here > 0 ? here - 1 : nil
            }
            #expect(
                iterator.isValid == (place != nil),
                "seed \(seed) step \(step) \(what), \(lower as Any)..<\(upper as Any)")
            guard let place, iterator.isValid else { return }
            #expect(Array(iterator.key) == contents[place].key, "seed \(seed) step \(step) \(what)")
            #expect(Array(iterator.value) == contents[place].value, "seed \(seed) step \(step) \(what)")
        }
    }
}
