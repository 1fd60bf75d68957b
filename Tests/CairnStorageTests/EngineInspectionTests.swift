import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// What the inspector says about an engine's files is what was written, and where a bit was flipped.
@Suite struct EngineInspectionTests {
    private static let directory = "/t"

    /// An engine with tables and a log behind them, closed.
    private func filled() throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem(seed: 4)
        let engine = try Engine.open(
            directory: Self.directory, fileSystem: disk, options: EngineOptions(),
            background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        for number in 100..<700 { batch.put("key\(number)".utf8, repeatElement(UInt8(number & 255), count: 40)) }
        try engine.apply(batch, at: Version(10), mark: 1)
        var second = WriteBatch()
        second.delete("key100".utf8)
        second.deleteRange(from: "key200".utf8, to: "key210".utf8)
        try engine.apply(second, at: Version(11), mark: 2)
        try engine.flush()
        for mark in 3...5 as ClosedRange<UInt64> {
            var batch = WriteBatch()
            batch.put("late\(mark)".utf8, "value".utf8)
            // Synced, so that what comes later proves that what is bad now was there once.
            try engine.apply(batch, at: Version(10 + mark), mark: mark, durability: .synced)
        }
        try engine.close()
        return disk
    }

    private func options(keys: Bool = false, limit: Int? = nil) -> InspectionOptions {
        var options = InspectionOptions()
        options.showsKeys = keys
        options.linesMax = limit
        return options
    }

    /// Runs `body` and returns the lines and the damage.
    private func lines(
        _ disk: SimulatedFileSystem, _ options: InspectionOptions,
        _ body: (EngineInspector, inout InspectionReport) -> Void
    ) -> (text: String, damages: [InspectedDamage]) {
        var text = ""
        var report = InspectionReport { text += $0 + "\n" }
        body(EngineInspector(fileSystem: disk, options: options), &report)
        return (text, report.damages)
    }

    private func path(_ disk: SimulatedFileSystem, _ kind: EngineInspector.Kind) throws -> String {
        // The log has an older file that waits to be written over; the last one is in use.
        let name = try #require(try disk.list(Self.directory).last { EngineInspector.kind(ofName: $0) == kind })
        return Self.directory + "/" + name
    }

    @Test func aTableShowsItsFooterPropertiesBlocksAndKeys() throws {
        let disk = try filled()
        let table = try path(disk, .table)
        let (text, damages) = lines(disk, options(keys: true)) { $0.table(table, into: &$1) }
        #expect(damages == [])
        #expect(text.contains("footer   format 2"), "\(text)")
        #expect(text.contains(" (1 deletions, "), "\(text)")
        #expect(text.contains("versions    @10 to @11, mark 2"))
        #expect(text.contains("keys        \"key100\" to \"key699\""))
        #expect(text.contains("\"key100\" @11 delete\n"))
        #expect(text.contains("\"key699\" @10 put, 40 bytes\n"))
        #expect(text.contains("\"key200\" to \"key210\" @11\n"))
    }

    @Test func aLogShowsItsBatches() throws {
        let disk = try filled()
        let log = try path(disk, .wal)
        let (text, damages) = lines(disk, options(keys: true)) { $0.wal(log, into: &$1) }
        #expect(damages == [])
        #expect(text.contains("#3 at 64: "), "\(text)")
        #expect(text.contains("@13, mark 3, 1 operation, "))
        #expect(text.contains("  put \"late5\", 5 bytes\n"))
        #expect(text.contains("3 batches, ending at "))
    }

    @Test func aManifestShowsItsEditsAndTheTree() throws {
        let disk = try filled()
        let manifest = try path(disk, .manifest)
        let (text, damages) = lines(disk, options()) { $0.manifest(manifest, into: &$1) }
        #expect(damages == [])
        #expect(text.contains("+table "), "\(text)")
        #expect(text.contains("tables     1 in level 0"))
        #expect(text.contains("mark       2 at @11"))
        let current = lines(disk, options()) { $0.current(Self.directory + "/CURRENT", into: &$1) }
        #expect(current.text == "names the manifest \(manifest.dropFirst(Self.directory.count + 1))\n")
    }

    @Test func aDirectoryShowsWhatAStartWouldFind() throws {
        let disk = try filled()
        let (text, damages) = lines(disk, options()) { $0.directory(Self.directory, into: &$1) }
        #expect(damages == [])
        #expect(text.contains("1 table, "), "\(text)")
        #expect(text.contains("3 batches, #3 to #5, "))
        #expect(text.contains("a start would replay 3 batches, through #5"))
        #expect(!text.contains("does not name"))
    }

    @Test func aListEndsAtItsLimitAndIsReadToItsEnd() throws {
        let disk = try filled()
        let table = try path(disk, .table)
        let (text, _) = lines(disk, options(keys: true, limit: 2)) { $0.table(table, into: &$1) }
        #expect(text.split(separator: "\n").count { $0.contains("put, 40 bytes") } <= 2)
        #expect(text.contains("more (--limit)"))
    }

