/// Reads little-endian fields from a slice and never past its end.
struct ByteReader {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var remaining: Int { rest.count }

    mutating func byte() throws(WireError) -> UInt8 {
        guard let byte = rest.popFirst() else { throw .truncated }
        return byte
    }

    mutating func int32() throws(WireError) -> Int32 {
        guard rest.count >= 4 else { throw .truncated }
        let start = rest.startIndex
        let word =
            UInt32(rest[start]) | UInt32(rest[start + 1]) << 8 | UInt32(rest[start + 2]) << 16
            | UInt32(rest[start + 3]) << 24
        rest = rest.dropFirst(4)
        return Int32(bitPattern: word)
    }

    /// Takes `count` bytes, which stay where they are.
    mutating func bytes(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= rest.count else { throw .truncated }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// Takes a NUL-terminated string, without the NUL.
    mutating func cString() throws(WireError) -> String {
        guard let end = rest.firstIndex(of: 0) else { throw .truncated }
        let text = String(decoding: rest[rest.startIndex..<end], as: UTF8.self)
        rest = rest[(end + 1)...]
        return text
    }
}

extension [UInt8] {
    package mutating func appendInt32(_ value: Int32) {
        let word = UInt32(bitPattern: value)
        append(UInt8(truncatingIfNeeded: word))
        append(UInt8(truncatingIfNeeded: word >> 8))
        append(UInt8(truncatingIfNeeded: word >> 16))
        append(UInt8(truncatingIfNeeded: word >> 24))
    }

    mutating func appendInt64(_ value: Int64) {
        appendInt32(Int32(truncatingIfNeeded: value))
        appendInt32(Int32(truncatingIfNeeded: value >> 32))
    }

    package mutating func replaceInt32(at index: Int, with value: Int32) {
        let word = UInt32(bitPattern: value)
        for byte in 0..<4 { self[index + byte] = UInt8(truncatingIfNeeded: word >> (8 * UInt32(byte))) }
    }
}
