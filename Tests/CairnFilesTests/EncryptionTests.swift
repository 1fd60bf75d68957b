import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnFiles

private func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

func testMasterKey(_ byte: UInt8 = 7) -> MasterKey {
    try! MasterKey([UInt8](repeating: byte, count: 32), source: "test")
}

@Suite struct CipherTests {
    /// Test case 14 of the GCM specification (McGrew, Viega).
    @Test func sealsAsTheSpecificationOfGCMSays() {
        let cipher = FileCipher(.none, key: [UInt8](repeating: 0, count: 32))
        var text = [UInt8](repeating: 0, count: 16)
        cipher.makeSealer().seal(&text, from: 0, FileCipher.Nonce(0, 0))
        #expect(text == bytes("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"))
        #expect(cipher.open(text.span.bytes, FileCipher.Nonce(0, 0)) == [UInt8](repeating: 0, count: 16))
    }

    /// RFC 5869, test case 1, of which 32 bytes are taken.
    @Test func derivesAsTheSpecificationOfHKDFSays() {
        let key = KeyMaterial.derive(
            from: [UInt8](repeating: 0x0B, count: 22), salt: Array(0x00...0x0C), info: Array(0xF0...0xF9))
        #expect(key == bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"))
    }

    /// Texts up to 1,024 bytes are sealed in another way than longer ones, and opened in one.
    @Test func textsOfEveryLengthComeBackFromOneSealer() throws {
        let cipher = FileCipher(.none, key: KeyMaterial.random(32))
        let sealer = cipher.makeSealer()
        var random = SeededGenerator(seed: 3)
        for count in Array(0...1100) + [4095, 4096, 1 << 20, 130, 0, 1024] {
            let text = random.bytes(count)
            var sealed: [UInt8] = [1, 2, 3] + text
            sealer.seal(&sealed, from: 3, FileCipher.Nonce(UInt64(count), 9))
            #expect(sealed.count == 3 + count + FileCipher.tagBytes)
            #expect(Array(sealed.prefix(3)) == [1, 2, 3])
            #expect(
                cipher.open(sealed.span.bytes.extracting(3..<sealed.count), FileCipher.Nonce(UInt64(count), 9)) == text)
        }
    }

    @Test func B34_anyFlippedBitAndAnyOtherNonceIsRefused() {
        let cipher = FileCipher(.none, key: KeyMaterial.random(32))
        var sealed = Array("a stone on a stone".utf8)
        cipher.makeSealer().seal(&sealed, from: 0, FileCipher.Nonce(4096, 1))
        for bit in 0..<sealed.count * 8 {
            var flipped = sealed
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(cipher.open(flipped.span.bytes, FileCipher.Nonce(4096, 1)) == nil)
        }
        #expect(cipher.open(sealed.span.bytes, FileCipher.Nonce(4097, 1)) == nil)
        #expect(cipher.open(sealed.span.bytes, FileCipher.Nonce(4096, 2)) == nil)
        for count in 0..<sealed.count {
            #expect(cipher.open(sealed.span.bytes.extracting(0..<count), FileCipher.Nonce(4096, 1)) == nil)
        }
    }
}

@Suite struct KeyringTests {
    let disk = SimulatedFileSystem(seed: 1)

    private func open(_ master: MasterKey = testMasterKey()) throws -> Keyring {
        try disk.createDirectory("/d")
        return try Keyring.open("/d/keyring", master: master, in: disk)
    }

    @Test func keysComeBackWithTheMasterKeyAndOnlyWithIt() throws {
        let first = try open()
        let id = try first.rotate()
        let again = try open()
        #expect(again.keys == first.keys)
        #expect(again.activeID == id)
        let before = try disk.contents(of: "/d/keyring")
        let error = #expect(throws: FileError.self) { try open(testMasterKey(8)) }
        #expect(error?.code == .wrongKey)
        #expect(error?.path == "/d/keyring")
        #expect(try disk.contents(of: "/d/keyring") == before)
    }

