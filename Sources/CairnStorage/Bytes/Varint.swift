/// Unsigned LEB128 numbers: seven bits a byte, the lowest first, a set high bit says that more follow.
enum Varint {
    @inlinable
    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}

/// Reads numbers and byte strings from the front of borrowed bytes; every step is checked.
struct ByteReader {
    let bytes: BorrowedBytes
    private(set) var offset = 0

    init(_ bytes: BorrowedBytes, from offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    var remaining: Int { bytes.count &- offset }

    @inline(__always)
    mutating func byte() -> UInt8? {
        guard offset < bytes.count else { return nil }
        defer { offset &+= 1 }
        return bytes[offset]
    }

    @inline(__always)
    mutating func varint() -> UInt64? {
        guard offset < bytes.count else { return nil }
        let first = bytes[offset]
        offset &+= 1
        if first < 0x80 { return UInt64(first) }
        return varintRest(first)
    }

    private mutating func varintRest(_ first: UInt8) -> UInt64? {
        var result = UInt64(first & 0x7F)
        var shift: UInt64 = 7
        while let next = byte() {
            if shift == 63, next > 1 { return nil }
            result |= UInt64(next & 0x7F) << shift
            if next < 0x80 { return result }
            shift += 7
            if shift > 63 { return nil }
        }
        return nil
    }

    /// A varint that is a length of something that still has to follow.
    @inline(__always)
    mutating func length() -> Int? {
        guard let value = varint(), value <= UInt64(remaining) else { return nil }
        return Int(value)
    }

    mutating func uint32() -> UInt32? {
        guard remaining >= 4 else { return nil }
        defer { offset += 4 }
        // Safety: four bytes are there, and every bit pattern is a number.
        return unsafe UInt32(littleEndian: bytes.base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    mutating func uint64() -> UInt64? {
        guard remaining >= 8 else { return nil }
        defer { offset += 8 }
        // Safety: eight bytes are there, and every bit pattern is a number.
        return unsafe UInt64(littleEndian: bytes.base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    mutating func take(_ count: Int) -> BorrowedBytes? {
        guard count >= 0, count <= remaining else { return nil }
        defer { offset &+= count }
        return unsafe BorrowedBytes(base: bytes.base + offset, count: count)
    }

    /// A length and as many bytes.
    mutating func lengthAndBytes() -> [UInt8]? {
        guard let count = length(), let bytes = take(count) else { return nil }
        return bytes.copied()
    }
}

extension [UInt8] {
    mutating func append(littleEndian value: UInt32) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func append(littleEndian value: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func append(lengthAndBytes bytes: [UInt8]) {
        Varint.append(UInt64(bytes.count), to: &self)
        append(contentsOf: bytes)
    }
}
