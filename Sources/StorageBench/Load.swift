/// A key as `db_bench` makes it: eight bytes of the number, big-endian, and zeros in ASCII up to 16.
struct Key {
    private(set) var bytes: [UInt8]

    /// - Parameter extraBytes: makes keys that lie beside the others, so that they are missing.
    init(extraBytes: Int = 0) {
        bytes = [UInt8](repeating: UInt8(ascii: "0"), count: 16 + extraBytes)
    }

    mutating func set(_ number: Int) {
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: number >> (56 - 8 * index)) }
    }
}

/// Values of which half can be compressed away, cut from a megabyte made beforehand.
struct Values {
    private var pool: [UInt8] = []
    private let bytes: Int
    private var place = 0

    init(bytes: Int, seed: UInt64) {
        self.bytes = bytes
        var random = Random(seed: seed)
        while pool.count < max(1 << 20, bytes) {
            // A hundred bytes: fifty at random, twice.
            let half = (0..<50).map { _ in UInt8(32 + random.next(below: 95)) }
            pool += half + half
        }
    }

    mutating func next() -> ArraySlice<UInt8> {
        if place + bytes > pool.count { place = 0 }
        defer { place += bytes }
        return pool[place..<place + bytes]
    }
}

/// SplitMix64: small, fast and the same everywhere.
struct Random {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next(below bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)).multipliedFullWidth(by: UInt64(bound)).high)
    }
}
