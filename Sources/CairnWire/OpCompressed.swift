import CSnappy
import CZlib

/// The compressors that two ends can agree on in `hello`.
public enum Compressor: UInt8, Sendable, CaseIterable {
    case noop = 0
    case snappy = 1
    case zlib = 2

    /// The name in `hello`'s `compression` field.
    public var name: String {
        switch self {
        case .noop: "noop"
        case .snappy: "snappy"
        case .zlib: "zlib"
        }
    }

    public init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name && $0 != .noop }) else { return nil }
        self = found
    }
}

/// A message inside a message, compressed.
///
/// Source: MongoDB wire protocol, "OP_COMPRESSED".
public enum OpCompressed {
    /// Unpacks `message` into the message that it carries, with a header of its own.
    ///
    /// The claimed size is checked against the limit before memory is taken, and only bytes that the compressor
    /// really produced are returned.
    ///
    /// - Throws: ``WireError/malformedCompression(_:)``, ``WireError/unknownCompressor(_:)``,
    ///   ``WireError/unknownOpCode(_:)`` (a compressed message inside a compressed one included).
    public static func unpack(
        _ message: ArraySlice<UInt8>, messageBytesMax: Int = WireLimits.messageBytesMax
    ) throws(WireError) -> (message: [UInt8], compressor: Compressor) {
        let outer = try MessageHeader(parsing: message)
        var reader = ByteReader(message.dropFirst(MessageHeader.byteCount))
        let code = try reader.int32()
        let claimed = Int(try reader.int32())
        let id = try reader.byte()
        guard let opCode = OpCode(rawValue: code), opCode == .message || opCode == .query else {
            throw .unknownOpCode(code)
        }
        guard let compressor = Compressor(rawValue: id) else { throw .unknownCompressor(id) }
        guard claimed >= 0, claimed <= messageBytesMax - MessageHeader.byteCount else {
            throw .malformedCompression("uncompressed size \(claimed) is out of bounds")
        }
        var bytes: [UInt8] = []
        var header = MessageHeader(requestID: outer.requestID, responseTo: outer.responseTo, opCode: opCode)
        header.length = Int32(MessageHeader.byteCount + claimed)
        header.append(to: &bytes)
        switch compressor {
        case .noop:
            guard reader.remaining == claimed else { throw .malformedCompression("size of a noop body differs") }
            bytes.append(contentsOf: reader.rest)
        case .snappy: bytes.append(contentsOf: try unpackSnappy(reader.rest, size: claimed))
        case .zlib: bytes.append(contentsOf: try unpackZlib(reader.rest, size: claimed))
        }
        return (bytes, compressor)
    }

    /// Packs a whole message (header included) with `compressor`.
    public static func pack(_ message: [UInt8], with compressor: Compressor) throws(WireError) -> [UInt8] {
        let header = try MessageHeader(parsing: message[...])
        let body = message[MessageHeader.byteCount...]
        let packed: [UInt8]
        switch compressor {
        case .noop: packed = Array(body)
        case .snappy: packed = try packSnappy(body)
        case .zlib: packed = try packZlib(body)
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(MessageHeader.byteCount + 9 + packed.count)
        MessageHeader(
            length: Int32(MessageHeader.byteCount + 9 + packed.count), requestID: header.requestID,
            responseTo: header.responseTo, opCode: .compressed
        ).append(to: &bytes)
        bytes.appendInt32(header.opCode)
        bytes.appendInt32(Int32(body.count))
        bytes.append(compressor.rawValue)
        bytes.append(contentsOf: packed)
        return bytes
    }

    // Safety, for the four functions below: every pointer is used within its closure, with the length of the
    // memory it points into, and a length that the C library returns is checked against that memory.

    private static func unpackSnappy(_ packed: ArraySlice<UInt8>, size: Int) throws(WireError) -> [UInt8] {
        var trueSize = 0
        let readable = unsafe packed.withUnsafeBytes {
            unsafe snappy_uncompressed_length($0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count, &trueSize)
        }
        guard readable == SNAPPY_OK, trueSize == size else {
            throw .malformedCompression("snappy holds another size than the header says")
        }
        if size == 0 { return [] }
        var status = SNAPPY_INVALID_INPUT
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { target, count in
            var produced = size
            status = unsafe packed.withUnsafeBytes {
                unsafe snappy_uncompress(
                    $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count,
                    UnsafeMutableRawPointer(target.baseAddress!).assumingMemoryBound(to: CChar.self), &produced)
            }
            count = status == SNAPPY_OK && produced == size ? size : 0
        }
        guard bytes.count == size else { throw .malformedCompression("damaged snappy data") }
        return bytes
    }

    private static func packSnappy(_ body: ArraySlice<UInt8>) throws(WireError) -> [UInt8] {
        var status = SNAPPY_INVALID_INPUT
        let capacity = snappy_max_compressed_length(body.count)
        let packed = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { target, count in
            var produced = capacity
            status = unsafe body.withUnsafeBytes {
                unsafe snappy_compress(
                    $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count,
                    UnsafeMutableRawPointer(target.baseAddress!).assumingMemoryBound(to: CChar.self), &produced)
            }
            count = status == SNAPPY_OK ? produced : 0
        }
        guard status == SNAPPY_OK else { throw .malformedCompression("snappy could not compress") }
        return packed
    }

    private static func unpackZlib(_ packed: ArraySlice<UInt8>, size: Int) throws(WireError) -> [UInt8] {
        var status = Z_DATA_ERROR
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: max(size, 1)) { target, count in
            var produced = uLongf(size)
            status = unsafe packed.withUnsafeBytes {
                unsafe uncompress(
                    target.baseAddress, &produced, $0.baseAddress?.assumingMemoryBound(to: Bytef.self), uLong($0.count))
            }
            count = status == Z_OK ? Int(produced) : 0
        }
        guard status == Z_OK, bytes.count == size else {
            throw .malformedCompression("zlib holds another size than the header says, or is damaged")
        }
        return bytes
    }

    private static func packZlib(_ body: ArraySlice<UInt8>) throws(WireError) -> [UInt8] {
        var status = Z_DATA_ERROR
        let capacity = Int(compressBound(uLong(body.count)))
        let packed = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { target, count in
            var produced = uLongf(capacity)
            status = unsafe body.withUnsafeBytes {
                unsafe compress2(
                    target.baseAddress, &produced, $0.baseAddress?.assumingMemoryBound(to: Bytef.self),
                    uLong($0.count), Z_DEFAULT_COMPRESSION)
            }
            count = status == Z_OK ? Int(produced) : 0
        }
        guard status == Z_OK else { throw .malformedCompression("zlib could not compress") }
        return packed
    }
}
