/// Values as bytes whose order is MongoDB's order of values, so that an index compares keys without looking into them.
///
/// - Invariant: `Value.compare(a, b)` and the byte order of the encodings agree for all values; values that compare
///   equal (`1`, `1.0`, `Decimal128("1.00")`, and `0`, `-0.0`) encode the same.
/// - Invariant: an encoding ends by itself, and none is the beginning of another: encodings can be concatenated into
///   compound keys, taken apart again with ``skip(_:descending:)``, and followed by anything.
/// - Invariant: a descending encoding is the complement of the ascending one.
///
/// The format is in <doc:CairnBSON>. It is on disk: it never changes without a new index format.
public enum KeyEncoding {
    /// Appends the encoding of a value.
    public static func append(_ value: Value, descending: Bool = false, to bytes: inout [UInt8]) {
        let start = bytes.count
        var writer = Writer(bytes: [])
        // The bytes move to the writer and back, so that they have one owner and are not copied.
        swap(&writer.bytes, &bytes)
        writer.append(value, depth: 0)
        if descending { writer.complement(from: start) }
        swap(&writer.bytes, &bytes)
    }

    /// The encoding of a value on its own.
    public static func encode(_ value: Value, descending: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24)
        append(value, descending: descending, to: &bytes)
        return bytes
    }

    /// The first byte of a number's encoding is this plus its sign times its size class; all else follows from it.
    static let zero: UInt8 = 0x20
    static let nan: UInt8 = 0x14
    static let falseByte: UInt8 = 0x6E
    static let trueByte: UInt8 = 0x6F

    /// Size classes of numbers, by magnitude.
    enum NumberClass {
        /// Between 0 and 1.
        static let fraction: UInt8 = 1
        /// 1 to 8 bytes of twice the whole part: 2 to 9.
        static let whole: UInt8 = 1
        /// From 2^63 on.
        static let large: UInt8 = 10
        static let infinite: UInt8 = 11
    }
}

extension KeyEncoding {
    struct Writer {
        var bytes: [UInt8]

        mutating func complement(from start: Int) {
            for index in start..<bytes.count { bytes[index] = ~bytes[index] }
        }

        mutating func append(_ value: Value, depth: Int) {
            switch value {
            case .int32(let value): appendInteger(Int64(value))
            case .int64(let value): appendInteger(value)
            case .double(let value): appendDouble(value)
            case .decimal128(let value): appendDecimal(value)
            case .bool(let value): bytes.append(value ? KeyEncoding.trueByte : KeyEncoding.falseByte)
            default:
                bytes.append(value.type.canonicalOrder)
                appendContent(of: value, depth: depth)
            }
        }

        private mutating func appendContent(of value: Value, depth: Int) {
            switch value {
            case .string(let value), .symbol(let value), .javaScript(let value): appendText(value.utf8)
            case .objectID(let value): value.append(to: &bytes)
            case .document(let value): appendElements(of: value, named: true, depth: depth + 1)
            case .array(let value): appendElements(of: value.document, named: false, depth: depth + 1)
            case .binary(let value):
                bytes.append(bigEndian: UInt32(value.data.count))
                bytes.append(value.subtype.rawValue)
                bytes.append(slice: value.data)
            case .date(let milliseconds): bytes.append(bigEndian: UInt64(bitPattern: milliseconds) ^ 1 << 63)
            case .timestamp(let value): bytes.append(bigEndian: value.rawValue)
            case .regex(let value):
                appendText(value.pattern.utf8)
                appendText(value.options.utf8)
            case .dbPointer(let value):
                bytes.append(bigEndian: UInt32(value.namespace.utf8.count))
                bytes.append(slice: value.namespace.utf8)
                value.id.append(to: &bytes)
            case .javaScriptWithScope(let code, let scope):
                appendText(code.utf8)
                appendElements(of: scope, named: true, depth: depth + 1)
            case .undefined, .null, .minKey, .maxKey, .bool, .int32, .int64, .double, .decimal128: break
            }
        }

        /// Text with 00 written as 00 FF, then 00 00. Nothing that may follow a text sorts between the two.
        private mutating func appendText(_ text: ArraySlice<UInt8>) {
            if unsafe text.withUnsafeBytes({ text in unsafe containsZero(text) }) {
                for byte in text {
                    bytes.append(byte)
                    if byte == 0 { bytes.append(0xFF) }
                }
            } else {
                bytes.append(slice: text)
            }
            bytes.append(0)
            bytes.append(0)
        }

        /// Elements, then 00, which is below the first byte of any element. A document's element starts with its type
        /// family and its name; an array's is its value alone.
        private mutating func appendElements(of document: Document, named: Bool, depth: Int) {
            guard depth <= Value.comparisonDepthMax else {
                bytes.append(KeyEncoding.opaque)
                appendText(document.bytes)
                return
            }
            for element in document {
                let value = element.value
                if named {
                    bytes.append(value.type.canonicalOrder)
                    bytes.append(slice: element.name.utf8)
                    bytes.append(0)
                }
                append(value, depth: depth)
            }
            bytes.append(0)
        }
    }

    /// Starts the bytes of a container that is nested too deep to be taken apart. No element starts with it.
    static let opaque: UInt8 = 0x01
}
