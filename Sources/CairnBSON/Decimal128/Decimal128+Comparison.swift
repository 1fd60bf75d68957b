extension Decimal128: Hashable, Comparable {
    /// -1, 0 or 1 by numeric value; every NaN is equal to NaN and below everything else.
    public static func compare(_ left: Decimal128, _ right: Decimal128) -> Int {
        if left.isNaN || right.isNaN { return left.isNaN ? (right.isNaN ? 0 : -1) : 1 }
        let a = left.rank
        let b = right.rank
        if a != b { return a < b ? -1 : 1 }
        switch a {
        case 1: return compareMagnitudes(left.parts, right.parts)
        case -1: return compareMagnitudes(right.parts, left.parts)
        default: return 0
        }
    }

    /// -2 for minus infinity, -1 for negative, 0, 1 for positive, 2 for infinity.
    private var rank: Int {
        if isInfinite { return isNegative ? -2 : 2 }
        let parts = self.parts
        return parts.coefficient == 0 ? 0 : (parts.negative ? -1 : 1)
    }

    private static func compareMagnitudes(_ a: Parts, _ b: Parts) -> Int {
        let x = PowerOfTen.digits(a.coefficient)
        let y = PowerOfTen.digits(b.coefficient)
        let (first, second) = (x + a.exponent, y + b.exponent)
        if first != second { return first < second ? -1 : 1 }
        // The same first digit's place: with as many digits, coefficients compare.
        let left = x < y ? a.coefficient * PowerOfTen.power(y - x) : a.coefficient
        let right = y < x ? b.coefficient * PowerOfTen.power(x - y) : b.coefficient
        return left == right ? 0 : (left < right ? -1 : 1)
    }

    /// Compares with a double by exact value; NaNs are equal and below everything.
    public static func compare(_ left: Decimal128, _ right: Double) -> Int {
        if left.isNaN || right.isNaN { return left.isNaN ? (right.isNaN ? 0 : -1) : 1 }
        if left.isInfinite || right.isInfinite {
            let a = left.isInfinite ? (left.isNegative ? -1 : 1) : 0
            let b = right.isInfinite ? (right < 0 ? -1 : 1) : 0
            return a == b ? 0 : (a < b ? -1 : 1)
        }
        // Rounding is monotonic: if the nearest double differs from `right`, so does the decimal, the same way.
        let nearest = left.doubleValue
        if nearest != right { return nearest < right ? -1 : 1 }
        let parts = left.parts
        if right == 0 { return parts.coefficient == 0 ? 0 : (parts.negative ? -1 : 1) }
        let order = compareExactly(parts, right.magnitude)
        return parts.negative ? -order : order
    }

    /// Compares coefficient * 10^exponent with a positive finite double of about that size, in whole numbers.
    static func compareExactly(_ parts: Parts, _ double: Double) -> Int {
        let (significand, exponent) = wholeParts(of: double)
        // parts.coefficient * 10^parts.exponent <=> significand * 2^exponent; negative exponents change sides.
        if let (left, right) = small(parts, significand, exponent) {
            return left == right ? 0 : (left < right ? -1 : 1)
        }
        var left = WholeNumber(parts.coefficient)
        var right = WholeNumber(UInt128(significand))
        if parts.exponent >= 0 { left.multiply(byPowerOfTen: parts.exponent) }
        if parts.exponent < 0 { right.multiply(byPowerOfTen: -parts.exponent) }
        if exponent >= 0 { right.shiftLeft(exponent) }
        if exponent < 0 { left.shiftLeft(-exponent) }
        return WholeNumber.compare(left, right)
    }

    /// A positive finite double as an odd whole number times a power of two.
    static func wholeParts(of double: Double) -> (significand: UInt64, exponent: Int) {
        let biased = Int(double.bitPattern >> 52 & 0x7FF)
        let fraction = double.bitPattern & 0xF_FFFF_FFFF_FFFF
        let significand = biased == 0 ? fraction : fraction | 1 << 52
        let exponent = max(biased, 1) - 1075
        let zeros = significand.trailingZeroBitCount
        return (significand >> UInt64(zeros), exponent + zeros)
    }

    /// Both sides of the comparison in 128 bits, if they fit.
    private static func small(_ parts: Parts, _ significand: UInt64, _ exponent: Int) -> (UInt128, UInt128)? {
        var left = parts.coefficient
        var right = UInt128(significand)
        guard abs(parts.exponent) <= 38, abs(exponent) <= 120 else { return nil }
        let power = PowerOfTen.power(abs(parts.exponent))
        var overflow: Bool
        if parts.exponent >= 0 {
            (left, overflow) = left.multipliedReportingOverflow(by: power)
        } else {
            (right, overflow) = right.multipliedReportingOverflow(by: power)
        }
        if overflow { return nil }
        if exponent >= 0 {
            guard right.leadingZeroBitCount >= exponent else { return nil }
            right <<= UInt128(exponent)
        } else {
            guard left.leadingZeroBitCount >= -exponent else { return nil }
            left <<= UInt128(-exponent)
        }
        return (left, right)
    }

    public static func == (left: Decimal128, right: Decimal128) -> Bool { compare(left, right) == 0 }

    public static func < (left: Decimal128, right: Decimal128) -> Bool { compare(left, right) < 0 }

    public func hash(into hasher: inout Hasher) { hashNormalized(into: &hasher) }

    /// True if sign, digits and exponent are the same: `1.0` is not `1.00`.
    public func isIdentical(to other: Decimal128) -> Bool { high == other.high && low == other.low }

    /// Hashes the number rather than its spelling.
    func hashNormalized(into hasher: inout Hasher) {
        if isNaN {
            hasher.combine(0)
        } else if isInfinite {
            hasher.combine(isNegative ? 1 : 2)
        } else {
            let parts = normalizedParts
            hasher.combine(parts.coefficient)
            if parts.coefficient != 0 {
                hasher.combine(parts.exponent)
                hasher.combine(parts.negative)
            }
        }
    }

    /// The parts without trailing zeros in the coefficient: the same for all spellings of a number.
    var normalizedParts: Parts {
        var parts = self.parts
        if parts.coefficient == 0 { return Parts(negative: false, coefficient: 0, exponent: 0) }
        for step in [16, 8, 4, 2, 1, 1] {
            let power = PowerOfTen.power(step)
            while true {
                let (quotient, remainder) = parts.coefficient.quotientAndRemainder(dividingBy: power)
                guard remainder == 0 else { break }
                parts.coefficient = quotient
                parts.exponent += step
            }
        }
        return parts
    }
}

