// How values, names and numbers become bytes. The only writers of BSON in the module.
extension Array where Element == UInt8 {
    @inline(__always)
    mutating func append(littleEndian value: some FixedWidthInteger) {
        let little = value.littleEndian
        unsafe Swift.withUnsafeBytes(of: little) { bytes in unsafe append(contentsOf: bytes) }
    }

    @inline(__always)
    mutating func append(bigEndian value: some FixedWidthInteger) {
        let big = value.bigEndian
        unsafe Swift.withUnsafeBytes(of: big) { bytes in unsafe append(contentsOf: bytes) }
    }

    mutating func patch(littleEndian value: UInt32, at position: Int) {
        self[position] = UInt8(truncatingIfNeeded: value)
        self[position + 1] = UInt8(truncatingIfNeeded: value >> 8)
        self[position + 2] = UInt8(truncatingIfNeeded: value >> 16)
        self[position + 3] = UInt8(truncatingIfNeeded: value >> 24)
    }

    /// Appends a slice in one copy; the generic `append(contentsOf:)` is several times slower for short ones.
    @inline(__always)
    mutating func append(slice: ArraySlice<UInt8>) {
        unsafe slice.withUnsafeBufferPointer { bytes in unsafe append(contentsOf: bytes) }
    }

    mutating func append(cString name: String) {
        unsafe withUTF8(of: name) { utf8 in
            precondition(unsafe !containsZero(utf8), "a name with a zero byte cannot be written")
            unsafe append(contentsOf: utf8)
        }
        append(0)
    }

    mutating func append(cString name: BSONString) {
        unsafe name.utf8.withUnsafeBytes { utf8 in
            precondition(unsafe !containsZero(utf8), "a name with a zero byte cannot be written")
            unsafe append(contentsOf: utf8)
        }
        append(0)
    }

    mutating func append(stringOf string: String) {
        let utf8 = string.utf8
        append(littleEndian: UInt32(utf8.count + 1))
        unsafe withUTF8(of: string) { utf8 in unsafe append(contentsOf: utf8) }
        append(0)
    }

    mutating func append(stringOf string: BSONString) {
        append(littleEndian: UInt32(string.utf8.count + 1))
        append(slice: string.utf8)
        append(0)
    }

    /// Appends the decimal digits of an array index.
    mutating func append(decimal index: Int) {
        if index < 10 {
            append(UInt8(0x30 + index))
        } else if index < 100 {
            append(UInt8(0x30 + index / 10))
            append(UInt8(0x30 + index % 10))
        } else {
            append(contentsOf: String(index).utf8)
        }
    }

    /// Appends what follows the name in an element.
    mutating func append(valueOf value: Value) {
        switch value {
        case .double(let value): append(littleEndian: value.bitPattern)
        case .string(let value), .javaScript(let value), .symbol(let value): append(stringOf: value)
        case .document(let value): append(slice: value.bytes)
        case .array(let value): append(slice: value.document.bytes)
        case .binary(let value):
            append(littleEndian: UInt32(value.data.count))
            append(value.subtype.rawValue)
            append(slice: value.data)
        case .undefined, .null, .minKey, .maxKey: break
        case .objectID(let value): value.append(to: &self)
        case .bool(let value): append(value ? 1 : 0)
        case .date(let milliseconds): append(littleEndian: UInt64(bitPattern: milliseconds))
        case .regex(let value):
            append(cString: value.pattern)
            append(cString: value.options)
        case .dbPointer(let value):
            append(stringOf: value.namespace)
            value.id.append(to: &self)
        case .javaScriptWithScope(let code, let scope):
            append(littleEndian: UInt32(4 + 4 + code.utf8.count + 1 + scope.byteCount))
            append(stringOf: code)
            append(slice: scope.bytes)
        case .int32(let value): append(littleEndian: UInt32(bitPattern: value))
        case .timestamp(let value): append(littleEndian: value.rawValue)
        case .int64(let value): append(littleEndian: UInt64(bitPattern: value))
        case .decimal128(let value):
            append(littleEndian: value.low)
            append(littleEndian: value.high)
        }
    }
}