    @Test func noKeyStandsInTheFileInTheClear() throws {
        let keyring = try open()
        try keyring.rotate()
        let contents = try disk.contents(of: "/d/keyring")
        for key in keyring.keys {
            #expect(!contents.windows(of: 8).contains { Array($0) == Array(key.bytes.prefix(8)) })
        }
    }

    @Test func everyDamageIsAnErrorThatNamesTheFile() throws {
        try open().rotate()
        let good = try disk.contents(of: "/d/keyring")
        for index in good.indices {
            var bad = good
            bad[index] ^= 0x10
            try disk.replace("/d/keyring", with: bad)
            let error = #expect(throws: FileError.self) { try open() }
            #expect(error?.path == "/d/keyring")
            #expect(error?.code == .corruption || error?.code == .unsupported)
        }
        for count in 0..<good.count {
            try disk.replace("/d/keyring", with: Array(good.prefix(count)))
            #expect(throws: FileError.self) { try open() }
        }
    }

    /// A key that seals a file has to be there after any power cut, whatever the operation at which it came.
    @Test func B35_noKeyIsUsedBeforeItIsOnTheDisk() throws {
        for cut in 0..<40 {
            let disk = SimulatedFileSystem(seed: UInt64(cut))
            try disk.createDirectory("/d")
            disk.cutPower(afterOperations: cut)
            var used: [UInt64] = []
            do {
                let keyring = try Keyring.open("/d/keyring", master: testMasterKey(), in: disk)
                used.append(keyring.makeCipher(fileID: 1).label.keyID)
                for _ in 0..<4 {
                    try keyring.rotate()
                    used.append(keyring.makeCipher(fileID: 1).label.keyID)
                }
            } catch {}
            disk.restart()
            guard !used.isEmpty else { continue }
            let ids = try Keyring.open("/d/keyring", master: testMasterKey(), createIfMissing: false, in: disk).keys
                .map(\.id)
            #expect(used.allSatisfy(ids.contains), "power cut after \(cut) operations")
        }
    }

    @Test func B35_aKeyGoesOnlyOnceNothingCanNeedIt() throws {
        let keyring = try open()
        let first = keyring.activeID
        let second = try keyring.rotate()
        #expect(try keyring.dropUnused { [] } == [first], "the active key stays")
        #expect(keyring.keys.map(\.id) == [second])
        #expect(try open().keys.map(\.id) == [second], "it is gone from the disk as well")

        var writing: FileCipher? = keyring.makeCipher(fileID: 1)
        var sealer = writing?.makeSealer()
        let third = try keyring.rotate()
        #expect(try keyring.dropUnused { [] } == [], "a file under it is open")
        writing = nil
        #expect(try keyring.dropUnused { [] } == [], "a file under it is being written")
        _ = sealer
        sealer = nil
        #expect(try keyring.dropUnused { [second] } == [], "a file under it is on the disk")
        #expect(try keyring.dropUnused { nil } == [], "it cannot be told what is on the disk")
        var searches = 0
        _ = try keyring.dropUnused {
            searches += 1
            return searches == 2 ? [second] : []
        }
        #expect(keyring.keys.map(\.id) == [second, third], "a file under it moved while it was looked for")
        let foreign = Keyring.DataKey(id: 77, bytes: [UInt8](repeating: 1, count: 32))
        try keyring.adopt([foreign])
        #expect(try keyring.dropUnused { [] } == [second], "a file under it may be on its way from another node")
        // A process that starts anew has nothing on its way.
        #expect(try open().dropUnused { [] } == [77])
    }

