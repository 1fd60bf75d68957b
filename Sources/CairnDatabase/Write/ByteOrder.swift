/// Compares byte strings as the tablet orders its keys: by unsigned bytes, a prefix before what it begins.
enum ByteOrder {
    /// Negative, zero or positive.
    @inline(__always)
    static func compare(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
        // Safety: both buffers are read within their counts and do not leave the closures.
        unsafe left.withUnsafeBytes { a in unsafe right.withUnsafeBytes { b in unsafe compare(a, b) } }
    }

    /// Negative, zero or positive.
    @inline(__always)
    static func compare(_ left: [UInt8], _ right: ArraySlice<UInt8>) -> Int {
        // Safety: as above.
        unsafe left.withUnsafeBytes { a in unsafe right.withUnsafeBytes { b in unsafe compare(a, b) } }
    }

    /// Eight bytes at a time, because keys of one collection share long beginnings.
    @inline(__always)
    private static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        let common = min(left.count, right.count)
        var offset = 0
        while offset &+ 8 <= common {
            // Safety: every bit pattern is an integer, and the loop's condition keeps the loads in bounds.
            let a = unsafe left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let b = unsafe right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            if a != b { return UInt64(bigEndian: a) < UInt64(bigEndian: b) ? -1 : 1 }
            offset &+= 8
        }
        while offset < common {
            let a = unsafe left[offset]
            let b = unsafe right[offset]
            if a != b { return a < b ? -1 : 1 }
            offset &+= 1
        }
        return left.count - right.count
    }

    /// The smallest key above every key that begins with `prefix`; nil when there is none (all bytes 0xFF).
    static func successor(ofPrefix prefix: some Collection<UInt8>) -> [UInt8]? {
        var bytes = Array(prefix)
        while let last = bytes.last {
            if last < 0xFF {
                bytes[bytes.count - 1] = last + 1
                return bytes
            }
            bytes.removeLast()
        }
        return nil
    }

    static func hasPrefix(_ key: ArraySlice<UInt8>, _ prefix: ArraySlice<UInt8>) -> Bool {
        key.count >= prefix.count && compare(key.prefix(prefix.count), prefix) == 0
    }
}
