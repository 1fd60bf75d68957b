import CairnFiles
import CairnTestSupport
import Testing

@Suite struct ChecksumTests {
    @Test func crc32cGivesTheVectorsOfRFC3720() {
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum(Array(0..<32)) == 0x46DD_794E)
        #expect(CRC32C.checksum(Array((0..<32).reversed())) == 0x113F_DB5C)
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.checksum([] as [UInt8]) == 0)
    }

    @Test func crc32cOfPartsIsThatOfTheWhole() {
        var random = SeededGenerator(seed: 11)
        let bytes = random.bytes(1000)
        let whole = CRC32C.checksum(bytes)
        for cut in stride(from: 0, through: 1000, by: 37) {
            #expect(CRC32C.checksum(bytes[cut...], extending: CRC32C.checksum(bytes[..<cut])) == whole)
        }
    }
}

@Suite struct SnappyTests {
    @Test func whatIsCompressedComesBack() throws {
        var random = SeededGenerator(seed: 12)
        for size in [0, 1, 15, 16, 100, 4096, 70_000] {
            let noise = random.bytes(size)
            let text = (0..<size).map { _ in UInt8(ascii: "a") + UInt8(random.next() % 3) }
            for bytes in [noise, text, [UInt8](repeating: 7, count: size)] {
                var stored: [UInt8] = [1, 2, 3]
                Snappy.compress(bytes.span.bytes, appendingTo: &stored)
                #expect(stored.prefix(3) == [1, 2, 3])
                let payload = Array(stored.dropFirst(3))
                #expect(try Snappy.declaredCount(of: payload.span.bytes) == size)
                #expect(try Snappy.decompress(payload.span.bytes, limit: size) == bytes)
            }
        }
    }