/// A natural number of any size, as far as exact comparison needs it.
struct WholeNumber {
    /// Least significant first.
    private var limbs: [UInt32] = []

    init(_ value: UInt128) {
        var value = value
        while value != 0 {
            limbs.append(UInt32(truncatingIfNeeded: value))
            value >>= 32
        }
    }

    mutating func multiply(by factor: UInt32) {
        var carry: UInt64 = 0
        for index in limbs.indices {
            let product = UInt64(limbs[index]) * UInt64(factor) + carry
            limbs[index] = UInt32(truncatingIfNeeded: product)
            carry = product >> 32
        }
        if carry != 0 { limbs.append(UInt32(carry)) }
    }

    mutating func multiply(byPowerOfTen exponent: Int) {
        for _ in 0..<exponent / 9 { multiply(by: 1_000_000_000) }
        for _ in 0..<exponent % 9 { multiply(by: 10) }
    }

    mutating func shiftLeft(_ count: Int) {
        guard !limbs.isEmpty else { return }
        if count % 32 != 0 { multiply(by: 1 << UInt32(count % 32)) }
        limbs.insert(contentsOf: repeatElement(0, count: count / 32), at: 0)
    }

    static func compare(_ left: WholeNumber, _ right: WholeNumber) -> Int {
        if left.limbs.count != right.limbs.count { return left.limbs.count < right.limbs.count ? -1 : 1 }
        for (a, b) in zip(left.limbs.reversed(), right.limbs.reversed()) where a != b { return a < b ? -1 : 1 }
        return 0
    }
}
