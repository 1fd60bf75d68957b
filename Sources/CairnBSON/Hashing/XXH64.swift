/// Yann Collet's 64-bit xxHash: fast, well mixed, not cryptographic. Slots are chosen by it, so it never changes.
///
/// Source: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.
public enum XXH64 {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    public static func hash(_ bytes: [UInt8], seed: UInt64 = 0) -> UInt64 {
        unsafe bytes.withUnsafeBytes { bytes in unsafe hash(bytes, seed: seed) }
    }

    public static func hash(_ bytes: ArraySlice<UInt8>, seed: UInt64 = 0) -> UInt64 {
        unsafe bytes.withUnsafeBytes { bytes in unsafe hash(bytes, seed: seed) }
    }

    /// Safety: every load is of 1, 4 or 8 bytes that the loop around it has found to be left.
    public static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
        let count = bytes.count
        var position = 0
        var result: UInt64
        if count >= 32 {
            var lanes = (seed &+ prime1 &+ prime2, seed &+ prime2, seed, seed &- prime1)
            while position &+ 32 <= count {
                lanes.0 = round(lanes.0, unsafe word(bytes, position))
                lanes.1 = round(lanes.1, unsafe word(bytes, position &+ 8))
                lanes.2 = round(lanes.2, unsafe word(bytes, position &+ 16))
                lanes.3 = round(lanes.3, unsafe word(bytes, position &+ 24))
                position &+= 32
            }
            result = rotate(lanes.0, 1) &+ rotate(lanes.1, 7) &+ rotate(lanes.2, 12) &+ rotate(lanes.3, 18)
            result = merge(result, lanes.0)
            result = merge(result, lanes.1)
            result = merge(result, lanes.2)
            result = merge(result, lanes.3)
        } else {
            result = seed &+ prime5
        }
        result &+= UInt64(count)
        while position &+ 8 <= count {
            result ^= round(0, unsafe word(bytes, position))
            result = rotate(result, 27) &* prime1 &+ prime4
            position &+= 8
        }
        if position &+ 4 <= count {
            let word = UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            result ^= UInt64(word) &* prime1
            result = rotate(result, 23) &* prime2 &+ prime3
            position &+= 4
        }
        while position < count {
            result ^= UInt64(unsafe bytes[position]) &* prime5
            result = rotate(result, 11) &* prime1
            position &+= 1
        }
        result = (result ^ result >> 33) &* prime2
        result = (result ^ result >> 29) &* prime3
        return result ^ result >> 32
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> UInt64 {
        UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
    }

    @inline(__always)
    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
        value << count | value >> (64 &- count)
    }

    @inline(__always)
    private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        rotate(lane &+ word &* prime2, 31) &* prime1
    }

    @inline(__always)
    private static func merge(_ result: UInt64, _ lane: UInt64) -> UInt64 {
        (result ^ round(0, lane)) &* prime1 &+ prime4
    }
}
