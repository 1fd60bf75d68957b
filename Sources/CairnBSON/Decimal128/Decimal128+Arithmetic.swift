// Arithmetic to 34 digits, rounded once, half to even (IEEE 754-2008, sections 5.4.1 and 7). A result that is exact
// keeps the exponent that the standard prefers, so 1.10 + 2.20 is 3.30.
extension Decimal128 {
    public static func + (left: Decimal128, right: Decimal128) -> Decimal128 {
        if left.isNaN || right.isNaN { return nan }
        if left.isInfinite { return right.isInfinite && left.isNegative != right.isNegative ? nan : left }
        if right.isInfinite { return right }
        return add(left.parts, right.parts)
    }

    public static func - (left: Decimal128, right: Decimal128) -> Decimal128 { left + right.negated }

    private static func add(_ left: Parts, _ right: Parts) -> Decimal128 {
        let (upper, lower) = left.exponent >= right.exponent ? (left, right) : (right, left)
        var inexact = false
        if upper.coefficient == 0 {
            let negative = lower.coefficient == 0 ? upper.negative && lower.negative : lower.negative
            return rounded(negative: negative, lower.coefficient, exponent: lower.exponent, inexact: &inexact)
        }
        // Bring the one with the larger exponent down, to 37 digits at most: three more than the result has.
        let distance = upper.exponent - lower.exponent
        let scale = min(distance, 37 - PowerOfTen.digits(upper.coefficient))
        let large = upper.coefficient * PowerOfTen.power(scale)
        let exponent = upper.exponent - scale
        var small = lower.coefficient
        var sticky = false
        if distance > scale {
            if lower.coefficient == 0 {
                return rounded(negative: upper.negative, large, exponent: exponent, inexact: &inexact)
            }
            // The other's last digits fall below; only whether there were any matters.
            let drop = distance - scale
            if drop > 38 {
                (small, sticky) = (0, true)
            } else {
                let (quotient, remainder) = small.quotientAndRemainder(dividingBy: PowerOfTen.power(drop))
                (small, sticky) = (quotient, remainder != 0)
            }
        }
        if upper.negative == lower.negative {
            return rounded(
                negative: upper.negative, large + small, exponent: exponent, sticky: sticky, inexact: &inexact)
        }
        if large == small, !sticky { return rounded(negative: false, 0, exponent: exponent, inexact: &inexact) }
        if large > small {
            // large - (small and a bit) is one less, and a bit.
            return rounded(
                negative: upper.negative, large - small - (sticky ? 1 : 0), exponent: exponent, sticky: sticky,
                inexact: &inexact)
        }
        return rounded(
            negative: lower.negative, small - large, exponent: exponent, sticky: sticky, inexact: &inexact)
    }

    public static func * (left: Decimal128, right: Decimal128) -> Decimal128 {
        if left.isNaN || right.isNaN { return nan }
        let negative = left.isNegative != right.isNegative
        if left.isInfinite || right.isInfinite {
            return left.isZero || right.isZero ? nan : (negative ? negativeInfinity : infinity)
        }
        let (a, b) = (left.parts, right.parts)
        var exponent = a.exponent + b.exponent
        var inexact = false
        let (high, low) = a.coefficient.multipliedFullWidth(by: b.coefficient)
        if high == 0 { return rounded(negative: negative, low, exponent: exponent, inexact: &inexact) }
        // Keep 36 or 37 digits, which is enough to round from.
        let drop = PowerOfTen.digits(a.coefficient) + PowerOfTen.digits(b.coefficient) - 37
        exponent += drop
        let (quotient, remainder) = divide(high, low, by: PowerOfTen.power(drop))
        return rounded(
            negative: negative, quotient, exponent: exponent, sticky: remainder != 0, inexact: &inexact)
    }

    public static func / (left: Decimal128, right: Decimal128) -> Decimal128 {
        if left.isNaN || right.isNaN { return nan }
        let negative = left.isNegative != right.isNegative
        if left.isInfinite { return right.isInfinite ? nan : (negative ? negativeInfinity : infinity) }
        let (a, b) = (left.parts, right.parts)
        var inexact = false
        if right.isInfinite { return rounded(negative: negative, 0, exponent: exponentMin, inexact: &inexact) }
        if b.coefficient == 0 { return a.coefficient == 0 ? nan : (negative ? negativeInfinity : infinity) }
        let preferred = a.exponent - b.exponent
        if a.coefficient == 0 { return rounded(negative: negative, 0, exponent: preferred, inexact: &inexact) }
        // Scale the dividend so that the quotient has 35 or 36 digits.
        let scale = 35 - PowerOfTen.digits(a.coefficient) + PowerOfTen.digits(b.coefficient)
        let first = min(scale, 37 - PowerOfTen.digits(a.coefficient))
        let (high, low) = (a.coefficient * PowerOfTen.power(first))
            .multipliedFullWidth(by: PowerOfTen.power(scale - first))
        var (quotient, remainder) = divide(high, low, by: b.coefficient)
        var exponent = preferred - scale
        if remainder == 0 {
            // Exact: give back the zeros that the scaling made.
            while exponent < preferred {
                let (shorter, digit) = quotient.quotientAndRemainder(dividingBy: 10)
                guard digit == 0 else { break }
                quotient = shorter
                exponent += 1
            }
        }
        return rounded(negative: negative, quotient, exponent: exponent, sticky: remainder != 0, inexact: &inexact)
    }

    /// What is left of the value after taking `divisor` as often as it goes in whole; the sign is the value's.
    public func remainder(dividingBy divisor: Decimal128) -> Decimal128 {
        if isNaN || divisor.isNaN || isInfinite || divisor.isZero { return .nan }
        if divisor.isInfinite { return self }
        let (a, b) = (parts, divisor.parts)
        var inexact = false
        let exponent = min(a.exponent, b.exponent)
        var modulus = b.coefficient
        var left = a.coefficient
        if b.exponent > a.exponent {
            let scale = b.exponent - a.exponent
            if scale > 38 { return self }
            let (product, overflow) = modulus.multipliedReportingOverflow(by: PowerOfTen.power(scale))
            if overflow { return self }
            modulus = product
            left %= modulus
        } else {
            left %= modulus
            var scale = a.exponent - b.exponent
            while scale > 0, left != 0 {
                let step = min(scale, 33)
                let (high, low) = left.multipliedFullWidth(by: PowerOfTen.power(step))
                left = Self.divide(high, low, by: modulus).remainder
                scale -= step
            }
        }
        return Self.rounded(negative: a.negative, left, exponent: exponent, inexact: &inexact)
    }

    /// 256 bits by 128. The callers' quotients fit in 128 bits, except that a remainder may need the upper part first.
    private static func divide(
        _ high: UInt128, _ low: UInt128, by divisor: UInt128
    ) -> (quotient: UInt128, remainder: UInt128) {
        divisor.dividingFullWidth((high % divisor, low))
    }

    public static func += (left: inout Decimal128, right: Decimal128) { left = left + right }
    public static func -= (left: inout Decimal128, right: Decimal128) { left = left - right }
    public static func *= (left: inout Decimal128, right: Decimal128) { left = left * right }
    public static func /= (left: inout Decimal128, right: Decimal128) { left = left / right }
    public static prefix func - (value: Decimal128) -> Decimal128 { value.negated }
}