    @Test func inspectingChangesNothingAndTakesNoLock() throws {
        let disk = SimulatedFileSystem(seed: 5)
        let engine = try Engine.open(
            directory: Self.directory, fileSystem: disk, options: EngineOptions(),
            background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        batch.put("a".utf8, "b".utf8)
        try engine.apply(batch, at: Version(1), mark: 1)
        let operations = disk.operationCount
        let (text, damages) = lines(disk, options()) { inspector, report in
            inspector.directory(Self.directory, into: &report)
            for kind in [EngineInspector.Kind.wal, .manifest] {
                guard let path = try? path(disk, kind) else { continue }
                kind == .wal ? inspector.wal(path, into: &report) : inspector.manifest(path, into: &report)
            }
        }
        #expect(damages == [], "\(text)")
        #expect(text.contains("a start would replay 1 batch, through #1"), "\(text)")
        #expect(disk.operationCount == operations)
        try engine.close()
    }

    @Test func B28_everyFlippedByteOfATableIsReportedWithItsPlace() throws {
        let disk = try filled()
        let table = try path(disk, .table)
        let size = Int(try disk.size(of: table))
        var random = SeededGenerator(seed: 9)
        for _ in 0..<60 {
            let byte = Int.random(in: 0..<size, using: &random)
            try disk.flipBit(3, ofByte: byte, in: table)
            let (text, damages) = lines(disk, options(limit: 0)) { $0.table(table, into: &$1) }
            let damage = try #require(damages.first, "byte \(byte) of \(size)")
            #expect(damage.path == table)
            // The damaged piece begins at or before the byte, and no other piece begins between.
            #expect(try #require(damage.offset) <= UInt64(byte), "\(text)")
            #expect(text.contains("DAMAGE \(table) at offset \(damage.offset!): "))
            let folder = lines(disk, with(options()) { $0.readsEveryBlock = true }) {
                $0.directory(Self.directory, into: &$1)
            }
            #expect(folder.damages.contains(damage), "byte \(byte): \(folder.text)")
            try disk.flipBit(3, ofByte: byte, in: table)
        }
    }

    @Test func aFlippedByteOfALogIsReportedWithItsRecord() throws {
        let disk = try filled()
        let log = try path(disk, .wal)
        var reader = try RecordLogReader(log, kind: WriteAheadLog.kind, in: disk)
        _ = try reader.next()
        let second = try #require(try reader.next())
        try disk.flipBit(0, ofByte: Int(second.offset) + 60, in: log)
        let (text, damages) = lines(disk, options()) { $0.wal(log, into: &$1) }
        #expect(
            damages == [InspectedDamage(path: log, offset: second.offset, reason: "a damaged record, #4")], "\(text)")
        let folder = lines(disk, options()) { $0.directory(Self.directory, into: &$1) }
        #expect(folder.damages.first == damages.first)
        let manifest = try path(disk, .manifest)
        try disk.flipBit(0, ofByte: 20, in: manifest)
        let after = lines(disk, options()) { $0.manifest(manifest, into: &$1) }
        #expect(
            after.damages == [InspectedDamage(path: manifest, offset: 0, reason: "checksum of the record log's header")]
        )
    }

    @Test func aMissingAndACutTableAreDamageOfTheDirectory() throws {
        let disk = try filled()
        let table = try path(disk, .table)
        try disk.cut(table, to: 100)
        let cut = lines(disk, options()) { $0.directory(Self.directory, into: &$1) }
        #expect(cut.damages.map(\.path) == [table])
        try disk.remove(table)
        let missing = lines(disk, options()) { $0.directory(Self.directory, into: &$1) }
        #expect(
            missing.damages == [
                InspectedDamage(path: table, offset: nil, reason: "a table that the manifest names is missing")
            ])
    }

    @Test func anEngineThatRunsBesideIsNeverCalledDamaged() async throws {
        let disk = SimulatedFileSystem(seed: 6)
        var small = EngineOptions()
        small.memtableBytesMax = 64 << 10
        let engine = try Engine.open(
            directory: Self.directory, fileSystem: disk, options: small,
            background: ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1))
        let writer = Task.detached {
            for mark in 1...1200 as ClosedRange<UInt64> {
                var batch = WriteBatch()
                for part in 0..<8 { batch.put("\(mark % 500)-\(part)".utf8, repeatElement(UInt8(part), count: 100)) }
                try engine.apply(
                    batch, at: Version(mark), mark: mark, durability: mark % 16 == 0 ? .synced : .buffered)
                await Task.yield()
            }
        }
        for _ in 0..<12 {
            let (text, damages) = lines(disk, with(options(limit: 0)) { $0.readsEveryBlock = true }) {
                $0.directory(Self.directory, into: &$1)
            }
            #expect(damages == [], "\(text)")
            await Task.yield()
        }
        try await writer.value
        try engine.close()
    }

    private func with(
        _ options: InspectionOptions, _ change: (inout InspectionOptions) -> Void
    ) -> InspectionOptions {
        var options = options
        change(&options)
        return options
    }
}
