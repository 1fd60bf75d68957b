import CairnFiles
import CairnSimulator
import CairnTestSupport
import Foundation
import Testing

@testable import CairnStorage

/// Damaged and hostile files: whoever reads them gets what was written or an error that names the place, in finite time and
/// little memory.
///
/// Half of the mutations have their checksums made good again. Those may read as anything, but nothing may trap or go on
/// for ever.
@Suite struct FuzzTests {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// An engine's directory as a dead process left it, and what it held after each mark.
    struct Sample {
        let disk: SimulatedFileSystem
        let options: EngineOptions
        var states = [ReferenceModel()]

        /// Tables in two levels, range deletions among them, and batches in the log.
        init(_ number: UInt64) throws {
            var random = SeededGenerator(seed: number)
            disk = SimulatedFileSystem(seed: number)
            var options = EngineOptions.tiny
            options.compression = number % 2 == 0 ? .snappy : .none
            options.uncompressedLevels = number % 3 == 0 ? 0 : 1
            options.bloomBitsPerKey = number % 4 == 3 ? 0 : 10
            options.disablesAutomaticCompaction = true
            options.memtableBytesMax = 64 << 10
            options.blockCache = BlockCache(capacityBytes: 0)
            self.options = options
            let background = ManualBackgroundExecutor()
            let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
            var work = Workload(random: random.split(), keyCount: 24)
            for mark in 1...36 as ClosedRange<UInt64> {
                var batch = work.batch()
                if mark == 10 || mark == 20 { batch.deleteRange(from: [0, 0, 0, 7], to: [0, 0, 0, 8]) }
                var next = states.last!
                next.apply(batch, version: mark * 2, mark: mark)
                states.append(next)
                try engine.apply(batch, at: Version(mark * 2), mark: mark)
                if mark == 12 { try engine.compactRange() }
                if mark == 18 || mark == 24 { try engine.flush() }
            }
            background.discardAll()
            disk.killProcess()
        }

        func files(_ kind: EngineInspector.Kind) throws -> [String] {
            try disk.list("/e").filter { EngineInspector.kind(ofName: $0) == kind }.map { "/e/" + $0 }
        }

        /// A disk on which the file at `path` has other contents.
        func replacing(_ path: String, with bytes: [UInt8], seed: UInt64) throws -> SimulatedFileSystem {
            let copy = disk.copy(seed: seed)
            let file = try copy.openForWriting(path)
            try file.truncate(to: 0)
            try file.write(bytes, at: 0)
            try file.close()
            return copy
        }
    }

    private func require(_ holds: Bool, _ message: @autoclosure () -> String) throws {
        guard holds else { throw Failure(description: message()) }
    }

