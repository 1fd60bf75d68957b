import CairnFiles
public import CairnRaft

/// The frames in which nodes talk to each other.
///
/// A frame holds the messages that one node has for another at one moment, whatever their groups, so that a turn of the
/// event loop costs one write a peer. All integers are little-endian.
///
/// ```
/// offset  bytes
///      0      4  magic "CRNP"
///      4      2  protocol version, 4
///      6      2  0
///      8      8  cluster
///     16      8  sender
///     24      8  receiver
///     32      4  bytes of the body
///     36      4  messages in the body
///     40      4  CRC32C of bytes 0..<40 and the body
///     44         body: messages, each  length (u32, of what follows) ‖ group (u32) ‖ kind (u8) ‖ fields
/// ```
///
/// Nothing is allocated from a claimed length: a frame's length is checked against ``bytesMax`` before its body is read, and
/// counts inside are checked against the bytes that are there. A frame of another version is refused by that name, so
/// that nodes of two versions never misread each other.
public enum PeerCodec {
    public static let protocolVersion: UInt16 = 4
    public static let headerBytes = 44
    /// The largest frame: one entry of the largest size and some company.
    public static let bytesMax = 64 << 20
    /// The largest entry that may be proposed, so that its message always fits a frame.
    public static let entryBytesMax = bytesMax - (1 << 16)
    /// A frame that has reached this is sent and another begun.
    static let bytesWanted = 4 << 20
    static let magic: UInt32 = 0x504E_5243
    /// Length, group and kind.
    static let messageHeaderBytes = 9

    /// The bytes of the whole frame whose first ``headerBytes`` are given, which a decoder of a stream must gather.
    ///
    /// - Throws: ``PeerCodecError`` when no frame of this protocol version begins so; close the connection then.
    public static func frameByteCount(header: ArraySlice<UInt8>) throws(PeerCodecError) -> Int {
        var reader = ByteReader(header)
        guard try reader.integer(UInt32.self) == magic else {
            throw PeerCodecError(.notAFrame, "no frame begins so")
        }
        let version = try reader.integer(UInt16.self)
        guard version == protocolVersion else {
            throw PeerCodecError(
                .unsupportedVersion,
                "the peer speaks version \(version) of the peer protocol, this node version \(protocolVersion)")
        }
        _ = try reader.slice(26)
        let body = Int(try reader.integer(UInt32.self))
        guard body <= bytesMax - headerBytes else {
            throw PeerCodecError(.tooLarge, "a frame of \(body) bytes, the limit is \(bytesMax)")
        }
        return headerBytes + body
    }

    /// Checks a whole frame and returns what it holds.
    ///
    /// - Parameter sender: who the connection says is at its other end; nil skips that check.
    public static func open(
        _ frame: ArraySlice<UInt8>, cluster: UInt64, from sender: NodeID? = nil, to receiver: NodeID? = nil
    ) throws(PeerCodecError) -> PeerFrame {
        guard frame.count >= headerBytes else {
            throw PeerCodecError(.truncated, "a frame of \(frame.count) bytes")
        }
        let byteCount = try frameByteCount(header: frame.prefix(headerBytes))
        guard frame.count == byteCount else {
            throw PeerCodecError(.truncated, "\(byteCount) bytes claimed, \(frame.count) are there")
        }
        var reader = ByteReader(frame)
        _ = try reader.slice(8)
        let frameCluster = try reader.integer(UInt64.self)
        guard frameCluster == cluster else {
            throw PeerCodecError(
                .otherCluster,
                "a frame of cluster \(String(frameCluster, radix: 16)) in cluster \(String(cluster, radix: 16))")
        }
        let from = NodeID(rawValue: try reader.integer())
        let to = NodeID(rawValue: try reader.integer())
        if let sender, sender != from {
            throw PeerCodecError(.wrongNode, "a frame of node \(from) on the connection of node \(sender)")
        }
        if let receiver, receiver != to {
            throw PeerCodecError(.wrongNode, "a frame for node \(to) reached node \(receiver)")
        }
        _ = try reader.integer(UInt32.self)
        let count = try reader.integer(UInt32.self)
        let claimed = try reader.integer(UInt32.self)
        let body = reader.rest()
        guard claimed == checksum(header: frame.prefix(40), body: body) else {
            throw PeerCodecError(.checksum, "a frame of node \(from) was damaged on the way")
        }
        guard Int(count) <= body.count / messageHeaderBytes else {
            throw PeerCodecError(.malformed, "\(count) messages claimed in \(body.count) bytes")
        }
        return PeerFrame(sender: from, receiver: to, count: Int(count), body: body)
    }

    /// The checked messages of a frame, for a shell whose groups live on several loops: it hands each to the loop of its group.
    public static func messages(
        in frame: ArraySlice<UInt8>, cluster: UInt64, from sender: NodeID? = nil, to receiver: NodeID? = nil
    ) throws(PeerCodecError) -> [PeerMessage] {
        try open(frame, cluster: cluster, from: sender, to: receiver).messages()
    }

    static func checksum(header: ArraySlice<UInt8>, body: ArraySlice<UInt8>) -> UInt32 {
        CRC32C.checksum(body, extending: CRC32C.checksum(header))
    }
}

/// A frame whose checksum and addresses were found right; its messages are still to be read.
public struct PeerFrame: Sendable {
    public let sender: NodeID
    public let receiver: NodeID
    public let count: Int
    let body: ArraySlice<UInt8>

    /// Slices of the frame, in order.
    public func messages() throws(PeerCodecError) -> [PeerMessage] {
        var messages: [PeerMessage] = []
        messages.reserveCapacity(count)
        var reader = ByteReader(body)
        for _ in 0..<count { messages.append(try PeerMessage(from: &reader, sender: sender)) }
        try reader.end()
        return messages
    }
}

/// One message of a frame, not yet decoded: enough to know whose it is.
public struct PeerMessage: Sendable {
    public let sender: NodeID
    public let group: GroupID
    /// Kind and fields, a slice of the frame.
    public let bytes: ArraySlice<UInt8>

    @inline(__always)
    init(from reader: inout ByteReader, sender: NodeID) throws(PeerCodecError) {
        let length = Int(try reader.integer(UInt32.self))
        guard length >= PeerCodec.messageHeaderBytes - 4 else {
            throw PeerCodecError(.malformed, "a message of \(length) bytes")
        }
        self.sender = sender
        self.group = GroupID(rawValue: try reader.integer())
        self.bytes = try reader.slice(length - 4)
    }
}
