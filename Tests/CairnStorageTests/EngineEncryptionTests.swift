import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// An engine whose files are sealed.
@Suite struct EngineEncryptionTests {
    static let secret = Array("nobody-reads-this".utf8)

    private func open(_ disk: SimulatedFileSystem) throws -> Engine {
        var options = EngineOptions.tiny
        options.compression = .none
        return try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
    }

    private func fill(_ engine: Engine, _ range: Range<Int>) throws {
        for number in range {
            var batch = WriteBatch()
            batch.put(Self.secret + [UInt8(number >> 8), UInt8(number & 0xFF)], Self.secret + Self.secret)
            try engine.write(batch, durability: .synced)
        }
    }

    private func check(_ engine: Engine, _ range: Range<Int>) throws {
        for number in range {
            #expect(try engine.get(Self.secret + [UInt8(number >> 8), UInt8(number & 0xFF)]) != nil)
        }
    }

    /// Every file of the directory, searched for the plain text.
    private func showsSecret(_ disk: SimulatedFileSystem, in directory: String = "/e") throws -> [String] {
        try disk.list(directory).filter { name in
            let contents = try disk.contents(of: directory + "/" + name)
            guard contents.count >= Self.secret.count else { return false }
            return (0...contents.count - Self.secret.count).contains {
                contents[$0] == Self.secret[0] && contents[$0..<$0 + Self.secret.count].elementsEqual(Self.secret)
            }
        }
    }

    @Test func noFileShowsKeysOrValues() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.encrypt()
        var engine = try open(disk)
        try fill(engine, 0..<300)
        try engine.flush()
        try engine.compactRange()
        try fill(engine, 300..<400)
        _ = try engine.checkpoint(into: "/copy")
        #expect(try showsSecret(disk).isEmpty)
        #expect(try showsSecret(disk, in: "/copy").isEmpty)
        disk.killProcess()
        engine = try open(disk)
        try check(engine, 0..<400)
        try engine.verify()
        // The search itself finds what is in the clear.
        let clear = SimulatedFileSystem(seed: 1)
        let other = try open(clear)
        try fill(other, 0..<10)
        try other.flush()
        #expect(try !showsSecret(clear).isEmpty)
    }

    @Test func anotherOrNoMasterKeyIsRefusedAndNothingIsTouched() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.encrypt()
        let engine = try open(disk)
        try fill(engine, 0..<100)
        try engine.close()
        let names = try disk.list("/e")
        let contents = try names.map { try disk.contents(of: "/e/" + $0) }
        disk.use(nil)
        #expect {
            _ = try open(disk)
        } throws: { error in
            let error = error as? StorageError
            return error?.code == .wrongKey && error?.file?.hasPrefix("/e/MANIFEST") == true
        }
        let master = try MasterKey([UInt8](repeating: 1, count: 32), source: "test")
        #expect { _ = try Keyring.open("/keyring", master: master, in: disk) } throws: {
            ($0 as? FileError)?.code == .wrongKey
        }
        #expect(try disk.list("/e") == names)
        #expect(try names.map { try disk.contents(of: "/e/" + $0) } == contents)
        try disk.encrypt()
        try check(try open(disk), 0..<100)
    }

    @Test func rotationWhileWritingLeavesEverythingReadableAndNewFilesAreUnderTheNewKey() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.encrypt()
        let keyring = try #require(disk.keyring)
        let engine = try open(disk)
        let first = keyring.activeID
        try fill(engine, 0..<150)
        try keyring.rotate()
        try fill(engine, 150..<300)
        try check(engine, 0..<300)
        try engine.flush()
        let older = Set(try disk.list("/e"))
        try fill(engine, 0..<300)
        try engine.flush()
        try engine.compactRange()
        var keys: Set<UInt64> = []
        for name in try disk.list("/e") where name.hasSuffix(".sst") && !older.contains(name) {
            let size = Int(try disk.size(of: "/e/" + name))
            let footer = try disk.contents(of: "/e/" + name)[(size - TableFooter.byteCount)...]
            keys.insert(footer.withBorrowedBytes { $0.dropFirst(8).prefix64(at: 0).byteSwapped })
        }
        #expect(keys == [keyring.activeID])
        #expect(keyring.activeID != first)
        try engine.close()
        try check(try open(disk), 0..<300)
    }

    /// A table of one engine in the place of another's, with the name and size that the manifest expects.
    @Test func B34_aForeignTableUnderARightNameIsRefused() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.encrypt()
        let engine = try open(disk)
        try fill(engine, 0..<20)
        try engine.flush()
        let first = try disk.list("/e").filter { $0.hasSuffix(".sst") }
        try fill(engine, 20..<40)
        try engine.flush()
        let second = try disk.list("/e").filter { $0.hasSuffix(".sst") && !first.contains($0) }
        try engine.close()
        let (one, other) = ("/e/" + first[0], "/e/" + second[0])
        let (a, b) = (try disk.contents(of: one), try disk.contents(of: other))
        try #require(a.count == b.count)
        try disk.replace(one, with: b)
        try disk.replace(other, with: a)
        let swapped = try open(disk)
        #expect {
            try check(swapped, 0..<40)
        } throws: { error in
            let error = error as? StorageError
            return error?.code == .corruption && (error?.file == one || error?.file == other)
        }
    }

    /// Cuts the power after each operation of a life under encryption with a rotation in it.
    @Test func B35_whatWasSyncedOpensAfterAnyPowerCut() throws {
        for cut in stride(from: 0, to: 400, by: EngineCrashTests.volume(debug: 13, release: 1)) {
            let disk = SimulatedFileSystem(seed: UInt64(cut))
            let master = try MasterKey([UInt8](repeating: 7, count: 32), source: "test")
            disk.cutPower(afterOperations: cut)
            var synced = 0
            do {
                try disk.encrypt()
                let engine = try open(disk)
                for number in 0..<60 {
                    if number % 20 == 10 { try disk.keyring?.rotate() }
                    if number % 15 == 14 { try engine.flush() }
                    try fill(engine, number..<number + 1)
                    synced = number + 1
                }
            } catch {}
            disk.restart()
            guard synced > 0 else { continue }
            disk.use(try Keyring.open("/keyring", master: master, createIfMissing: false, in: disk))
            let engine = try open(disk)
            try check(engine, 0..<synced)
            try engine.close()
        }
    }
}
