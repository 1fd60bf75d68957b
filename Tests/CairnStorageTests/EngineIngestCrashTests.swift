import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Power cuts and failing calls at every step of ingesting: all of it is there afterwards or nothing, and no file of it.
@Suite struct EngineIngestCrashTests {
    /// An engine with tables and, unless all is flushed, with batches in memory, and two tables to ingest.
    struct Scene {
        let disk: SimulatedFileSystem
        let engine: Engine
        let tables: [SortedTable]
        /// By mark; the last one is after ingesting.
        let states: [ReferenceModel]
        let flushed: UInt64

        init(seed: UInt64, isFlushed: Bool = false) throws {
            disk = SimulatedFileSystem(seed: seed)
            var options = EngineOptions.tiny
            options.disablesAutomaticCompaction = true
            engine = try EngineIngestTests.open(disk, options)
            var work = Workload(random: SeededGenerator(seed: 5), keyCount: 60)
            var states = [ReferenceModel()]
            for number in 1...UInt64(20) {
                let batch = work.batch()
                try engine.apply(batch, at: Version(number), mark: number)
                var model = states.last!
                model.apply(batch, version: number, mark: number)
                states.append(model)
                if number == 12 { try engine.compactRange() }
            }
            if isFlushed { try engine.flush() }
            flushed = engine.durableMark
            var low: [[UInt8]: [UInt8]?] = [:]
            var high: [[UInt8]: [UInt8]?] = [:]
            for _ in 0..<60 {
                let key = work.key()
                let value = work.value().count % 3 == 0 ? nil : Optional(work.value())
                if key.lexicographicallyPrecedes([0x61]) { low[key] = .some(value) } else { high[key] = .some(value) }
            }
            let range: (from: [UInt8], to: [UInt8]) = ([0x61, 0x61], [0x61, 0x61, 0x61, 0x61])
            tables = [
                try EngineIngestTests.table(disk, "low", version: 30, low),
                try EngineIngestTests.table(disk, "high", version: 30, high, ranges: [range]),
            ]
            var model = states.last!
            model.apply(
                EngineIngestTests.batch(low.merging(high) { one, _ in one }, ranges: [range]), version: 30, mark: 21)
            states.append(model)
            self.states = states
        }

        func difference(_ engine: Engine) throws -> String? {
            let model = states[Int(engine.mark)]
            return try CairnStorageTests.difference(try engine.makeIterator(), model.contents(at: model.lastVersion))
        }
    }

    /// With nothing in memory no flush syncs the directory on the way.
    @Test(arguments: [false, true])
    func afterAPowerCutAtAnyOperationAllOfItIsThereOrNothing(isFlushed: Bool) throws {
        let whole = try Scene(seed: 1, isFlushed: isFlushed)
        let before = whole.disk.operationCount
        try whole.engine.ingest(whole.tables, mark: 21, moving: true)
        let operations = whole.disk.operationCount - before
        #expect(operations >= 7, "two links, a sync of the directory, an edit and its sync, two removals")
        #expect(try whole.difference(whole.engine) == nil)
        var withIt = 0
        for cut in 0...operations {
            for seed in 1...EngineCrashTests.volume(debug: 6, release: 40) {
                let scene = try Scene(seed: UInt64(seed), isFlushed: isFlushed)
                scene.disk.cutPower(afterOperations: cut)
                var isDone = false
                do {
                    try scene.engine.ingest(scene.tables, mark: 21, moving: true)
                    isDone = true
                } catch {}
                scene.disk.restart()
                let engine = try EngineIngestTests.open(scene.disk)
                let place = "cut \(cut) of \(operations), seed \(seed), flushed \(isFlushed)"
                #expect(engine.mark >= (isDone ? 21 : scene.flushed), "\(place): found mark \(engine.mark)")
                #expect(engine.lastVersion.rawValue == scene.states[Int(engine.mark)].lastVersion, "\(place)")
                let difference = try scene.difference(engine)
                #expect(difference == nil, "\(place), at mark \(engine.mark)")
                try EngineIngestTests.expectNoStrayTable(scene.disk, engine, place)
                if engine.mark == 21 { withIt += 1 }
                try engine.verify()
                try engine.close()
            }
        }
        #expect(withIt > 0)
    }

    @Test func aCallThatFailsLeavesTheTreeAsItWasAndNoFile() throws {
        let kinds: [(FileError.Operation, FileError.Code)] = [
            (.link, .io), (.link, .outOfSpace), (.write, .outOfSpace), (.write, .io), (.create, .outOfSpace),
            (.synchronizeDirectory, .io), (.synchronizeDirectory, .outOfSpace), (.synchronize, .io), (.read, .io),
            (.rename, .outOfSpace),
        ]
        var retried = 0
        for (operation, code) in kinds {
            for nth in 1...8 {
                let scene = try Scene(seed: 3)
                let place = "\(operation) \(code) \(nth)"
                let fault = scene.disk.inject(DiskFault(.error(code), on: operation, nth: nth))
                var failure: StorageError?
                do throws(StorageError) { try scene.engine.ingest(scene.tables, mark: 21) } catch { failure = error }
                scene.disk.remove(fault: fault)
                #expect(scene.engine.mark == (failure == nil ? 21 : 20), "\(place)")
                let difference = try scene.difference(scene.engine)
                #expect(difference == nil, "\(place): \(difference ?? "")")
                guard let failure else { break }
                #expect(try scene.disk.exists("/in/low") && scene.disk.exists("/in/high"), "\(place)")
                if failure.code != .failed {
                    retried += 1
                    try scene.engine.ingest(scene.tables, mark: 21)
                    #expect(try scene.difference(scene.engine) == nil, "\(place), again")
                    try scene.engine.close()
                }
                scene.disk.killProcess()
                let engine = try EngineIngestTests.open(scene.disk)
                #expect(engine.mark >= 20, "\(place)")
                #expect(try scene.difference(engine) == nil, "\(place), reopened")
                try EngineIngestTests.expectNoStrayTable(scene.disk, engine, place)
                try engine.close()
            }
        }
        #expect(retried > 10)
    }
}
