import CairnBSON
import CairnTestSupport
import Testing

@testable import CairnWire

@Suite struct FrameDecoderTests {
    private func decodeAll(_ bytes: [UInt8], inPiecesOf size: Int) throws -> [ArraySlice<UInt8>] {
        var decoder = FrameDecoder()
        var frames: [ArraySlice<UInt8>] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { decoder.feed($0) }
            while let frame = try decoder.next() { frames.append(frame) }
        }
        return frames
    }

    @Test(arguments: [1, 2, 3, 7, 16, 33, 1000, 100_000])
    func messagesComeOutWholeHoweverTheirBytesArrive(pieces: Int) throws {
        let messages = (0..<20).map { number in
            OpMsg(body: [
                "ping": .int32(Int32(number)), "text": .string(BSONString(String(repeating: "x", count: number * 40))),
            ])
            .encoded(requestID: Int32(number), responseTo: 0)
        }
        let frames = try decodeAll(messages.flatMap { $0 }, inPiecesOf: pieces)
        #expect(frames.map(Array.init) == messages)
    }

    @Test(arguments: [0, 15, -1, 48_000_001, Int32.max, Int32.min])
    func E01_aLengthThatCannotBeIsRefusedBeforeMemoryIsTaken(length: Int32) {
        var decoder = FrameDecoder()
        var bytes: [UInt8] = []
        bytes.appendInt32(length)
        bytes.withUnsafeBytes { decoder.feed($0) }
        #expect(throws: WireError.lengthOutOfBounds(Int(length))) { try decoder.next() }
        #expect(decoder.pendingByteCount == 4)
    }

    @Test func E01_anAnnouncedMessageCostsOnlyWhatHasCome() throws {
        var decoder = FrameDecoder()
        var bytes: [UInt8] = []
        bytes.appendInt32(48_000_000)
        bytes.append(contentsOf: [1, 2, 3])
        bytes.withUnsafeBytes { decoder.feed($0) }
        #expect(try decoder.next() == nil)
        #expect(decoder.pendingByteCount == 7)
    }
}

@Suite struct OpMsgTests {
    private let body: Document = ["insert": "stones", "$db": "hill"]
    private let documents: [Document] = [["_id": .int32(1)], ["_id": .int32(2), "text": "granite"]]

    @Test(arguments: [OpMsg.Flags(), .checksumPresent, .moreToCome, .exhaustAllowed])
    func aMessageReadsBackAsItWasWritten(flags: OpMsg.Flags) throws {
        let message = OpMsg(flags: flags, body: body, sequences: [.init(name: "documents", documents: documents)])
        let bytes = message.encoded(requestID: 7, responseTo: 3)
        let header = try MessageHeader(parsing: bytes[...])
        #expect(header.length == Int32(bytes.count) && header.requestID == 7 && header.responseTo == 3)
        let read = try OpMsg(parsing: bytes[...])
        #expect(read.flags == flags)
        #expect(read.body == body)
        #expect(read.sequences.map(\.name) == ["documents"])
        #expect(read.sequences.first?.documents == documents)
    }

    /// The bytes of a message with the given flags and raw sections.
    private func message(flags: UInt32 = 0, sections: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        MessageHeader(
            length: Int32(MessageHeader.byteCount + 4 + sections.count), requestID: 1, responseTo: 0, opCode: .message
        ).append(to: &bytes)
        bytes.appendInt32(Int32(bitPattern: flags))
        return bytes + sections
    }

    private func section(_ name: String, _ documents: [Document]) -> [UInt8] {
        var content = Array(name.utf8) + [0]
        for document in documents { content += document.bytes }
        var bytes: [UInt8] = [1]
        bytes.appendInt32(Int32(content.count + 4))
        return bytes + content
    }

    @Test func E05_sectionsThatMakeNoCommandAreRefused() {
        let body = [0] + Array(self.body.bytes)
        let cases: [[UInt8]] = [
            [], body + body, section("documents", documents), body + section("", documents),
            body + section("documents", documents) + section("documents", documents),
            body + section("insert", documents), body + [2], [0, 5, 0], body + [1, 0, 0, 0, 0],
            body + [1, 255, 0, 0, 0, 65],
            body + [1, 255, 255, 255, 255], body + [1, 8, 0, 0, 0, 65, 66, 67],
        ]
        for sections in cases {
            #expect(throws: WireError.self, "\(sections)") { try OpMsg(parsing: message(sections: sections)[...]) }
        }
    }

