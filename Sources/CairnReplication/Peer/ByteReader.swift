/// Reads little-endian fields off a slice and never past its end.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        self.position = bytes.startIndex
    }

    var remaining: Int { bytes.endIndex - position }

    @inline(__always)
    mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(PeerCodecError) -> T {
        let size = MemoryLayout<T>.size
        guard remaining >= size else {
            throw PeerCodecError(.truncated, "\(size) bytes expected, \(remaining) are there")
        }
        let offset = position - bytes.startIndex
        position += size
        // Safety: every bit pattern is a T, and its bytes are there (checked above).
        return unsafe bytes.withUnsafeBytes {
            unsafe T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
    }

    /// The next `count` bytes, shared and not copied.
    mutating func slice(_ count: Int) throws(PeerCodecError) -> ArraySlice<UInt8> {
        guard count >= 0, remaining >= count else {
            throw PeerCodecError(.truncated, "\(count) bytes expected, \(remaining) are there")
        }
        defer { position += count }
        return bytes[position..<(position + count)]
    }

    mutating func rest() -> ArraySlice<UInt8> {
        defer { position = bytes.endIndex }
        return bytes[position...]
    }

    /// A count of things that take at least `bytesEach` bytes, so that a false one is found before memory is taken.
    mutating func count(bytesEach: Int) throws(PeerCodecError) -> Int {
        let count = Int(try integer(UInt32.self))
        guard count <= remaining / bytesEach else {
            throw PeerCodecError(.malformed, "\(count) items claimed, \(remaining) bytes are there")
        }
        return count
    }

    func end() throws(PeerCodecError) {
        guard remaining == 0 else { throw PeerCodecError(.malformed, "\(remaining) bytes too many") }
    }
}

extension [UInt8] {
    @inline(__always)
    mutating func appendInteger(_ value: some FixedWidthInteger) {
        // Safety: the bytes of an integer on the stack, read while it lives.
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }

    /// Overwrites bytes that exist.
    @inline(__always)
    mutating func setInteger(_ value: some FixedWidthInteger, at offset: Int) {
        // Safety: storeBytes checks its bounds against the buffer in every build through the precondition here.
        unsafe withUnsafeMutableBytes { buffer in
            precondition(offset >= 0 && offset + MemoryLayout.size(ofValue: value) <= buffer.count)
            unsafe buffer.storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value))
        }
    }
}
