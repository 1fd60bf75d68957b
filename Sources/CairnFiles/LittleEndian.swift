/// Fixed-width little-endian integers in byte arrays: how every format of this module writes numbers.
extension [UInt8] {
    @inlinable
    package mutating func append(littleEndian value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value >> 8))
    }

    @inlinable
    package mutating func append(littleEndian value: UInt32) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }

    @inlinable
    package mutating func append(littleEndian value: UInt64) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }

    /// Writes `value` over the four bytes at `index`.
    @inlinable
    package mutating func store(_ value: UInt32, at index: Int) {
        precondition(index >= 0 && index <= count - 4, "index \(index) of \(count)")
        // Safety: the four bytes are there (checked above); bytes need no alignment.
        unsafe withUnsafeMutableBytes {
            unsafe $0.storeBytes(of: value.littleEndian, toByteOffset: index, as: UInt32.self)
        }
    }

    /// Writes `value` over the eight bytes at `index`.
    @inlinable
    package mutating func store(_ value: UInt64, at index: Int) {
        precondition(index >= 0 && index <= count - 8, "index \(index) of \(count)")
        // Safety: the eight bytes are there (checked above); bytes need no alignment.
        unsafe withUnsafeMutableBytes {
            unsafe $0.storeBytes(of: value.littleEndian, toByteOffset: index, as: UInt64.self)
        }
    }
}

extension ArraySlice<UInt8> {
    /// The number in the four bytes at `index`, an index of the slice.
    @inlinable
    package func loadUInt32(at index: Int) -> UInt32 {
        precondition(index >= startIndex && index <= endIndex - 4, "index \(index) of \(indices)")
        // Safety: the four bytes are there (checked above), and every bit pattern is a number.
        return unsafe withUnsafeBytes {
            UInt32(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: index - startIndex, as: UInt32.self))
        }
    }

    /// The number in the eight bytes at `index`, an index of the slice.
    @inlinable
    package func loadUInt64(at index: Int) -> UInt64 {
        precondition(index >= startIndex && index <= endIndex - 8, "index \(index) of \(indices)")
        // Safety: the eight bytes are there (checked above), and every bit pattern is a number.
        return unsafe withUnsafeBytes {
            UInt64(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: index - startIndex, as: UInt64.self))
        }
    }
}
