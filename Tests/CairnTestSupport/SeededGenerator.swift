/// Random numbers that a seed determines, so that a failed test is repeated from the seed it printed.
///
/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014): one addition and three
/// multiplications a number, every 64-bit state is good, and neighbouring seeds give unrelated sequences.
public struct SeededGenerator: RandomNumberGenerator, Hashable, Sendable {
    private var state: UInt64

    /// The seed this generator started from, for messages of failed tests.
    public let seed: UInt64

    public init(seed: UInt64) {
        self.seed = seed
        self.state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Another generator whose numbers have nothing to do with the ones that this one gives from here on.
    public mutating func split() -> SeededGenerator {
        SeededGenerator(seed: next())
    }

    /// True once in `denominator` calls on average.
    public mutating func oneIn(_ denominator: Int) -> Bool {
        next() % UInt64(max(denominator, 1)) == 0
    }

    /// `count` random bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            var word = next()
            for _ in 0..<min(8, count - bytes.count) {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        return bytes
    }
}