    @Test func B35_aPowerCutWhileAKeyIsDroppedLeavesItOrNot() throws {
        for cut in 0..<12 {
            let disk = SimulatedFileSystem(seed: UInt64(cut))
            try disk.createDirectory("/d")
            let keyring = try Keyring.open("/d/keyring", master: testMasterKey(), in: disk)
            let old = keyring.activeID
            let active = try keyring.rotate()
            disk.cutPower(afterOperations: cut)
            _ = try? keyring.dropUnused { [] }
            disk.restart()
            let again = try Keyring.open("/d/keyring", master: testMasterKey(), createIfMissing: false, in: disk)
            #expect(again.activeID == active)
            #expect([[active], [old, active]].contains(again.keys.map(\.id)))
        }
    }

    /// Files of one folder are opened in another once its keys were taken in, and not before.
    @Test func B35_adoptedKeysOpenForeignFiles() throws {
        let here = try open()
        let label = here.makeCipher(fileID: 5).label
        let elsewhere = SimulatedFileSystem(seed: 2)
        try elsewhere.createDirectory("/d")
        let there = try Keyring.open("/d/keyring", master: testMasterKey(9), in: elsewhere)
        let error = #expect(throws: FileError.self) { try there.cipher(label, fileID: 5, path: "/x") }
        #expect(error?.code == .wrongKey)
        #expect(error?.path == "/x")
        let active = there.activeID
        try there.adopt(here.keys)
        #expect(there.activeID == active)
        _ = try there.cipher(label, fileID: 5, path: "/x")
        let again = try Keyring.open("/d/keyring", master: testMasterKey(9), in: elsewhere)
        _ = try again.cipher(label, fileID: 5, path: "/x")
        let forged = Keyring.DataKey(id: here.activeID, bytes: [UInt8](repeating: 0, count: 32))
        #expect(throws: FileError.self) { try there.adopt([forged]) }
    }

    /// What could not be read back is not written: the keyring stays as it was.
    @Test func moreKeysThanAKeyringHoldsAreRefused() throws {
        let keyring = try open()
        let many = (1...UInt64(Keyring.keysMax)).map {
            Keyring.DataKey(id: $0, bytes: [UInt8](repeating: 1, count: Keyring.DataKey.byteCount))
        }
        let error = #expect(throws: FileError.self) { try keyring.adopt(many) }
        #expect(error?.code == .tooLarge)
        #expect(try open().keys == keyring.keys)
        #expect(keyring.keys.count == 1)
    }

    @Test func masterKeysAreReadFromHexadecimalWithWhiteSpace() throws {
        let text = MasterKey.generate()
        #expect(text.count == 64)
        let key = try MasterKey(Array("  \(text)\n".utf8), source: "file")
        #expect(key.bytes == bytes(text))
        for bad in ["", "ab", text + "00", String(text.dropLast()) + "g"] {
            let error = #expect(throws: FileError.self) { try MasterKey(Array(bad.utf8), source: "file") }
            #expect(error?.path == "file")
        }
    }
}

/// Record logs and blocks under a cipher.
@Suite struct SealedFileTests {
    static let kind = RecordLogHeader.Kind("TEST")

