import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Power cuts, dead processes and failing disks. What holds after each: the engine opens, shows a prefix of the batches
/// that reaches at least to what was promised, and none of them half.
@Suite struct EngineCrashTests {
    /// The same operations each time, so that the n-th operation of the disk is the same one.
    struct Script {
        var states: [ReferenceModel] = [ReferenceModel()]
        var batches: [WriteBatch] = []
        var synced: Set<Int> = []

        init(seed: UInt64, count: Int) {
            var random = SeededGenerator(seed: seed)
            var work = Workload(random: random.split(), keyCount: 40)
            for number in 1...count {
                let batch = work.batch()
                batches.append(batch)
                if random.oneIn(6) { synced.insert(number) }
                var model = states.last!
                model.apply(batch, version: UInt64(number) * 2, mark: UInt64(number))
                states.append(model)
            }
        }
    }

    /// A debug build plays a few seconds' worth of what a release build plays in full.
    static func volume(debug: Int, release: Int) -> Int {
        #if DEBUG
            debug
        #else
            release
        #endif
    }

    static var options: EngineOptions {
        var options = EngineOptions.tiny
        options.memtableBytesMax = 3 << 10
        return options
    }

    /// Runs the script until it ends or the power goes.
    ///
    /// - Returns: the last mark that was promised, and the last one that was tried.
    static func run(
        _ script: Script, from start: Int, on disk: SimulatedFileSystem, options: EngineOptions
    ) -> (promised: UInt64, issued: UInt64) {
        let background = ManualBackgroundExecutor()
        var promised: UInt64 = 0
        var issued = UInt64(start)
        defer { background.discardAll() }
        do {
            let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            promised = engine.durableMark
            issued = engine.mark
            for number in (Int(engine.mark) + 1)..<(script.batches.count + 1) {
                issued = UInt64(number)
                try engine.apply(
                    script.batches[number - 1], at: Version(UInt64(number) * 2), mark: UInt64(number),
                    durability: script.synced.contains(number) ? .synced : .buffered)
                if script.synced.contains(number) {
                    guard engine.durableMark >= UInt64(number) else {
                        Issue.record("synced and not durable")
                        break
                    }
                }
                promised = max(promised, engine.durableMark)
                if number % 9 == 0 { engine.setHistoryHorizon(Version(UInt64(number))) }
                if number % 2 == 0 { background.runNext() }
                if number % 31 == 0 { background.runAll() }
                promised = max(promised, engine.durableMark)
            }
            try engine.close()
            promised = engine.mark
        } catch {}
        return (promised, issued)
    }

    /// Opens what is left and compares it.
    static func check(
        _ disk: SimulatedFileSystem, _ script: Script, _ outcome: (promised: UInt64, issued: UInt64),
        options: EngineOptions, _ place: String
    ) throws -> UInt64 {
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        let mark = engine.mark
        #expect(mark >= outcome.promised, "\(place): promised \(outcome.promised), found \(mark)")
        #expect(mark <= outcome.issued, "\(place): issued \(outcome.issued), found \(mark)")
        #expect(engine.durableMark == mark, "\(place): what is shown after recovery is durable")
        let expected = script.states[Int(mark)].contents(at: mark * 2)
        let difference = try difference(try engine.makeIterator(), expected)
        #expect(difference == nil, "\(place), at mark \(mark)")
        if difference != nil { print(place, disk.trace.suffix(30)) }
        try engine.close()
        background.runAll()
        return mark
    }

    @Test func B09_afterAPowerCutAtAnyOperationWhatWasPromisedIsThere() throws {
        let script = Script(seed: 11, count: 260)
        let whole = SimulatedFileSystem(seed: 1)
        _ = Self.run(script, from: 0, on: whole, options: Self.options)
        let operations = whole.operationCount
        #expect(operations > 500, "flushes and compactions took part")
        for cut in stride(from: 0, to: operations, by: max(1, operations / Self.volume(debug: 24, release: operations)))
        {
            let disk = SimulatedFileSystem(seed: UInt64(cut) + 1000)
            disk.cutPower(afterOperations: cut)
            let outcome = Self.run(script, from: 0, on: disk, options: Self.options)
            disk.restart()
            _ = try Self.check(disk, script, outcome, options: Self.options, "cut \(cut) of \(operations)")
        }
    }

