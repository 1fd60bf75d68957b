/// The 16 bytes that open every message of MongoDB's wire protocol: four little-endian 32-bit integers.
///
/// Source: MongoDB wire protocol, "Standard Message Header".
public struct MessageHeader: Hashable, Sendable {
    /// Bytes a header takes.
    public static let byteCount = 16

    /// Bytes of the whole message, this header included.
    public var length: Int32
    /// The sender's own number for this message.
    public var requestID: Int32
    /// The request that this message answers; 0 in a request.
    public var responseTo: Int32
    /// What the bytes behind the header are.
    public var opCode: Int32

    public init(length: Int32 = 0, requestID: Int32, responseTo: Int32, opCode: OpCode) {
        self.length = length
        self.requestID = requestID
        self.responseTo = responseTo
        self.opCode = opCode.rawValue
    }

    /// Reads a header from the first 16 bytes of `bytes`.
    ///
    /// - Throws: ``WireError/truncated`` when there are fewer.
    public init(parsing bytes: ArraySlice<UInt8>) throws(WireError) {
        var reader = ByteReader(bytes)
        length = try reader.int32()
        requestID = try reader.int32()
        responseTo = try reader.int32()
        opCode = try reader.int32()
    }

    package func append(to bytes: inout [UInt8]) {
        bytes.appendInt32(length)
        bytes.appendInt32(requestID)
        bytes.appendInt32(responseTo)
        bytes.appendInt32(opCode)
    }
}

/// The kinds of message that Cairn reads or writes.
public enum OpCode: Int32, Sendable {
    case reply = 1
    case query = 2004
    case compressed = 2012
    case message = 2013
}

/// The limits of the protocol that are announced in `hello` and enforced at the door.
public enum WireLimits {
    /// Bytes of the largest message, header included.
    public static let messageBytesMax = 48_000_000
    /// Bytes of the largest document that a user may store.
    public static let documentBytesMax = 16 * 1024 * 1024
    /// Bytes that a command's document may take over ``documentBytesMax``.
    public static let commandOverheadBytes = 16 * 1024
    /// Statements in one write command.
    public static let writeBatchCountMax = 100_000
    /// The first and last wire version spoken: from the oldest up to MongoDB 8.0's.
    public static let wireVersions: ClosedRange<Int32> = 0...25
}