    private func encryptedDisk(seed: UInt64 = 1) throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem(seed: seed)
        try disk.createDirectory("/d")
        disk.use(try Keyring.open("/d/keyring", master: testMasterKey(), in: disk))
        return disk
    }

    private func write(_ bodies: [[UInt8]], to disk: SimulatedFileSystem, compresses: Bool = false) throws {
        let header = RecordLogHeader(kind: Self.kind, number: 1, fileID: disk.makeFileID())
        var writer = try RecordLogWriter.create("/d/log", header: header, compresses: compresses, in: disk)
        for (tag, body) in bodies.enumerated() { try writer.append(body, tag: UInt64(tag)) }
        try writer.synchronize()
        try writer.close()
    }

    private func read(_ disk: SimulatedFileSystem) throws -> [[UInt8]] {
        var reader = try RecordLogReader("/d/log", kind: Self.kind, in: disk)
        var bodies: [[UInt8]] = []
        while let record = try reader.next() { bodies.append(Array(record.body)) }
        return bodies
    }

    @Test(arguments: [false, true]) func recordsComeBackAndDoNotShow(compresses: Bool) throws {
        let disk = try encryptedDisk()
        let secret = Array("the secret stone ".utf8)
        let bodies = (0..<20).map { number in Array(repeatElement(secret, count: number + 1).joined()) }
        try write(bodies, to: disk, compresses: compresses)
        #expect(try read(disk) == bodies)
        #expect(!(try disk.contents(of: "/d/log")).windows(of: 10).contains { Array($0) == Array(secret.prefix(10)) })
    }

    @Test func compressedRecordsComeBackInTheClearToo() throws {
        let disk = SimulatedFileSystem(seed: 4)
        try disk.createDirectory("/d")
        var random = SeededGenerator(seed: 5)
        let bodies = (1..<60).map { $0 % 2 == 0 ? random.bytes($0 * 7) : [UInt8](repeating: 9, count: $0 * 30) }
        try write(bodies, to: disk, compresses: true)
        #expect(try read(disk) == bodies)
        #expect(try disk.size(of: "/d/log") < UInt64(bodies.joined().count))
    }

    @Test func withoutTheKeyAFileIsRefusedByName() throws {
        let disk = try encryptedDisk()
        try write([[1, 2, 3]], to: disk)
        disk.use(nil)
        var error = #expect(throws: FileError.self) { try read(disk) }
        #expect(error?.code == .wrongKey)
        #expect(error?.path == "/d/log")
        disk.use(try Keyring.open("/d/other", master: testMasterKey(), in: disk))
        error = #expect(throws: FileError.self) { try read(disk) }
        #expect(error?.code == .wrongKey)
    }

    /// Whoever can write the disk can mend every checksum, but not the seal: changed bytes give an error, never other bytes.
    @Test func B34_aRecordWithAMendedChecksumIsRefused() throws {
        let disk = try encryptedDisk()
        let bodies: [[UInt8]] = [Array("first stone".utf8), Array("other stone".utf8)]
        try write(bodies, to: disk)
        let good = try disk.contents(of: "/d/log")
        let header = try RecordLogHeader(decoding: good[...], path: "/d/log")
        let first = RecordLogHeader.byteCount
        let second = first + RecordLogWriter.recordBytes(bodyBytes: bodies[0].count, isSealed: true)
        func reseal(_ bytes: inout [UInt8], at start: Int, like frameAt: Int) {
            let length = Int(good[...].loadUInt32(at: frameAt + 4))
            var record = Array(bytes[start..<start + RecordFrame.byteCount + length])
            RecordFrame.seal(
                &record, at: 0, fileID: header.fileID, offset: UInt64(start), syncedPosition: 64,
                tag: good[...].loadUInt64(at: frameAt + 16), isCompressed: false)
            bytes.replaceSubrange(start..<start + record.count, with: record)
        }
        // A flipped bit under a good checksum.
        var bad = good
        bad[first + RecordFrame.byteCount] ^= 1
        reseal(&bad, at: first, like: first)
        try disk.replace("/d/log", with: bad)
        var error = #expect(throws: FileError.self) { try read(disk) }
        #expect(error?.code == .corruption)
        #expect(error?.offset == UInt64(first))
        // A body that claims to be compressed.
        bad = good
        var record = Array(bad[first..<first + RecordFrame.byteCount + Int(good[...].loadUInt32(at: first + 4))])
        RecordFrame.seal(
            &record, at: 0, fileID: header.fileID, offset: UInt64(first), syncedPosition: 64,
            tag: good[...].loadUInt64(at: first + 16), isCompressed: true)
        bad.replaceSubrange(first..<first + record.count, with: record)
        try disk.replace("/d/log", with: bad)
        error = #expect(throws: FileError.self) { try read(disk) }
        #expect(error?.reason.contains("seal") == true)
        // The second record in the place of the first.
        bad = good
        bad.replaceSubrange(first..<second, with: good[second..<second + (second - first)])
        reseal(&bad, at: first, like: second)
        try disk.replace("/d/log", with: bad)
        error = #expect(throws: FileError.self) { try read(disk) }
        #expect(error?.code == .corruption)
    }

    @Test func B34_blocksAreBoundToFilePlaceAndCodec() throws {
        let disk = try encryptedDisk()
        let keyring = try #require(disk.keyring)
        let block = Array("stone on stone on stone on stone".utf8)
        let cipher = keyring.makeCipher(fileID: 1)
        let other = keyring.makeCipher(fileID: 2)
        var stored: [UInt8] = []
        BlockCodec().encode(
            block.span.bytes, fileID: 1, offset: 64, sealer: cipher.makeSealer(), appendingTo: &stored)
        let codec = BlockCodec(cipher: cipher)
        #expect(try codec.decode(stored[...], fileID: 1, offset: 64, path: "/t") == block[...])

        func refusal(_ stored: [UInt8], _ codec: BlockCodec, fileID: UInt64 = 1, offset: UInt64 = 64) -> FileError? {
            var mended = Array(stored.dropLast(4))
            mended.append(
                littleEndian: CRC32C.checksum(mended, extending: CRC32C.place(fileID: fileID, offset: offset)))
            do throws(FileError) {
                _ = try codec.decode(mended[...], fileID: fileID, offset: offset, path: "/t")
                return nil
            } catch { return error }
        }
        #expect(refusal(stored, codec) == nil)
        #expect(refusal(stored, codec, offset: 128)?.code == .corruption)
        #expect(refusal(stored, BlockCodec(cipher: other), fileID: 2)?.code == .corruption)
        var clear: [UInt8] = []
        BlockCodec().encode(block.span.bytes, fileID: 1, offset: 64, appendingTo: &clear)
        #expect(refusal(clear, codec)?.reason.contains("in the clear") == true)
        #expect(refusal(stored, BlockCodec())?.code == .corruption)
        var raw = stored
        raw[raw.count - 5] ^= 1
        #expect(refusal(raw, codec)?.code == .corruption)
    }

    /// Collects what every record of many lives of files was sealed with.
    @Test func B33_noKeyAndNonceTwice() throws {
        let disk = try encryptedDisk()
        var seen: Set<[UInt64]> = []
        for life in 0..<20 {
            let header = RecordLogHeader(kind: Self.kind, number: 1, fileID: disk.makeFileID())
            var writer =
                life == 0
                ? try RecordLogWriter.create("/d/log-0", header: header, in: disk)
                : try RecordLogWriter.recycle("/d/log-\(life - 1)", as: "/d/log-\(life)", header: header, in: disk)
            for tag in 0..<20 {
                // A write that fails takes the file out of use, so its place is never sealed again.
                if tag == 15, life % 3 == 0 { disk.inject(DiskFault(.error(.outOfSpace), on: .write, nth: 1)) }
                let offset = writer.stage([UInt8(life), UInt8(tag)], tag: UInt64(tag))
                let nonce = RecordFrame.nonce(tag: UInt64(tag), offset: offset, isCompressed: false)
                let used = [
                    writer.header.cipher.keyID, writer.header.cipher.salt, header.fileID, nonce.wide,
                    UInt64(nonce.narrow),
                ]
                #expect(seen.insert(used).inserted)
                do { try writer.writeStaged() } catch {
                    try writer.retire()
                    break
                }
            }
            #expect(life % 3 != 0 || writer.hasFailed)
            #expect(throws: FileError.self) {
                guard writer.hasFailed else { throw FileError(.io, .write, path: "") }
                _ = try writer.append([1])
            }
            try writer.close()
        }
    }
}

extension Array<UInt8> {
    func windows(of count: Int) -> some Sequence<ArraySlice<UInt8>> {
        (0..<Swift.max(0, self.count - count + 1)).lazy.map { self[$0..<$0 + count] }
    }
}