    @Test func E05_unknownRequiredFlagsAreRefusedAndOptionalOnesPassed() throws {
        let body = [0] + Array(self.body.bytes)
        #expect(throws: WireError.unknownFlags(1 << 2)) {
            try OpMsg(parsing: message(flags: 1 << 2, sections: body)[...])
        }
        _ = try OpMsg(parsing: message(flags: 1 << 20, sections: body)[...])
    }

    @Test func E05_everyFlippedBitUnderAChecksumIsNoticed() throws {
        let bytes = OpMsg(flags: .checksumPresent, body: body).encoded(requestID: 1, responseTo: 0)
        for index in MessageHeader.byteCount..<bytes.count {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 << UInt8(bit)
                // The flag that announces the checksum is the one bit whose loss only shortens what is checked.
                if index == 16 && bit == 0 { continue }
                #expect(throws: WireError.self) { try OpMsg(parsing: damaged[...]) }
            }
        }
    }

    @Test func E05_truncationAtEveryByteIsAnErrorAndNoCrash() {
        let bytes = OpMsg(body: body, sequences: [.init(name: "documents", documents: documents)])
            .encoded(requestID: 1, responseTo: 0)
        for count in MessageHeader.byteCount..<bytes.count {
            guard let read = try? OpMsg(parsing: bytes[..<count]) else { continue }
            // Only a cut between whole sections leaves a message, and then it is a shorter one.
            #expect(read.sequences.isEmpty)
        }
    }

    @Test func E25_mutatedMessagesNeverCrash() {
        var generator = SeededGenerator(seed: 20_261_123)
        let bytes = OpMsg(flags: [], body: body, sequences: [.init(name: "documents", documents: documents)])
            .encoded(requestID: 1, responseTo: 0)
        for _ in 0..<20_000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                damaged[Int.random(in: 0..<damaged.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            _ = try? OpMsg(parsing: damaged[...])
            _ = try? OpQuery(parsing: damaged[...])
            _ = try? OpCompressed.unpack(damaged[...])
        }
    }
}

@Suite struct OpCompressedTests {
    private let plain = OpMsg(body: ["text": .string(BSONString(String(repeating: "granite ", count: 500)))])
        .encoded(requestID: 9, responseTo: 4)

    @Test(arguments: Compressor.allCases)
    func whatIsPackedUnpacksToTheSameMessage(compressor: Compressor) throws {
        let packed = try OpCompressed.pack(plain, with: compressor)
        let (unpacked, found) = try OpCompressed.unpack(packed[...])
        #expect(unpacked == plain)
        #expect(found == compressor)
        #expect(compressor == .noop || packed.count < plain.count / 2)
    }

    /// `packed` with another uncompressed size in its header.
    private func claiming(_ size: Int32, _ packed: [UInt8]) -> [UInt8] {
        var bytes = packed
        bytes.replaceInt32(at: 20, with: size)
        return bytes
    }

    @Test(arguments: Compressor.allCases, [-1, 0, 1, 100, 4095, 5000, 47_999_984, 48_000_000, Int32.max, Int32.min])
    func E02_aFalseSizeIsRefused(compressor: Compressor, size: Int32) throws {
        let packed = try OpCompressed.pack(plain, with: compressor)
        #expect(throws: WireError.self) { try OpCompressed.unpack(claiming(size, packed)[...]) }
    }

    @Test func E04_compressionInCompressionAndUnknownCompressorsAreRefused() throws {
        let packed = try OpCompressed.pack(plain, with: .snappy)
        let twice = try OpCompressed.pack(packed, with: .snappy)
        #expect(throws: WireError.unknownOpCode(2012)) { try OpCompressed.unpack(twice[...]) }
        var unknown = packed
        unknown[24] = 77
        #expect(throws: WireError.unknownCompressor(77)) { try OpCompressed.unpack(unknown[...]) }
    }

    @Test func E03_aBombStopsAtTheLimit() throws {
        let bomb = OpMsg(body: ["x": .string(BSONString(String(repeating: "a", count: 2_000_000)))]).encoded(
            requestID: 1, responseTo: 0)
        for compressor in [Compressor.snappy, .zlib] {
            let packed = try OpCompressed.pack(bomb, with: compressor)
            #expect(throws: WireError.self) { try OpCompressed.unpack(packed[...], messageBytesMax: 1_000_000) }
        }
    }
}

@Suite struct OpQueryTests {
    private func query(_ namespace: String, _ document: Document) -> [UInt8] {
        var bytes: [UInt8] = []
        MessageHeader(requestID: 1, responseTo: 0, opCode: .query).append(to: &bytes)
        bytes.appendInt32(0)
        bytes += Array(namespace.utf8) + [0]
        bytes.appendInt32(0)
        bytes.appendInt32(-1)
        bytes += document.bytes
        bytes.replaceInt32(at: 0, with: Int32(bytes.count))
        return bytes
    }

    @Test func aCommandOfTheOldProtocolIsUnderstood() throws {
        let read = try OpQuery(parsing: query("admin.$cmd", ["isMaster": .int32(1)])[...])
        #expect(read.commandDatabase == "admin")
        #expect(read.command == ["isMaster": .int32(1)])
        let wrapped = try OpQuery(parsing: query("hill.$cmd", ["$query": ["ping": .int32(1)]])[...])
        #expect(wrapped.command == ["ping": .int32(1)])
        #expect(try OpQuery(parsing: query("hill.stones", [:])[...]).commandDatabase == nil)
    }

    @Test func aReplyHoldsItsDocument() throws {
        let reply: Document = ["ok": .double(1)]
        let bytes = OpReply.encoded(document: reply, requestID: 2, responseTo: 1)
        #expect(try MessageHeader(parsing: bytes[...]).length == Int32(bytes.count))
        #expect(Array(bytes.suffix(reply.byteCount)) == Array(reply.bytes))
    }
}
