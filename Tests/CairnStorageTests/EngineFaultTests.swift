import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Damage at rest, files in the wrong place, other formats, and what compactions may forget.
@Suite struct EngineFaultTests {
    static func filled(
        _ disk: SimulatedFileSystem, _ options: EngineOptions = EngineOptions(), count: Int = 400
    ) throws -> Engine {
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        for number in 1...count {
            var batch = WriteBatch()
            batch.put(key(number), Array(repeating: UInt8(number & 0xFF), count: 40))
            if number % 50 == 0 { batch.deleteRange(from: Array("x".utf8), to: Array("y".utf8)) }
            try engine.apply(batch, at: Version(UInt64(number)), mark: UInt64(number))
        }
        try engine.flush()
        return engine
    }

    static func key(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }

    static func files(_ disk: SimulatedFileSystem, _ suffix: String) throws -> [String] {
        try disk.list("/e").filter { $0.hasSuffix(suffix) }.map { "/e/" + $0 }
    }

    @Test func B17_aSecondOpenerIsRefused() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try Self.filled(disk)
        let names = try disk.list("/e")
        #expect {
            _ = try Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
        } throws: { ($0 as? StorageError)?.code == .locked }
        #expect(try disk.list("/e") == names)
        try engine.close()
    }

    @Test func B18_anUnknownFormatIsRefusedByNameAndNothingIsTouched() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try Self.filled(disk).close()
        let table = try Self.files(disk, ".sst")[0]
        let size = Int(try disk.size(of: table))
        let other = disk.copy(seed: 2)
        try other.overwrite([3, 0, 0, 0], at: size - 16, in: table)
        let engine = try Engine.open(
            directory: "/e", fileSystem: other, options: EngineOptions(), background: ManualBackgroundExecutor())
        #expect {
            _ = try engine.get(Self.key(1))
        } throws: { error in
            let error = error as? StorageError
            return error?.code == .unsupportedFormat && error?.file == table && error?.message == "table format 3"
        }
        // The manifest: its record is written anew with a format of the future.
        let manifest = try disk.list("/e").first { $0.hasPrefix("MANIFEST") }!
        let reader = try RecordLogReader("/e/" + manifest, kind: Manifest.kind, in: disk)
        try disk.remove("/e/" + manifest)
        var writer = try RecordLogWriter.create("/e/" + manifest, header: reader.header, in: disk)
        try writer.append([9, 1, 2, 3])
        try writer.synchronize()
        try writer.close()
        let before = try disk.list("/e").map { try disk.contents(of: "/e/" + $0) }
        #expect {
            _ = try Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
        } throws: { error in
            let error = error as? StorageError
            return error?.code == .unsupportedFormat && error?.message == "manifest format 9"
        }
        #expect(try disk.list("/e").map { try disk.contents(of: "/e/" + $0) } == before)
    }

    @Test func B10_dataWithoutCURRENTIsNotTakenForANewEngine() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try Self.filled(disk).close()
        try disk.remove("/e/CURRENT")
        #expect {
            _ = try Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
        } throws: { ($0 as? StorageError)?.code == .corruption }
        #expect {
            var options = EngineOptions()
            options.createIfMissing = false
            _ = try Engine.open(
                directory: "/none", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        } throws: { ($0 as? StorageError)?.code == .notFound }
    }

    @Test func B28_aFlippedBitAnywhereInATableIsFoundAndNeverAnswersNotFound() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions()
        options.blockBytes = 512
        options.blockCache = BlockCache(capacityBytes: 0)
        try Self.filled(disk, options, count: 100).close()
        let table = try Self.files(disk, ".sst")[0]
        let size = Int(try disk.size(of: table))
        var found = 0
        for byte in stride(from: 0, to: size, by: EngineCrashTests.volume(debug: 11, release: 1)) {
            let copy = disk.copy(seed: 1)
            try copy.flipBit(byte % 8, ofByte: byte, in: table)
            let engine = try Engine.open(
                directory: "/e", fileSystem: copy, options: options, background: ManualBackgroundExecutor())
            var isDetected = false
            do throws(StorageError) { try engine.verify() } catch {
                isDetected = error.code == .corruption || error.code == .unsupportedFormat
                #expect(error.file == table)
            }
            for number in [1, 37, 100] {
                do throws(StorageError) {
                    let value = try engine.get(Self.key(number))
                    #expect(value == ArraySlice(repeating: UInt8(number), count: 40), "byte \(byte)")
                } catch { isDetected = true }
            }
            if isDetected {
                found += 1
            } else {
                // Only the properties block, a copy of what the manifest says, and its handle are not read here.
                #expect(byte > size - TableFooter.byteCount - 400, "byte \(byte) of \(size)")
            }
        }
        #expect(found > 0)
    }

    @Test func B28_aGoodTableInTheWrongPlaceIsABadTable() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions()
        options.disablesAutomaticCompaction = true
        let engine = try Self.filled(disk, options, count: 50)
        var batch = WriteBatch()
        batch.put([1], [1])
        try engine.apply(batch, at: Version(1000), mark: 1000)
        try engine.flush()
        try engine.close()
        let tables = try Self.files(disk, ".sst")
        #expect(tables.count == 2)
        let bytes = try disk.contents(of: tables[1])
        try disk.cut(tables[0], to: bytes.count)
        try disk.overwrite(bytes, at: 0, in: tables[0])
        // The manifest knows the size; where it is the same, the file id tells.
        #expect {
            let engine = try Engine.open(
                directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
            _ = try engine.get(Self.key(1))
        } throws: { ($0 as? StorageError)?.code == .corruption }
        try disk.remove(tables[1])
        #expect {
            _ = try Engine.open(
                directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        } throws: { ($0 as? StorageError)?.code == .corruption }
    }

    @Test func B23_aCompactionThatCannotReadAnInputFailsWhole() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        options.blockCache = BlockCache(capacityBytes: 0)
        let engine = try Self.filled(disk, options)
        let tables = engine.statistics.levels.map(\.tables)
        for nth in 1...12 {
            let fault = disk.inject(DiskFault(.error(.io), on: .read, pathContains: ".sst", nth: nth, lasts: true))
            #expect(throws: StorageError.self) { try engine.compactRange() }
            disk.remove(fault: fault)
            for number in [1, 200, 400] { #expect(try engine.get(Self.key(number)) != nil) }
        }
        #expect(engine.statistics.levels[0].tables == tables[0])
        try engine.compactRange()
        #expect(engine.statistics.levels[0].tables == 0)
        for number in 1...400 { #expect(try engine.get(Self.key(number)) != nil) }
        try engine.close()
    }

    @Test func B19_aDeletionGoesOnlyWhereNothingOlderIsLeftBelow() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        batch.put([1], [1])
        try engine.apply(batch, at: Version(1), mark: 1)
        try engine.compactRange()
        try engine.retain(Version(1))
        batch = WriteBatch()
        batch.delete([1])
        try engine.apply(batch, at: Version(2), mark: 2)
        try engine.flush()
        engine.setHistoryHorizon(Version(2))
        try engine.compactRange()
        #expect(try engine.get([1]) == nil)
        #expect(try engine.get([1], at: Version(1)) == [1])
        engine.release(Version(1))
        try engine.compactRange()
        #expect(engine.statistics.levels.map(\.tables).reduce(0, +) == 0, "nothing is left of it")
        #expect(try engine.get([1]) == nil)
        #expect { _ = try engine.get([1], at: Version(1)) } throws: { ($0 as? StorageError)?.code == .versionTooOld }
        #expect { try engine.retain(Version(1)) } throws: { ($0 as? StorageError)?.code == .versionTooOld }
        try engine.close()
    }

    @Test func B22_aDroppedRangeStaysEmptyTakesNewKeysAndGivesItsRoomBack() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: .tiny, background: background)
        var mark: UInt64 = 0
        func apply(_ change: (inout WriteBatch) -> Void) throws {
            var batch = WriteBatch()
            change(&batch)
            mark += 1
            try engine.apply(batch, at: Version(mark), mark: mark)
            background.runAll()
        }
        for number in 0..<300 {
            try apply { $0.put([0, UInt8(number % 3), UInt8(number / 3)], Array(repeating: 1, count: 100)) }
        }
        let old = try engine.makeIterator()
        try apply { $0.deleteRange(from: [0, 1], to: [0, 2]) }
        try apply { $0.put([0, 1, 5], [9]) }
        let iterator = try engine.makeIterator(lower: [0, 1], upper: [0, 2])
        try iterator.seekToFirst()
        #expect(iterator.isValid && iterator.key == [0, 1, 5])
        try iterator.next()
        #expect(!iterator.isValid)
        try old.seek(to: [0, 1, 4])
        #expect(old.isValid && old.key == [0, 1, 4], "an older reader sees what was there")
        let before = engine.statistics.levels.reduce(0) { $0 + $1.bytes }
        engine.setHistoryHorizon(engine.lastVersion)
        try engine.compactRange()
        let tables = engine.view.withLock { $0.tables.all }
        #expect(tables.allSatisfy { $0.description.rangeTombstones == 0 })
        #expect(tables.reduce(0) { $0 + $1.description.entries } == 201)
        #expect(engine.statistics.levels.reduce(0) { $0 + $1.bytes } < before)
        #expect(try engine.get([0, 1, 4]) == nil)
        #expect(try engine.get([0, 1, 5]) == [9])
        #expect(try engine.get([0, 2, 4]) != nil)
        try engine.close()
    }

    @Test func B14_filesGoWithTheirLastReaderAndOrphansAtTheNextOpening() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ManualBackgroundExecutor()
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        for number in 1...100 {
            var batch = WriteBatch()
            batch.put(Self.key(number % 20), Array(repeating: UInt8(number), count: 100))
            try engine.apply(batch, at: Version(UInt64(number)), mark: UInt64(number))
        }
        try engine.flush()
        var iterator: EngineIterator? = try engine.makeIterator()
        try iterator!.seekToFirst()
        let read = try Set(Self.files(disk, ".sst"))
        engine.setHistoryHorizon(Version(100))
        try engine.compactRange()
        background.runAll()
        #expect(try Set(Self.files(disk, ".sst")).isSuperset(of: read))
        var count = 0
        while iterator!.isValid {
            count += 1
            try iterator!.next()
        }
        #expect(count == 20)
        iterator = nil
        background.runAll()
        #expect(try Set(Self.files(disk, ".sst")).isDisjoint(with: read))
        try disk.create("/e/000999.sst").close()
        try disk.create("/e/001000.wal.new").close()
        try engine.close()
        let again = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        #expect(try !disk.exists("/e/000999.sst") && !disk.exists("/e/001000.wal.new"))
        #expect(again.makeFileNumber() > 999, "a number is never used twice")
        try again.close()
    }

    @Test(arguments: [FileError.Operation.create, .write, .synchronize, .rename, .synchronizeDirectory])
    func B11_whateverFailsWhileCURRENTIsSwitchedOneGoodManifestRemains(operation: FileError.Operation) throws {
        for nth in 1...3 {
            let disk = SimulatedFileSystem(seed: UInt64(nth))
            try Self.filled(disk, count: 30).close()
            // Opening starts a new manifest.
            let path = operation == .synchronizeDirectory ? "/e" : nth == 3 ? "MANIFEST" : "CURRENT"
            let fault = disk.inject(
                DiskFault(.error(nth == 2 ? .outOfSpace : .io), on: operation, pathContains: path, nth: min(nth, 2)))
            let engine = try? Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
            try? engine?.close()
            disk.remove(fault: fault)
            disk.cutPower()
            disk.restart()
            let again = try Engine.open(
                directory: "/e", fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
            for number in 1...30 { #expect(try again.get(Self.key(number)) != nil, "\(operation) \(nth)") }
            #expect(try disk.list("/e").filter { $0.hasPrefix("MANIFEST") }.count == 1)
            try again.close()
        }
    }

    @Test func B13_tablesOfAnEditWhoseSyncFailedAreThereIfTheEditIs() throws {
        for keepsPower in [true, false] {
            let disk = SimulatedFileSystem(seed: 4)
            let background = ManualBackgroundExecutor()
            var options = EngineOptions.tiny
            options.disablesAutomaticCompaction = true
            let engine = try Self.filled(disk, options)
            disk.inject(DiskFault(.error(.io), on: .synchronize, pathContains: "MANIFEST", nth: 1))
            #expect {
                try engine.compactRange()
            } throws: { ($0 as? StorageError)?.code == .failed }
            background.runAll()
            #expect(try engine.get(Self.key(7)) != nil, "reads go on")
            if keepsPower { disk.killProcess() } else { disk.cutPower() }
            disk.restart()
            let again = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            for number in 1...400 { #expect(try again.get(Self.key(number)) != nil) }
            try again.verify()
            try again.close()
        }
    }

    @Test func B24_aMemtableIsNotFlushedBeforeAnOlderOne() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ManualBackgroundExecutor()
        var options = EngineOptions.tiny
        options.frozenMemtablesMax = 4
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        let fault = disk.inject(DiskFault(.error(.outOfSpace), on: .write, pathContains: ".sst", nth: 1))
        var mark: UInt64 = 0
        for round in 1...4 as ClosedRange<UInt8> {
            var batch = WriteBatch()
            for key in 0..<5 as Range<UInt8> { batch.put([key], Array(repeating: round, count: 1000)) }
            mark += 1
            try engine.apply(batch, at: Version(mark), mark: mark)
            if round < 3 { background.runNext() }
            #expect(try engine.get([2]) == ArraySlice(repeating: round, count: 1000))
        }
        disk.remove(fault: fault)
        #expect(engine.durableMark < 4)
        try engine.flush()
        background.runAll()
        #expect(engine.durableMark == 4)
        for version in 1...4 as ClosedRange<UInt64> {
            #expect(try engine.get([2], at: Version(version))?.first == UInt8(version))
        }
        try engine.close()
    }

    @Test func B26_useAfterCloseIsAnError() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let engine = try Self.filled(disk, count: 10)
        let iterator = try engine.makeIterator()
        try iterator.seekToFirst()
        try engine.close()
        try engine.close()
        #expect { try iterator.next() } throws: { ($0 as? StorageError)?.code == .closed }
        #expect { _ = try engine.get([1]) } throws: { ($0 as? StorageError)?.code == .closed }
        #expect { try engine.apply(WriteBatch(), at: Version(900), mark: 900) } throws: {
            ($0 as? StorageError)?.code == .closed
        }
    }

    @Test func marksBecomeDurableByFlushesBySyncsAndWithoutAnyData() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: EngineOptions(), background: background)
        let told = Told()
        engine.onDurableMark { told.append($0) }
        var batch = WriteBatch()
        batch.put([1], [1])
        try engine.apply(batch, at: Version(1), mark: 5)
        #expect(engine.mark == 5 && engine.durableMark == 0)
        engine.requestFlush()
        #expect(engine.durableMark == 0)
        background.runAll()
        #expect(engine.durableMark == 5)
        // Batches of nothing, as a Raft log has them.
        try engine.apply(WriteBatch(), at: Version(1), mark: 6)
        engine.requestFlush()
        background.runAll()
        #expect(engine.durableMark == 6)
        batch.put([2], [2])
        try engine.apply(batch, at: Version(2), mark: 7, durability: .synced)
        #expect(engine.durableMark == 7)
        #expect(told.marks == [5, 6, 7])
        #expect(throws: StorageError.self) { try engine.apply(batch, at: Version(1), mark: 8) }
        #expect(throws: StorageError.self) { try engine.apply(batch, at: Version(3), mark: 6) }
        try engine.close()
    }

    private final class Told: Sendable {
        private let list = Monitor<[UInt64]>([])
        func append(_ mark: UInt64) { list.change { $0.append(mark) } }
        var marks: [UInt64] { list.withLock { $0 } }
    }
}
