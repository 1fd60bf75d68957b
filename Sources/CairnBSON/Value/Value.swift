/// One BSON value. What is long in it (text, documents, binaries) is a slice of the bytes that it was read from.
///
/// `==` and hashing are those of MongoDB's comparison: `1`, `1.0` and `Decimal128("1.00")` are one value, a symbol is
/// the string it spells, all NaNs are one, and -0.0 is 0. ``isIdentical(to:)`` asks for the same type and bytes.
public enum Value: Sendable {
    case double(Double)
    case string(BSONString)
    case document(Document)
    case array(BSONArray)
    case binary(Binary)
    case undefined
    case objectID(ObjectID)
    case bool(Bool)
    /// Milliseconds since 1970-01-01 00:00 UTC, without leap seconds; negative before.
    case date(milliseconds: Int64)
    case null
    indirect case regex(RegularExpression)
    indirect case dbPointer(DBPointer)
    case javaScript(BSONString)
    case symbol(BSONString)
    indirect case javaScriptWithScope(BSONString, scope: Document)
    case int32(Int32)
    case timestamp(Timestamp)
    case int64(Int64)
    case decimal128(Decimal128)
    case minKey
    case maxKey

    public var type: BSONType {
        switch self {
        case .double: .double
        case .string: .string
        case .document: .document
        case .array: .array
        case .binary: .binary
        case .undefined: .undefined
        case .objectID: .objectID
        case .bool: .bool
        case .date: .date
        case .null: .null
        case .regex: .regex
        case .dbPointer: .dbPointer
        case .javaScript: .javaScript
        case .symbol: .symbol
        case .javaScriptWithScope: .javaScriptWithScope
        case .int32: .int32
        case .timestamp: .timestamp
        case .int64: .int64
        case .decimal128: .decimal128
        case .minKey: .minKey
        case .maxKey: .maxKey
        }
    }

    /// True if both have the same type and the same bytes.
    public func isIdentical(to other: Value) -> Bool {
        guard type == other.type else { return false }
        switch (self, other) {
        case (.double(let a), .double(let b)): return a.bitPattern == b.bitPattern
        case (.decimal128(let a), .decimal128(let b)): return a.low == b.low && a.high == b.high
        case (.document(let a), .document(let b)): return a == b
        case (.array(let a), .array(let b)): return a == b
        case (.javaScriptWithScope(let a, let x), .javaScriptWithScope(let b, let y)): return a == b && x == y
        default: return self == other
        }
    }

    /// The bytes that follow the name in an element.
    public var encodedBytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(valueOf: self)
        return bytes
    }

    /// Reads the value of `type` that lies between two offsets from `base`, the first byte of `bytes`. The caller has
    /// checked that it fits there according to its own lengths.
    @inline(__always)
    init(type: UInt8, base: UnsafeRawPointer, from start: Int, to end: Int, in bytes: ArraySlice<UInt8>) {
        let first = bytes.startIndex
        switch type {
        case 0x01:
            let bits = UInt64(littleEndian: unsafe base.loadUnaligned(fromByteOffset: start, as: UInt64.self))
            self = .double(Double(bitPattern: bits))
        case 0x02: self = .string(BSONString(utf8: bytes[first &+ start &+ 4..<first &+ end &- 1]))
        case 0x03: self = .document(Document(trusted: bytes[first &+ start..<first &+ end]))
        case 0x04: self = .array(BSONArray(Document(trusted: bytes[first &+ start..<first &+ end])))
        case 0x08: self = .bool(unsafe base.load(fromByteOffset: start, as: UInt8.self) != 0)
        case 0x09:
            let bits = Int64(littleEndian: unsafe base.loadUnaligned(fromByteOffset: start, as: Int64.self))
            self = .date(milliseconds: bits)
        case 0x0A: self = .null
        case 0x10:
            self = .int32(Int32(littleEndian: unsafe base.loadUnaligned(fromByteOffset: start, as: Int32.self)))
        case 0x12:
            self = .int64(Int64(littleEndian: unsafe base.loadUnaligned(fromByteOffset: start, as: Int64.self)))
        case 0x07:
            let high = UInt64(bigEndian: unsafe base.loadUnaligned(fromByteOffset: start, as: UInt64.self))
            let low = UInt32(bigEndian: unsafe base.loadUnaligned(fromByteOffset: start &+ 8, as: UInt32.self))
            self = .objectID(ObjectID(high: high, low: low))
        default: self = Self.rare(type: type, bytes: bytes[first &+ start..<first &+ end])
        }
    }

    /// The types that a hot path seldom meets; `bytes` are the value's.
    @inline(never)
    private static func rare(type: UInt8, bytes: ArraySlice<UInt8>) -> Value {
        let start = bytes.startIndex
        switch type {
        case 0x05:
            return .binary(Binary(bytes[(start + 5)...], subtype: .init(rawValue: bytes[start + 4])))
        case 0x06: return .undefined
        case 0x0B:
            let pattern = bytes.prefix { $0 != 0 }
            let options = bytes[(pattern.endIndex + 1)...].dropLast()
            return .regex(RegularExpression(pattern: BSONString(utf8: pattern), options: BSONString(utf8: options)))
        case 0x0C:
            let namespace = BSONString(utf8: bytes[(start + 4)..<(bytes.endIndex - 13)])
            guard let id = ObjectID(bytes: bytes.suffix(12)) else { return .undefined }
            return .dbPointer(DBPointer(namespace: namespace, id: id))
        case 0x0D: return .javaScript(BSONString(utf8: bytes[(start + 4)..<(bytes.endIndex - 1)]))
        case 0x0E: return .symbol(BSONString(utf8: bytes[(start + 4)..<(bytes.endIndex - 1)]))
        case 0x0F:
            // The walker knows the outer length only; the string's must leave room for the scope.
            let length = Int(Int32(truncatingIfNeeded: loadLittleEndian(bytes, at: 4, count: 4)))
            guard length >= 1, length <= bytes.count - 8 - 5 else { return .undefined }
            let code = BSONString(utf8: bytes[(start + 8)..<(start + 8 + length - 1)])
            return .javaScriptWithScope(code, scope: Document(trusted: bytes[(start + 8 + length)...]))
        case 0x11: return .timestamp(Timestamp(rawValue: loadLittleEndian(bytes, at: 0, count: 8)))
        case 0x13:
            let low = loadLittleEndian(bytes, at: 0, count: 8)
            return .decimal128(Decimal128(high: loadLittleEndian(bytes, at: 8, count: 8), low: low))
        case 0x7F: return .maxKey
        case 0xFF: return .minKey
        default: return .undefined
        }
    }
}

/// Up to eight little-endian bytes as a number. Bounds are checked by the slice.
func loadLittleEndian(_ bytes: ArraySlice<UInt8>, at offset: Int, count: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<count { value |= UInt64(bytes[bytes.startIndex + offset + index]) << UInt64(8 * index) }
    return value
}