    @Test func B31_aClaimedLengthBeyondTheLimitTakesNoMemory() {
        let claims2GiB: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00, 0x00]
        #expect(throws: SnappyError.tooLarge(declared: Int(Int32.max), limit: 1 << 20)) {
            try Snappy.decompress(claims2GiB.span.bytes, limit: 1 << 20)
        }
        // Under the limit, but more than seven bytes of input can ever give.
        #expect(throws: SnappyError.malformed) {
            try Snappy.decompress(claims2GiB.span.bytes, limit: .max)
        }
        let nothing: [UInt8] = []
        #expect(throws: SnappyError.malformed) { try Snappy.decompress(nothing.span.bytes, limit: 10) }
    }

    @Test func B31_copiesAndLiteralsStayInsideTheirBounds() throws {
        let bad: [[UInt8]] = [
            [4, 0b0000_1100, 1, 2, 3, 4, 0],  // A copy behind the end.
            [8, 0b0000_1100, 1, 2, 3, 4, 0b0000_0001, 0],  // Offset 0.
            [8, 0b0000_1100, 1, 2, 3, 4, 0b0000_0001, 5],  // Before the start.
            [4, 0b0000_1100, 1, 2, 3],  // A literal beyond the input.
            [3, 0b0000_1100, 1, 2, 3, 4],  // More than declared.
            [5, 0b0000_1100, 1, 2, 3, 4],  // Less than declared.
        ]
        for payload in bad {
            #expect(throws: SnappyError.malformed, "\(payload)") {
                try Snappy.decompress(payload.span.bytes, limit: 100)
            }
        }
        // A copy that overlaps itself is how runs are written.
        let run: [UInt8] = [8, 0b0000_0000, 7, 0b0000_1101, 1]
        #expect(try Snappy.decompress(run.span.bytes, limit: 8) == [UInt8](repeating: 7, count: 8))
    }

    @Test func B31_hostilePayloadsGiveAnErrorAndLeaveTheOutputAlone() throws {
        var random = SeededGenerator(seed: 13)
        let text = (0..<2000).map { _ in UInt8(ascii: "a") + UInt8(random.next() % 4) }
        var payload: [UInt8] = []
        Snappy.compress(text.span.bytes, appendingTo: &payload)
        for cut in 0..<payload.count {
            let part = Array(payload.prefix(cut))
            #expect(throws: SnappyError.self, "cut at \(cut)") {
                try Snappy.decompress(part.span.bytes, limit: 4096)
            }
        }
        for _ in 0..<3000 {
            var bad = payload
            for _ in 0...Int(random.next() % 4) {
                bad[Int(random.next() % UInt64(bad.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            var output: [UInt8] = [9]
            do throws(SnappyError) {
                try Snappy.decompress(bad.span.bytes, limit: 4096, appendingTo: &output)
                #expect(output.count <= 4097)
            } catch {
                #expect(output == [9])
            }
        }
    }
}

@Suite struct BlockCodecTests {
    private static let text = Array(String(repeating: "cairn and cairn again, ", count: 100).utf8)

    @Test func B32_blocksComeBackCompressedOrNot() throws {
        var random = SeededGenerator(seed: 14)
        let codec = BlockCodec()
        for block in [Self.text, random.bytes(500), []] {
            var stored: [UInt8] = []
            codec.encode(block.span.bytes, fileID: 5, offset: 4096, appendingTo: &stored)
            #expect(try codec.decode(stored[...], fileID: 5, offset: 4096, path: "t") == block[...])
            #expect(stored.count <= block.count + BlockCodec.trailerBytes)
        }
        var stored: [UInt8] = []
        codec.encode(Self.text.span.bytes, fileID: 5, offset: 0, appendingTo: &stored)
        #expect(stored.count < Self.text.count / 4)
        #expect(stored[stored.count - 5] == BlockCodec.Compression.snappy.rawValue)
    }

    @Test func D9_aGoodBlockInTheWrongPlaceIsABadBlock() {
        let codec = BlockCodec()
        var stored: [UInt8] = []
        codec.encode(Self.text.span.bytes, fileID: 5, offset: 4096, appendingTo: &stored)
        for (file, offset) in [(6, 4096), (5, 8192), (4096, 5)] as [(UInt64, UInt64)] {
            #expect(throws: FileError(.corruption, .decode, path: "t", offset: offset, reason: "block checksum")) {
                try codec.decode(stored[...], fileID: file, offset: offset, path: "t")
            }
        }
    }

    @Test func D7_everyFlippedBitIsFound() {
        let codec = BlockCodec()
        var stored: [UInt8] = []
        codec.encode(Self.text.span.bytes, fileID: 5, offset: 0, appendingTo: &stored)
        for bit in 0..<stored.count * 8 {
            stored[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FileError.self) { try codec.decode(stored[...], fileID: 5, offset: 0, path: "t") }
            stored[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        for cut in 0..<stored.count {
            #expect(throws: FileError.self) { try codec.decode(stored[..<cut], fileID: 5, offset: 0, path: "t") }
        }
    }

    @Test func B32_aCodecOfTheFutureIsRefusedByName() {
        for (byte, reason) in [(UInt8(0x20), "cipher 2"), (0x02, "compression 2")] {
            var stored: [UInt8] = [1, 2, 3, byte]
            let checksum = CRC32C.checksum(stored, extending: CRC32C.place(fileID: 5, offset: 7))
            for shift in 0..<4 { stored.append(UInt8(truncatingIfNeeded: checksum >> (shift * 8))) }
            #expect(throws: FileError(.unsupported, .decode, path: "t", offset: 7, reason: reason)) {
                try BlockCodec().decode(stored[...], fileID: 5, offset: 7, path: "t")
            }
        }
    }

    @Test func B32_aBadPayloadUnderAGoodChecksumIsNamed() {
        for payload in [[9, 9, 9], [], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]] as [[UInt8]] {
            var stored = payload + [BlockCodec.Compression.snappy.rawValue]
            let checksum = CRC32C.checksum(stored, extending: CRC32C.place(fileID: 5, offset: 7))
            for shift in 0..<4 { stored.append(UInt8(truncatingIfNeeded: checksum >> (shift * 8))) }
            do throws(FileError) {
                _ = try BlockCodec().decode(stored[...], fileID: 5, offset: 7, path: "t")
                Issue.record("\(payload) was taken")
            } catch {
                #expect(error.path == "t" && error.offset == 7 && [.corruption, .tooLarge].contains(error.code))
            }
        }
    }

    @Test func B32_aBlockThatClaimsTooMuchIsRefused() {
        var stored: [UInt8] = []
        let block = [UInt8](repeating: 0, count: 100_000)
        BlockCodec().encode(block.span.bytes, fileID: 1, offset: 0, appendingTo: &stored)
        #expect(throws: FileError.self) {
            try BlockCodec(decodedBytesMax: 99_999).decode(stored[...], fileID: 1, offset: 0, path: "t")
        }
    }
}