    /// Reads everything, every way, and says what is not as it was at the mark that the engine shows.
    private func read(_ sample: Sample, _ disk: SimulatedFileSystem) throws -> String? {
        let background = ManualBackgroundExecutor()
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: sample.options, background: background)
        defer { try? engine.close() }
        var found: String?
        var thrown: StorageError?
        func part(_ body: () throws -> Void) throws {
            do { try body() } catch let error as StorageError { thrown = thrown ?? error }
        }
        let state = engine.mark < UInt64(sample.states.count) ? sample.states[Int(engine.mark)] : ReferenceModel()
        try part { try engine.verify() }
        try part {
            let iterator = try engine.makeIterator()
            var steps = 0
            try iterator.seekToFirst()
            while iterator.isValid, steps < 20_000 {
                steps += 1
                try iterator.next()
            }
            try iterator.seekToLast()
            while iterator.isValid, steps < 40_000 {
                steps += 1
                try iterator.previous()
            }
            try require(steps < 20_000, "an iterator goes on and on")
            found = try difference(iterator, state.contents(at: state.lastVersion))
        }
        for key in sample.states.last!.history.keys {
            try part {
                let value = try engine.get(key).map { Array($0) }
                if value != state.value(key, at: state.lastVersion) { found = found ?? "key \(key)" }
            }
        }
        try part { try engine.compactRange() }
        background.runAll()
        if let thrown, found == nil { throw thrown }
        return found
    }

    /// The inspector looks at what the engine looks at, and must not fall either.
    private func inspect(_ disk: SimulatedFileSystem) {
        var options = InspectionOptions()
        options.showsKeys = true
        options.readsEveryBlock = true
        var lines = 0
        var report = InspectionReport { _ in lines += 1 }
        EngineInspector(fileSystem: disk, options: options).directory("/e", into: &report)
    }

    private static func peakMemoryBytes() -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }

    @Test func damagedAndHostileFilesGiveContentsOrAnErrorWithItsPlace() throws {
        do { try readDamagedAndHostileFiles(count: EngineCrashTests.volume(debug: 2500, release: 20_000)) } catch {
            Issue.record("\(error)")
        }
    }

    @Test func damagedAndHostileFilesTakeNoMoreMemoryThanSoundOnes() async {
        // In a process of its own: here the tests beside it would count as well.
        await #expect(processExitsWith: .success) {
            let tests = FuzzTests()
            try tests.readDamagedAndHostileFiles(count: 50)
            let before = FuzzTests.peakMemoryBytes()
            try tests.readDamagedAndHostileFiles(count: EngineCrashTests.volume(debug: 600, release: 5_000))
            let taken = FuzzTests.peakMemoryBytes() - before
            #expect(taken < 64 << 20, "\(taken) bytes")
        }
    }

    private func readDamagedAndHostileFiles(count: Int) throws {
        let samples = try (1...4 as ClosedRange<UInt64>).map { try Sample($0) }
        try SeededRuns("damagedAndHostileFiles", count: count).forEach { seed in
            var mutator = FuzzMutator(random: SeededGenerator(seed: seed))
            let sample = samples.randomElement(using: &mutator.random)!
            let kind = [EngineInspector.Kind.wal, .manifest, .table].randomElement(using: &mutator.random)!
            let path = try sample.files(kind).randomElement(using: &mutator.random)!
            var bytes = try sample.disk.contents(of: path)
            let isSealed = mutator.random.oneIn(2)
            if !isSealed {
                mutator.damage(&bytes)
            } else {
                bytes = kind == .table ? mutator.resealTable(bytes) : mutator.resealLog(bytes)
            }
            let disk = try sample.replacing(path, with: bytes, seed: seed)
            inspect(disk)
            do {
                let difference = try read(sample, disk)
                if !isSealed, let difference { throw Failure(description: "\(path): \(difference)") }
            } catch let error as StorageError {
                try require(error.file != nil, "no file: \(error)")
                try require(
                    isSealed || [.corruption, .unsupportedFormat].contains(error.code), "another code: \(error)"
                )
            }
        }
    }

    @Test func damagedBatchesGiveABatchOrAnErrorWithItsPlace() throws {
        do throws(SeededRuns.Failure) {
            try SeededRuns("damagedBatches", count: 2000).forEach { seed in
                var mutator = FuzzMutator(random: SeededGenerator(seed: seed))
                var work = Workload(random: mutator.random.split(), keyCount: 24)
                var bytes = work.batch().encoded
                mutator.damage(&bytes)
                let batch: WriteBatch
                do throws(StorageError) { batch = try WriteBatch(decoding: bytes[...]) } catch {
                    try require(error.offset.map { $0 <= UInt64(bytes.count) } ?? false, "no offset: \(error)")
                    return try require([.invalidArgument, .unsupportedFormat].contains(error.code), "\(error)")
                }
                var count = 0
                batch.forEach { _ in count += 1 }
                try require(count == batch.count && batch.encoded == bytes, "it is not what its bytes say")
                Engine.insert(batch, 1, into: TreeMemtable())
            }
        } catch { Issue.record("\(error)") }
    }

    @Test func damagedRecordLogsGiveRecordsDamageOrTheEnd() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let kind = RecordLogHeader.Kind("FUZZ")
        var writer = try RecordLogWriter.create(
            "/log", header: RecordLogHeader(kind: kind, number: 1, fileID: 77), in: disk)
        var random = SeededGenerator(seed: 1)
        var bodies: [UInt64: [UInt8]] = [:]
        for tag in 1...20 as ClosedRange<UInt64> {
            bodies[tag] = random.bytes(Int.random(in: 1...90, using: &random))
            try writer.append(bodies[tag]!, tag: tag)
            if tag % 3 == 0 { try writer.synchronize() }
        }
        let whole = try disk.contents(of: "/log")
        do throws(SeededRuns.Failure) {
            try SeededRuns("damagedRecordLogs", count: 2000).forEach { seed in
                var mutator = FuzzMutator(random: SeededGenerator(seed: seed))
                var bytes = whole
                let isSealed = mutator.random.oneIn(2)
                if isSealed { bytes = mutator.resealLog(bytes) } else { mutator.damage(&bytes) }
                let copy = SimulatedFileSystem(seed: seed)
                try copy.create("/log").write(bytes, at: 0)
                let knownEnd = mutator.random.oneIn(2) ? nil : writer.position
                do throws(FileError) {
                    var reader = try RecordLogReader("/log", kind: kind, knownEnd: knownEnd, in: copy)
                    var items = 0
                    reading: while true {
                        items += 1
                        guard items < 1000 else { throw FileError(.io, .read, path: "", reason: "goes on and on") }
                        let position = reader.position
                        switch try reader.nextItem() {
                        case .end: break reading
                        case .damage: break
                        case .record(let record):
                            guard isSealed || Array(record.body) == bodies[record.tag], reader.position > position
                            else {
                                throw FileError(.io, .read, path: "", reason: "record \(record.tag) is another")
                            }
                        }
                    }
                } catch {
                    try require(error.path == "/log" && error.offset != nil, "\(error)")
                    try require([.corruption, .unsupported, .truncated].contains(error.code), "\(error)")
                }
            }
        } catch { Issue.record("\(error)") }
    }
}
