import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// After a rotation an engine writes again what lies under older keys, and loses nothing by it.
@Suite struct EngineRewriteTests {
    private static let directory = "/e"

    private func open(_ disk: SimulatedFileSystem) throws -> Engine {
        var options = EngineOptions()
        options.memtableBytesMax = 1 << 20
        options.tableBytesMax = 4 << 10
        options.level1BytesMax = 16 << 10
        options.blockBytes = 512
        options.disablesAutomaticCompaction = true
        return try Engine.open(
            directory: Self.directory, fileSystem: disk, options: options, background: ManualBackgroundExecutor())
    }

    private func put(_ engine: Engine, _ numbers: some Sequence<Int>, _ text: String) throws {
        var batch = WriteBatch()
        for number in numbers { batch.put("key\(number)".utf8, "\(text) \(number)".utf8) }
        try engine.write(batch)
    }

    private func contents(_ engine: Engine, at version: Version? = nil) throws -> [String] {
        let iterator = try version.map { try engine.makeIterator(at: $0) } ?? engine.makeIterator()
        try iterator.seekToFirst()
        var lines: [String] = []
        while iterator.isValid {
            lines.append(
                String(decoding: iterator.key, as: UTF8.self) + "=" + String(decoding: iterator.value, as: UTF8.self))
            try iterator.next()
        }
        return lines
    }

    /// Data in several levels, in the log and in memory, under as many keys; with a deletion of a range.
    private func filled(_ disk: SimulatedFileSystem) throws -> Engine {
        let engine = try open(disk)
        try put(engine, 0..<400, "first")
        try engine.flush()
        try engine.compactRange()
        try disk.keyring?.rotate()
        try put(engine, 100..<300, "second")
        var batch = WriteBatch()
        batch.deleteRange(from: "key20".utf8, to: "key25".utf8)
        try engine.write(batch)
        try engine.flush()
        try put(engine, 350..<360, "third")
        try engine.flush()
        try put(engine, 0..<5, "in memory")
        try disk.keyring?.rotate()
        return engine
    }

    private func keysInUse(_ disk: SimulatedFileSystem) throws(FileError) -> Set<UInt64> {
        var keys: Set<UInt64> = []
        for name in try disk.list(Self.directory) {
            let path = Self.directory + "/" + name
            switch EngineInspector.kind(ofName: name) {
            case .table: keys.insert(try EngineInspector.cipherLabel(ofTable: path, in: disk).keyID)
            case .wal, .manifest:
                let head = try disk.contents(of: path).prefix(RecordLogHeader.byteCount)
                keys.insert(try RecordLogHeader(decoding: head, path: path).cipher.keyID)
            default: break
            }
        }
        return keys
    }

    @Test func everyFileIsUnderTheActiveKeyAndNothingIsLost() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.encrypt()
        let keyring = try #require(disk.keyring)
        let engine = try filled(disk)
        #expect(try keysInUse(disk).count > 1)
        let before = try contents(engine)
        let version = engine.lastVersion
        let early = try contents(engine, at: Version(1))
        try engine.rewriteUnderActiveKey()
        #expect(try keysInUse(disk) == [keyring.activeID])
        #expect(try contents(engine) == before)
        #expect(try contents(engine, at: Version(1)) == early, "older versions stay for their readers")
        #expect(engine.lastVersion == version)
        // The other keys can go, and the engine works on without them, opened again too.
        let dropped = try keyring.dropUnused { () throws(FileError) in try keysInUse(disk) }
        #expect(dropped.count == 2)
        try put(engine, 500..<510, "later")
        try engine.close()
        let again = try open(disk)
        #expect(try contents(again).count == before.count + 10)
    }

    @Test func aReaderKeepsItsFilesAndTheirKey() throws {
        let disk = SimulatedFileSystem(seed: 2)
        try disk.encrypt()
        let keyring = try #require(disk.keyring)
        let engine = try filled(disk)
        let before = try contents(engine)
        var iterator: EngineIterator? = try engine.makeIterator()
        try iterator!.seekToFirst()
        try engine.rewriteUnderActiveKey()
        #expect(try keyring.dropUnused { () throws(FileError) in try keysInUse(disk) }.count < 2)
        var count = 0
        while iterator!.isValid {
            count += 1
            try iterator!.next()
        }
        #expect(count == before.count)
        iterator = nil
        engine.janitor.sweep()
        _ = try keyring.dropUnused { () throws(FileError) in try keysInUse(disk) }
        #expect(keyring.keys.map(\.id) == [keyring.activeID])
    }

    @Test func withoutAKeyringThereIsNothingToDo() throws {
        let disk = SimulatedFileSystem(seed: 3)
        let engine = try filled(disk)
        let files = try disk.list(Self.directory)
        try engine.rewriteUnderActiveKey()
        #expect(try disk.list(Self.directory) == files)
    }

    /// Cuts the power at each operation of rewriting and of dropping the keys behind it.
    @Test func B35_noPowerCutTakesAKeyThatAFileNeeds() throws {
        let whole = SimulatedFileSystem(seed: 4)
        try whole.encrypt()
        let before = try contents(try filled(whole))
        var cuts = 0
        for cut in stride(from: 0, to: 2_000, by: EngineCrashTests.volume(debug: 7, release: 1)) {
            let disk = SimulatedFileSystem(seed: UInt64(cut))
            try disk.encrypt()
            let master = try MasterKey([UInt8](repeating: 7, count: 32), source: "test")
            let engine = try filled(disk)
            try engine.write(WriteBatch(), durability: .synced)
            disk.cutPower(afterOperations: cut)
            var isDone = false
            do {
                try engine.rewriteUnderActiveKey()
                _ = try disk.keyring?.dropUnused { () throws(FileError) in try keysInUse(disk) }
                isDone = true
            } catch {}
            disk.restart()
            disk.use(try Keyring.open("/keyring", master: master, createIfMissing: false, in: disk))
            let again = try open(disk)
            #expect(try contents(again) == before, "power cut after \(cut) operations")
            try again.close()
            cuts += 1
            if isDone { break }
        }
        #expect(cuts > 3)
    }
}
