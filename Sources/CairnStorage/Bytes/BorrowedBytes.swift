#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A view of bytes that someone else owns: a key in an arena, in a block, or in a caller's array.
///
/// The engine compares keys a few times for each byte that it copies, so keys travel as borrowed views between its parts.
///
/// Safety: a value is used only while its owner is known to live and to keep the bytes where they are: inside the closure
/// that lent them, while the iterator that shows them has not moved, or while the memtable that holds them is retained.
/// Reads through it are bounds-checked unless the name says otherwise.
@safe
struct BorrowedBytes {
    @usableFromInline let base: UnsafeRawPointer
    let count: Int

    @inline(__always)
    init(base: UnsafeRawPointer, count: Int) {
        unsafe self.base = base
        self.count = count
    }

    @inline(__always)
    init(_ buffer: UnsafeRawBufferPointer) {
        // An empty buffer may have no address; any non-null one does, as nothing is read through it.
        unsafe self.base = buffer.baseAddress ?? BorrowedBytes.nowhere
        self.count = buffer.count
    }

    private static var nowhere: UnsafeRawPointer { unsafe UnsafeRawPointer(bitPattern: 8)! }

    static var empty: BorrowedBytes { unsafe BorrowedBytes(base: nowhere, count: 0) }

    var isEmpty: Bool { count == 0 }

    var buffer: UnsafeRawBufferPointer {
        @inline(__always) get { unsafe UnsafeRawBufferPointer(start: base, count: count) }
    }

    subscript(index: Int) -> UInt8 {
        @inline(__always) get {
            precondition(index >= 0 && index < count, "byte \(index) of \(count)")
            return unsafe base.load(fromByteOffset: index, as: UInt8.self)
        }
    }

    @inline(__always)
    func prefix(_ length: Int) -> BorrowedBytes {
        unsafe BorrowedBytes(base: base, count: min(length, count))
    }

    @inline(__always)
    func dropFirst(_ length: Int) -> BorrowedBytes {
        let dropped = min(length, count)
        return unsafe BorrowedBytes(base: base + dropped, count: count - dropped)
    }

    /// The eight bytes from `offset` as a big-endian number, with zeros for those beyond the end.
    ///
    /// Where two of these differ, the keys differ the same way; where they are equal, the keys have to be compared.
    @inline(__always)
    func prefix64(at offset: Int) -> UInt64 {
        if count &- offset >= 8 {
            return unsafe UInt64(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        var result: UInt64 = 0
        var shift: UInt64 = 56
        var index = offset
        while index < count {
            result |= UInt64(unsafe base.load(fromByteOffset: index, as: UInt8.self)) << shift
            shift &-= 8
            index += 1
        }
        return result
    }

    /// Negative, zero or positive as `self` comes before, equals or comes after `other` in byte order; a prefix comes first.
    @inline(__always)
    func compare(_ other: BorrowedBytes) -> Int {
        let order = unsafe memcmp(base, other.base, min(count, other.count))
        return order != 0 ? Int(order) : count &- other.count
    }

    @inline(__always)
    func isEqual(to other: BorrowedBytes) -> Bool {
        guard count == other.count else { return false }
        return unsafe memcmp(base, other.base, count) == 0
    }

    /// How many first bytes the two have in common, but no more than `limit`.
    func commonPrefixLength(with other: BorrowedBytes, limit: Int = .max) -> Int {
        let end = min(count, other.count, limit)
        var index = 0
        while index &+ 8 <= end {
            let difference =
                unsafe base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                ^ other.base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if difference != 0 { return index &+ UInt64(littleEndian: difference).trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < end,
            unsafe base.load(fromByteOffset: index, as: UInt8.self)
                == other.base.load(fromByteOffset: index, as: UInt8.self)
        {
            index &+= 1
        }
        return index
    }

    func copied() -> [UInt8] { unsafe Array(buffer) }
}

extension ArraySlice<UInt8> {
    /// Lends the bytes to `body`.
    @inline(__always)
    func withBorrowedBytes<Result, Failure: Error>(
        _ body: (BorrowedBytes) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let view = unsafe withUnsafeBytes { unsafe $0 }
        // Safety: a slice's elements live in its buffer, which `extendLifetime` keeps until `body` is done; a slice of an
        // array is contiguous, so no temporary copy is involved.
        defer { extendLifetime(self) }
        return unsafe try body(BorrowedBytes(view))
    }
}

extension [UInt8] {
    /// Lends the bytes to `body`.
    @inline(__always)
    func withBorrowedBytes<Result, Failure: Error>(
        _ body: (BorrowedBytes) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let view = unsafe withUnsafeBytes { unsafe $0 }
        // Safety: as for slices.
        defer { extendLifetime(self) }
        return unsafe try body(BorrowedBytes(view))
    }
}

/// Whether `left` comes before `right` in byte order.
func isOrderedBefore(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.withBorrowedBytes { left in right.withBorrowedBytes { right in left.compare(right) < 0 } }
}
