// Comparisons of raw bytes, eight at a time. The callers have established that both sides hold `count` bytes.

/// True if the `count` bytes at `left` and `right` are the same.
@usableFromInline
@inline(__always)
func bytesAreEqual(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, count: Int) -> Bool {
    var position = 0
    while position &+ 8 <= count {
        let a = unsafe left.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        let b = unsafe right.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        if a != b { return false }
        position &+= 8
    }
    while position < count {
        let a = unsafe left.load(fromByteOffset: position, as: UInt8.self)
        let b = unsafe right.load(fromByteOffset: position, as: UInt8.self)
        if a != b { return false }
        position &+= 1
    }
    return true
}

/// Compares two byte strings as unsigned bytes, the shorter first when one starts the other: -1, 0 or 1.
@usableFromInline
func compareBytes(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let count = min(left.count, right.count)
    if count > 0, let a = left.baseAddress, let b = right.baseAddress {
        var position = 0
        while position &+ 8 <= count {
            let x = unsafe a.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            let y = unsafe b.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            if x != y { return UInt64(bigEndian: x) < UInt64(bigEndian: y) ? -1 : 1 }
            position &+= 8
        }
        while position < count {
            let x = unsafe a.load(fromByteOffset: position, as: UInt8.self)
            let y = unsafe b.load(fromByteOffset: position, as: UInt8.self)
            if x != y { return x < y ? -1 : 1 }
            position &+= 1
        }
    }
    return left.count == right.count ? 0 : (left.count < right.count ? -1 : 1)
}

/// ``compareBytes(_:_:)`` for slices.
@usableFromInline
func compareBytes(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
    unsafe left.withUnsafeBytes { a in unsafe right.withUnsafeBytes { b in unsafe compareBytes(a, b) } }
}

/// True if both slices hold the same bytes.
@usableFromInline
func bytesAreEqual(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    return unsafe left.withUnsafeBytes { a in
        unsafe right.withUnsafeBytes { b in
            guard let x = a.baseAddress, let y = b.baseAddress else { return true }
            return unsafe bytesAreEqual(x, y, count: a.count)
        }
    }
}

/// True if the slice holds exactly the UTF-8 of `string`. Makes no copy of a native string.
@usableFromInline
func bytesAreEqual(_ left: ArraySlice<UInt8>, _ right: String) -> Bool {
    let utf8 = right.utf8
    guard left.count == utf8.count else { return false }
    let fast = unsafe utf8.withContiguousStorageIfAvailable { b in
        unsafe left.withUnsafeBytes { a in
            guard let x = a.baseAddress, let y = b.baseAddress else { return true }
            return unsafe bytesAreEqual(x, UnsafeRawPointer(y), count: a.count)
        }
    }
    return fast ?? left.elementsEqual(utf8)
}

/// True if one of the bytes is zero.
func containsZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var position = 0
    while position &+ 8 <= bytes.count {
        let word = unsafe bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        if (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 != 0 { return true }
        position &+= 8
    }
    while position < bytes.count {
        if unsafe bytes[position] == 0 { return true }
        position &+= 1
    }
    return false
}
