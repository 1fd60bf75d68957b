import CCRC32C
import CairnBSON

/// MongoDB's message for commands and their replies: flags, one body document, and named sequences of documents
/// that stand for array fields of the body.
///
/// Source: MongoDB wire protocol, "OP_MSG".
public struct OpMsg: Sendable {
    /// The flag bits; of bits 0 to 15 only the two first are known, bits 16 to 31 are optional.
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// The message ends in a CRC-32C of all bytes before it.
        public static let checksumPresent = Flags(rawValue: 1 << 0)
        /// The sender sends another message without waiting, and wants no answer to this one.
        public static let moreToCome = Flags(rawValue: 1 << 1)
        /// The sender is ready for several replies to this one request.
        public static let exhaustAllowed = Flags(rawValue: 1 << 16)
        static let required: UInt32 = 0xFFFF
        static let known: UInt32 = 0b11
    }

    /// A section of kind 1: an array field of the command, sent beside its body.
    public struct Sequence: Sendable {
        public var name: String
        public var documents: [Document]
        public init(name: String, documents: [Document]) {
            self.name = name
            self.documents = documents
        }
    }

    public var flags: Flags
    public var body: Document
    public var sequences: [Sequence]

    public init(flags: Flags = [], body: Document, sequences: [Sequence] = []) {
        self.flags = flags
        self.body = body
        self.sequences = sequences
    }

    /// Reads the message whose bytes, header included, are `message`.
    ///
    /// Documents stay in `message` (no copy); each is validated once, here.
    ///
    /// - Throws: ``WireError`` for anything that the protocol does not allow.
    /// - Complexity: O(bytes).
    public init(parsing message: ArraySlice<UInt8>) throws(WireError) {
        var reader = ByteReader(message.dropFirst(MessageHeader.byteCount))
        let bits = UInt32(bitPattern: try reader.int32())
        guard bits & Flags.required & ~Flags.known == 0 else { throw .unknownFlags(bits) }
        flags = Flags(rawValue: bits)
        if flags.contains(.checksumPresent) {
            guard reader.remaining >= 4 else { throw .truncated }
            var tail = ByteReader(message.suffix(4))
            let claimed = UInt32(bitPattern: try tail.int32())
            guard CRC32C.checksum(message.dropLast(4)) == claimed else { throw .checksumMismatch }
            reader = ByteReader(reader.rest.dropLast(4))
        }
        var foundBody: Document?
        sequences = []
        while reader.remaining > 0 {
            switch try reader.byte() {
            case 0:
                guard foundBody == nil else { throw .malformedSections("two bodies") }
                foundBody = try Self.document(from: &reader)
            case 1:
                let size = Int(try reader.int32())
                guard size >= 4 else { throw .truncated }
                var section = ByteReader(try reader.bytes(size - 4))
                let name = try section.cString()
                guard !name.isEmpty else { throw .malformedSections("a sequence without a name") }
                guard !sequences.contains(where: { $0.name == name }) else {
                    throw .malformedSections("two sequences named '\(name)'")
                }
                var documents: [Document] = []
                while section.remaining > 0 { documents.append(try Self.document(from: &section)) }
                sequences.append(Sequence(name: name, documents: documents))
            case let kind: throw .malformedSections("section kind \(kind)")
            }
        }
        guard let foundBody else { throw .malformedSections("no body") }
        for sequence in sequences where foundBody[sequence.name] != nil {
            throw .malformedSections("'\(sequence.name)' is both in the body and a sequence")
        }
        body = foundBody
    }

    private static func document(from reader: inout ByteReader) throws(WireError) -> Document {
        var peek = reader
        let length = Int(try peek.int32())
        guard length >= 5 else { throw .truncated }
        let bytes = try reader.bytes(length)
        do { return try Document(validating: bytes) } catch { throw .document(error) }
    }

    /// The bytes of the whole message.
    public func encoded(requestID: Int32, responseTo: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        let sequenceBytes = sequences.reduce(0) { sum, sequence in
            sequence.documents.reduce(sum + 6 + sequence.name.utf8.count) { $0 + $1.byteCount }
        }
        bytes.reserveCapacity(MessageHeader.byteCount + 9 + body.byteCount + sequenceBytes)
        MessageHeader(requestID: requestID, responseTo: responseTo, opCode: .message).append(to: &bytes)
        bytes.appendInt32(Int32(bitPattern: flags.rawValue))
        bytes.append(0)
        bytes.append(contentsOf: body.bytes)
        for sequence in sequences {
            bytes.append(1)
            let sizeAt = bytes.count
            bytes.appendInt32(0)
            bytes.append(contentsOf: sequence.name.utf8)
            bytes.append(0)
            for document in sequence.documents { bytes.append(contentsOf: document.bytes) }
            bytes.replaceInt32(at: sizeAt, with: Int32(bytes.count - sizeAt))
        }
        let checksummed = flags.contains(.checksumPresent)
        bytes.replaceInt32(at: 0, with: Int32(bytes.count + (checksummed ? 4 : 0)))
        if checksummed { bytes.appendInt32(Int32(bitPattern: CRC32C.checksum(bytes[...]))) }
        return bytes
    }
}

/// The checksum of OP_MSG.
enum CRC32C {
    static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        // Safety: the pointer is used within the closure, for as many bytes as the slice has.
        unsafe bytes.withUnsafeBytes { unsafe cairn_crc32c(0, $0.baseAddress, $0.count) }
    }
}