    @Test func B08_recoveryThatIsCutAgainAndAgainLosesNothing() throws {
        let script = Script(seed: 12, count: 60)
        var options = Self.options
        options.memtableBytesMax = 64 << 10
        for first in stride(from: 40, to: 200, by: Self.volume(debug: 70, release: 11)) {
            let disk = SimulatedFileSystem(seed: UInt64(first))
            disk.cutPower(afterOperations: first)
            let outcome = Self.run(script, from: 0, on: disk, options: options)
            disk.restart()
            for cut in stride(from: 0, to: 40, by: Self.volume(debug: 5, release: 1)) {
                let again = disk.copy(seed: UInt64(cut))
                again.cutPower(afterOperations: cut)
                _ = try? Engine.open(
                    directory: "/e", fileSystem: again, options: options, background: ManualBackgroundExecutor())
                again.restart()
                var shown = outcome
                // The second recovery shows what the first one showed, if that came to an end.
                shown.promised = max(
                    shown.promised, try Self.check(again, script, shown, options: options, "\(first), \(cut)"))
                again.cutPower()
                again.restart()
                _ = try Self.check(again, script, shown, options: options, "\(first), \(cut), third")
            }
        }
    }

    @Test func B01_whatAProcessWroteBeforeItDiedIsThereWithoutASync() throws {
        let script = Script(seed: 13, count: 150)
        for count in stride(from: 10, to: 150, by: 20) {
            let disk = SimulatedFileSystem(seed: 5)
            let background = ManualBackgroundExecutor()
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: Self.options, background: background)
            for number in 1...count {
                try engine.apply(script.batches[number - 1], at: Version(UInt64(number) * 2), mark: UInt64(number))
                if number % 3 == 0 { background.runNext() }
            }
            background.discardAll()
            disk.killProcess()
            let mark = UInt64(count)
            _ = try Self.check(disk, script, (mark, mark), options: Self.options, "killed after \(count)")
        }
    }

    @Test func B01_aTailCutAtAnyByteEndsTheLog() throws {
        let script = Script(seed: 14, count: 20)
        var options = EngineOptions()
        options.blockCache = BlockCache(capacityBytes: 0)
        let disk = SimulatedFileSystem(seed: 3)
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        for number in 1...20 {
            try engine.apply(script.batches[number - 1], at: Version(UInt64(number) * 2), mark: UInt64(number))
        }
        disk.killProcess()
        let name = try disk.list("/e").first { $0.hasSuffix(".wal") }!
        let size = Int(try disk.size(of: "/e/" + name))
        for length in stride(from: RecordLogHeader.byteCount, to: size, by: Self.volume(debug: 67, release: 1)) {
            let copy = disk.copy(seed: 1)
            try copy.cut("/e/" + name, to: length)
            _ = try Self.check(copy, script, (0, 20), options: options, "cut to \(length) bytes")
        }
    }

    @Test func B02_damageBeforeSyncedRecordsIsAnErrorThatNamesThePlace() throws {
        let disk = SimulatedFileSystem(seed: 3)
        let script = Script(seed: 15, count: 12)
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
        for number in 1...12 {
            try engine.apply(
                script.batches[number - 1], at: Version(UInt64(number) * 2), mark: UInt64(number), durability: .synced)
        }
        disk.killProcess()
        let name = "/e/" + (try disk.list("/e").first { $0.hasSuffix(".wal") }!)
        let bytes = try disk.contents(of: name)
        // The last record may be a torn tail; the others were on the disk when it was written.
        let lastRecord = bytes.count - 200
        var random = SeededGenerator(seed: 4)
        for _ in 0..<60 {
            let copy = disk.copy(seed: 1)
            let byte = Int.random(in: 48..<max(49, lastRecord / 2), using: &random)
            try copy.flipBit(Int.random(in: 0..<8, using: &random), ofByte: byte, in: name)
            // Zeros that fill up after a record carry nothing; a flip there is harmless.
            do {
                _ = try Self.check(copy, script, (12, 12), options: EngineOptions(), "byte \(byte)")
            } catch let error as StorageError {
                #expect(
                    error.code == .corruption && error.file == name && error.offset != nil, "byte \(byte): \(error)")
            }
        }
    }

    @Test func B03_aLostSegmentBeforeSyncedOnesIsAnErrorNotAGap() throws {
        let disk = SimulatedFileSystem(seed: 3)
        var options = EngineOptions()
        options.memtableBytesMax = 2 << 10
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        for number in 1...60 {
            var batch = WriteBatch()
            batch.put("k\(number)".utf8, Array(repeating: 1, count: 100))
            try engine.apply(batch, at: Version(UInt64(number)), mark: UInt64(number), durability: .buffered)
        }
        try engine.synchronizeLog(through: 60)
        var last = WriteBatch()
        last.put("last".utf8, [1])
        try engine.apply(last, at: Version(61), mark: 61, durability: .buffered)
        disk.killProcess()
        let segments = try disk.list("/e").filter { $0.hasSuffix(".wal") }
        #expect(segments.count > 1)
        // The older segment loses its second half, which was synced before the last record was written.
        let path = "/e/" + segments[0]
        let bytes = try disk.contents(of: path)
        try disk.overwrite(Array(repeating: 0, count: bytes.count / 2), at: bytes.count / 2, in: path)
        #expect {
            _ = try Engine.open(
                directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        } throws: { error in
            (error as? StorageError)?.code == .corruption
        }
    }

    @Test func B05_anUnsyncedBatchInAnOlderSegmentComesBeforeASyncedOneInANewer() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            var options = EngineOptions()
            options.memtableBytesMax = 2 << 10
            options.frozenMemtablesMax = 8
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
            for number in 1...20 {
                var batch = WriteBatch()
                batch.put("k\(number)".utf8, Array(repeating: 7, count: 300))
                try engine.apply(
                    batch, at: Version(UInt64(number)), mark: UInt64(number),
                    durability: number == 20 ? .synced : .buffered)
            }
            #expect(engine.statistics.frozenMemtables > 0)
            disk.cutPower()
            disk.restart()
            let again = try Engine.open(
                directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
            #expect(again.mark == 20, "seed \(seed)")
            for number in 1...20 { #expect(try again.get(Array("k\(number)".utf8)) != nil, "seed \(seed)") }
        }
    }

    @Test(arguments: [DiskFault.Effect.error(.outOfSpace), .error(.io), .shortWrite])
    func B06_aFailedAppendLeavesNothingBehind(effect: DiskFault.Effect) throws {
        let disk = SimulatedFileSystem(seed: 8)
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: EngineOptions(), background: background)
        func put(_ number: UInt64, mark: UInt64) throws {
            var batch = WriteBatch()
            batch.put("k\(number)".utf8, [UInt8(number)])
            try engine.apply(batch, at: Version(number), mark: mark, durability: .synced)
        }
        try put(1, mark: 1)
        let fault = disk.inject(DiskFault(effect, on: .write, pathContains: ".wal"))
        #expect(throws: StorageError.self) { try put(2, mark: 2) }
        disk.remove(fault: fault)
        #expect(try engine.get(Array("k2".utf8)) == nil)
        try put(3, mark: 2)
        disk.cutPower()
        disk.restart()
        let again = try Engine.open(
            directory: "/e", fileSystem: disk, options: EngineOptions(), background: background)
        #expect(again.mark == 2)
        #expect(try again.get(Array("k1".utf8)) == [1])
        #expect(try again.get(Array("k2".utf8)) == nil)
        #expect(try again.get(Array("k3".utf8)) == [3])
    }

    @Test func B07_afterAFailedSyncNothingIsWrittenAnyMore() throws {
        for path in [".wal", ".sst", "MANIFEST"] {
            let disk = SimulatedFileSystem(seed: 8)
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
            var batch = WriteBatch()
            batch.put([1], [1])
            try engine.apply(batch, at: Version(1), mark: 1, durability: .synced)
            disk.inject(DiskFault(.error(.io), on: .synchronize, pathContains: path, nth: 1))
            var thrown: StorageError?
            do throws(StorageError) {
                batch.put([2], [2])
                try engine.apply(batch, at: Version(2), mark: 2, durability: .synced)
                try engine.flush()
            } catch {
                thrown = error
            }
            #expect(thrown?.code == .failed, "\(path)")
            // A second sync that succeeds proves nothing.
            #expect {
                try engine.apply(batch, at: Version(3), mark: 3, durability: .synced)
            } throws: { ($0 as? StorageError)?.code == .failed }
            #expect(engine.durableMark < 3)
            // Closing says that not all of it could be kept.
            if engine.durableMark < engine.mark { #expect(throws: StorageError.self) { try engine.close() } }
            disk.cutPower()
            disk.restart()
            let again = try Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
            #expect(again.mark >= 1)
            #expect(try again.get([1]) == [1])
        }
    }

    @Test func B12_afterAFailedManifestAppendAFreshManifestGoesOn() throws {
        let script = Script(seed: 21, count: 120)
        for nth in 1...8 {
            let disk = SimulatedFileSystem(seed: UInt64(nth))
            let background = ManualBackgroundExecutor()
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: Self.options, background: background)
            let fault = disk.inject(
                DiskFault(
                    nth % 2 == 0 ? .shortWrite : .error(.outOfSpace), on: .write, pathContains: "MANIFEST", nth: nth,
                    lasts: nth > 3))
            for number in 1...120 {
                try engine.apply(script.batches[number - 1], at: Version(UInt64(number) * 2), mark: UInt64(number))
                background.runNext()
                if number == 80 { disk.remove(fault: fault) }
            }
            try engine.flush()
            #expect(engine.durableMark == 120)
            background.discardAll()
            disk.cutPower()
            disk.restart()
            _ = try Self.check(disk, script, (120, 120), options: Self.options, "failure \(nth)")
        }
    }

    @Test func B16_aFullDiskStopsNoReadAndIsForgottenOnceThereIsRoom() throws {
        let script = Script(seed: 22, count: 200)
        for nth in stride(from: 1, to: 40, by: Self.volume(debug: 9, release: 1)) {
            let disk = SimulatedFileSystem(seed: UInt64(nth))
            let background = ManualBackgroundExecutor()
            var options = Self.options
            options.wal = .disabled
            let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            var full: Int?
            for number in 1...200 {
                if number == 60 {
                    full = disk.inject(DiskFault(.error(.outOfSpace), on: .write, nth: nth, lasts: true))
                }
                if number == 140, let id = full { disk.remove(fault: id) }
                try engine.apply(script.batches[number - 1], at: Version(UInt64(number) * 2), mark: UInt64(number))
                background.runNext()
                if number == 130, disk.operationCount > 0 {
                    #expect(engine.writePressure > 0 || engine.statistics.backgroundError == nil, "pressure shows")
                }
            }
            guard !engine.hasFailed.load(ordering: .relaxed) else { continue }
            background.runAll()
            try engine.flush()
            #expect(engine.durableMark == 200, "failure \(nth)")
            let difference = try difference(try engine.makeIterator(), script.states[200].contents(at: 400))
            #expect(difference == nil, "failure \(nth)")
            background.discardAll()
            disk.cutPower()
            disk.restart()
            _ = try Self.check(disk, script, (200, 200), options: options, "failure \(nth)")
        }
    }
}
