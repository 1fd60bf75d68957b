import CairnBSON

/// Why bytes from a connection are not a message. After any of these the stream cannot be trusted: the connection
/// is closed, except for ``document(_:)`` where the frame itself was whole.
public enum WireError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A message claims a length outside 16 to 48,000,000 bytes.
    case lengthOutOfBounds(Int)
    /// A field or a section ends after the message does.
    case truncated
    /// The message is of a kind that is not spoken here.
    case unknownOpCode(Int32)
    /// A required flag bit (0 to 15) is set that is not known.
    case unknownFlags(UInt32)
    /// The sections are not one body and any number of sequences with different names.
    case malformedSections(String)
    /// The CRC-32C at the end does not match.
    case checksumMismatch
    /// The compressor is unknown, or was not agreed on.
    case unknownCompressor(UInt8)
    /// The compressed bytes do not hold what the header says.
    case malformedCompression(String)
    /// A document inside the message is not valid BSON.
    case document(BSONError)

    public var description: String {
        switch self {
        case .lengthOutOfBounds(let length):
            "message length \(length) is outside 16...\(WireLimits.messageBytesMax)"
        case .truncated: "the message ends in the middle of a field"
        case .unknownOpCode(let code): "unknown opcode \(code)"
        case .unknownFlags(let flags): "unknown required flag bits in 0x\(String(flags, radix: 16))"
        case .malformedSections(let why): "malformed OP_MSG sections: \(why)"
        case .checksumMismatch: "OP_MSG checksum does not match its contents"
        case .unknownCompressor(let id): "compressor \(id) is unknown or was not negotiated"
        case .malformedCompression(let why): "malformed OP_COMPRESSED: \(why)"
        case .document(let error): "invalid BSON: \(error)"
        }
    }
}
