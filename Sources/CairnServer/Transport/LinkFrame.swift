import CairnFiles
import NIOCore

/// What a frame between two nodes carries.
enum LinkFrameKind: UInt8, Sendable {
    /// The first frame of a connection: who calls, and for what.
    case hello = 1
    /// Raft messages of any number of groups; checksummed by their own codec.
    case raft = 2
    /// A piece of a snapshot, or an answer to one; checksummed by its own codec.
    case bulk = 3
    /// A forwarded request: a number, then the request.
    case request = 4
    /// The answer to the request of that number.
    case response = 5
    /// Asks whether the other end is still there.
    case ping = 6
    /// It is.
    case pong = 7
    /// Why the caller is turned away, before the connection is closed: whether it must end (u8), and a sentence.
    case refusal = 8
}

/// A frame on a peer connection: `length u32 LE ‖ CRC-32C u32 LE ‖ kind u8 ‖ payload`, where length counts kind and
/// payload, and the checksum covers them (it is 0 for Raft and bulk frames, which bring one of their own).
struct LinkFrame: Sendable {
    /// Bytes of the longest frame: the longest message of a client, with room for what routing adds.
    static let byteCountMax = 64 << 20
    static let headerByteCount = 9

    var kind: LinkFrameKind
    var payload: ByteBuffer

    static func append(kind: LinkFrameKind, payload: some Collection<UInt8>, to buffer: inout ByteBuffer) {
        buffer.reserveCapacity(minimumWritableBytes: headerByteCount + payload.count)
        buffer.writeInteger(UInt32(payload.count + 1), endianness: .little)
        let checksumAt = buffer.writerIndex
        buffer.writeInteger(UInt32(0), endianness: .little)
        buffer.writeInteger(kind.rawValue)
        buffer.writeBytes(payload)
        if kind != .raft && kind != .bulk {
            let sum = checksum(of: buffer, from: checksumAt + 4, to: buffer.writerIndex)
            buffer.setInteger(sum, at: checksumAt, endianness: .little)
        }
    }

    /// Takes the next whole frame off `buffer`, or returns nil when more bytes are needed.
    static func take(from buffer: inout ByteBuffer) throws(LinkFrameError) -> LinkFrame? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self) else {
            return nil
        }
        guard length >= 1, length <= byteCountMax else { throw .lengthOutOfBounds(Int(length)) }
        guard buffer.readableBytes >= 8 + Int(length) else { return nil }
        let start = buffer.readerIndex
        guard let claimed = buffer.getInteger(at: start + 4, endianness: .little, as: UInt32.self),
            let code = buffer.getInteger(at: start + 8, as: UInt8.self)
        else { return nil }
        guard let kind = LinkFrameKind(rawValue: code) else { throw .unknownKind(code) }
        if kind != .raft && kind != .bulk {
            guard checksum(of: buffer, from: start + 8, to: start + 8 + Int(length)) == claimed else {
                throw .checksumMismatch
            }
        }
        buffer.moveReaderIndex(forwardBy: headerByteCount)
        guard let payload = buffer.readSlice(length: Int(length) - 1) else { return nil }
        return LinkFrame(kind: kind, payload: payload)
    }

    private static func checksum(of buffer: ByteBuffer, from: Int, to: Int) -> UInt32 {
        buffer.getSlice(at: from, length: to - from).map { slice in
            unsafe slice.withUnsafeReadableBytes { unsafe CRC32C.checksum(RawSpan(_unsafeBytes: $0)) }
        } ?? 0
    }
}

/// Why a peer connection cannot be read any further; it is closed.
enum LinkFrameError: Error, Sendable {
    case lengthOutOfBounds(Int)
    case unknownKind(UInt8)
    case checksumMismatch
}

/// The first frame of every peer connection.
///
/// `protocol version u16 LE ‖ purpose u8 ‖ sender u64 LE ‖ receiver u64 LE ‖ folder u64 LE ‖ cluster`, where cluster is a
/// ``LinkName``.
struct LinkHello: Sendable, Equatable {
    static let protocolVersion: UInt16 = 2
    /// Bytes of the longest cluster name with its life.
    private static let clusterBytesMax = 128

    /// What a connection is for. Each purpose has a connection of its own, so that a snapshot never delays a vote.
    enum Purpose: UInt8, Sendable {
        case raft = 1
        case bulk = 2
        case requests = 3
    }

    var purpose: Purpose
    var sender: UInt64
    var receiver: UInt64
    /// The number of the sender's data folder.
    var folder: UInt64
    var cluster: String

    var encoded: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.protocolVersion, endianness: .little)
        buffer.writeInteger(purpose.rawValue)
        buffer.writeInteger(sender, endianness: .little)
        buffer.writeInteger(receiver, endianness: .little)
        buffer.writeInteger(folder, endianness: .little)
        buffer.writeString(cluster)
        return Array(buffer.readableBytesView)
    }

    init(purpose: Purpose, sender: UInt64, receiver: UInt64, folder: UInt64, cluster: String) {
        self.purpose = purpose
        self.sender = sender
        self.receiver = receiver
        self.folder = folder
        self.cluster = cluster
    }

    /// - Throws: a sentence for the log that says why the caller is refused.
    init(parsing payload: ByteBuffer) throws(LinkRefusal) {
        var payload = payload
        guard let version = payload.readInteger(endianness: .little, as: UInt16.self) else {
            throw LinkRefusal(reason: "hello is too short")
        }
        guard version == Self.protocolVersion else {
            throw LinkRefusal(
                reason:
                    "its peer protocol version \(version) is not \(Self.protocolVersion): run the same release on all nodes"
            )
        }
        guard let code = payload.readInteger(as: UInt8.self), let purpose = Purpose(rawValue: code),
            let sender = payload.readInteger(endianness: .little, as: UInt64.self),
            let receiver = payload.readInteger(endianness: .little, as: UInt64.self),
            let folder = payload.readInteger(endianness: .little, as: UInt64.self),
            payload.readableBytes <= Self.clusterBytesMax,
            let cluster = payload.readString(length: payload.readableBytes)
        else { throw LinkRefusal(reason: "hello is malformed") }
        self.init(purpose: purpose, sender: sender, receiver: receiver, folder: folder, cluster: cluster)
    }
}

/// Why a peer is turned away.
struct LinkRefusal: Error, Sendable {
    /// A sentence about the caller, for the logs of both.
    let reason: String
    /// Whether the caller's data has no place in the cluster any more, so that it must not go on.
    var callerMustEnd = false

    var encoded: [UInt8] { [callerMustEnd ? 1 : 0] + Array(reason.utf8) }

    init(reason: String, callerMustEnd: Bool = false) {
        self.reason = reason
        self.callerMustEnd = callerMustEnd
    }

    /// Reads what ``encoded`` wrote.
    init(parsing payload: ByteBuffer) {
        let bytes = payload.readableBytesView
        callerMustEnd = bytes.first == 1
        reason = String(decoding: bytes.dropFirst().prefix(1000), as: UTF8.self)
    }
}
