/// IEEE 754-2008 decimal128 in the binary integer encoding: a sign, 34 decimal digits and an exponent of ten.
///
/// A value keeps its trailing zeros (`1.00` is not identical to `1`, though it compares equal). The type is not
/// `Equatable` by bits on purpose: `==` compares as numbers, with every NaN equal to every other, as MongoDB does.
public struct Decimal128: Sendable, CustomStringConvertible {
    /// The sign, the exponent and the coefficient's upper bits.
    public let high: UInt64
    /// The coefficient's lower 64 bits.
    public let low: UInt64

    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public static let zero = Decimal128(Int64(0))
    public static let one = Decimal128(Int64(1))
    public static let infinity = Decimal128(high: 0x7800_0000_0000_0000, low: 0)
    public static let negativeInfinity = Decimal128(high: 0xF800_0000_0000_0000, low: 0)
    public static let nan = Decimal128(high: 0x7C00_0000_0000_0000, low: 0)

    /// Digits of the coefficient.
    static let digitsMax = 34
    /// The exponent of the last digit lies between these.
    static let exponentMin = -6176
    static let exponentMax = 6111
    /// 10^34, which no coefficient reaches.
    static let coefficientLimit: UInt128 = 10_000_000_000_000_000_000_000_000_000_000_000

    /// A finite value taken apart: (-1)^negative * coefficient * 10^exponent.
    struct Parts {
        var negative: Bool
        var coefficient: UInt128
        var exponent: Int
    }

    @inlinable
    public var isNegative: Bool { high >> 63 == 1 }

    @inlinable
    public var isNaN: Bool { high & 0x7C00_0000_0000_0000 == 0x7C00_0000_0000_0000 }

    @inlinable
    public var isInfinite: Bool { high & 0x7C00_0000_0000_0000 == 0x7800_0000_0000_0000 }

    @inlinable
    public var isFinite: Bool { high & 0x7800_0000_0000_0000 != 0x7800_0000_0000_0000 }

    public var isZero: Bool { isFinite && parts.coefficient == 0 }

    /// The parts of a finite value. Encodings of more than 34 digits are not canonical and mean zero.
    var parts: Parts {
        let negative = isNegative
        if high & 0x6000_0000_0000_0000 == 0x6000_0000_0000_0000 {
            return Parts(negative: negative, coefficient: 0, exponent: Int(high >> 47 & 0x3FFF) + Self.exponentMin)
        }
        let exponent = Int(high >> 49 & 0x3FFF) + Self.exponentMin
        let coefficient = UInt128(high & 0x1_FFFF_FFFF_FFFF) << 64 | UInt128(low)
        return Parts(
            negative: negative, coefficient: coefficient < Self.coefficientLimit ? coefficient : 0, exponent: exponent)
    }

    /// Packs parts that are in range.
    init(packing parts: Parts) {
        precondition(
            parts.coefficient < Self.coefficientLimit && parts.exponent >= Self.exponentMin
                && parts.exponent <= Self.exponentMax, "decimal out of range: \(parts)")
        let exponent = UInt64(parts.exponent - Self.exponentMin)
        high = (parts.negative ? 1 << 63 : 0) | exponent << 49 | UInt64(parts.coefficient >> 64)
        low = UInt64(truncatingIfNeeded: parts.coefficient)
    }

    public init(_ value: Int64) {
        self.init(packing: Parts(negative: value < 0, coefficient: UInt128(value.magnitude), exponent: 0))
    }

    public init(_ value: Int) { self.init(Int64(value)) }

    public var negated: Decimal128 { Decimal128(high: high ^ 1 << 63, low: low) }

    public var magnitude: Decimal128 { Decimal128(high: high & ~(1 << 63), low: low) }

    /// Scientific notation where the exponent calls for it, as IEEE 754 and the BSON specification print it.
    public var description: String { text }
}

/// Powers of ten that 128 bits hold, and what is made with them.
enum PowerOfTen {
    static let table: [UInt128] = {
        var powers: [UInt128] = [1]
        for _ in 1...38 { powers.append(powers[powers.count - 1] * 10) }
        return powers
    }()

    /// 10^exponent for 0...38.
    static func power(_ exponent: Int) -> UInt128 { table[exponent] }

    /// How many decimal digits the number has; 1 for zero.
    static func digits(_ value: UInt128) -> Int {
        // log10(2) is about 1233/4096: the estimate is exact or one too small.
        let bits = 128 - value.leadingZeroBitCount
        let estimate = (bits * 1233) >> 12
        if estimate > 38 { return 39 }
        return value >= table[estimate] ? estimate + 1 : max(estimate, 1)
    }
}
