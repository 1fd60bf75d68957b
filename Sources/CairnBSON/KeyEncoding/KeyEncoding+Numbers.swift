// Numbers of all four types in one order, by exact value.
//
// First byte: 20 + class for positive numbers, 20 - class for negative ones, 20 alone for zero, 14 alone for NaN.
//   class 1       0 < |x| < 1: the fraction follows
//   class 2 to 9  1 <= |x| < 2^63: 1 to 8 bytes, big-endian, of 2 * whole part, plus 1 if a fraction follows
//   class 10      2^63 <= |x|: follows as a fraction does
//   class 11      infinity: nothing follows
// A fraction (or a large number) is the greatest double that is not above it, as its 8 bytes, big-endian; then 00 if
// that is all, or 01 and the number in decimal: the power of its first digit plus 4000 hexadecimal, in 2 bytes, its
// digits in pairs, each pair plus one, and 00. Only integers above 2^63 and decimals need the second form, and both
// have at most 34 digits. What follows the first byte of a negative number is complemented.
extension KeyEncoding.Writer {
    private typealias Class = KeyEncoding.NumberClass

    mutating func appendInteger(_ value: Int64) {
        let magnitude = value.magnitude
        if magnitude == 0 {
            bytes.append(KeyEncoding.zero)
        } else if magnitude < 1 << 63 {
            let mark = appendWhole(magnitude, hasFraction: false, negative: value < 0)
            finish(mark, negative: value < 0)
        } else {
            appendDouble(Double(value))
        }
    }

    mutating func appendDouble(_ value: Double) {
        let magnitude = value.magnitude
        let negative = value < 0
        if magnitude == 0 {
            bytes.append(KeyEncoding.zero)
        } else if value.isNaN {
            bytes.append(KeyEncoding.nan)
        } else if magnitude.isInfinite {
            _ = begin(Class.infinite, negative: negative)
        } else if magnitude < 1 {
            let mark = begin(Class.fraction, negative: negative)
            appendBinary(magnitude)
            bytes.append(0)
            finish(mark, negative: negative)
        } else if magnitude < 0x1p63 {
            let whole = magnitude.rounded(.towardZero)
            let fraction = magnitude - whole
            let mark = appendWhole(UInt64(whole), hasFraction: fraction != 0, negative: negative)
            if fraction != 0 {
                appendBinary(fraction)
                bytes.append(0)
            }
            finish(mark, negative: negative)
        } else {
            let mark = begin(Class.large, negative: negative)
            appendBinary(magnitude)
            bytes.append(0)
            finish(mark, negative: negative)
        }
    }

    mutating func appendDecimal(_ value: Decimal128) {
        if value.isNaN {
            bytes.append(KeyEncoding.nan)
            return
        }
        let negative = value.isNegative
        if value.isInfinite {
            _ = begin(Class.infinite, negative: negative)
            return
        }
        let parts = value.normalizedParts
        if parts.coefficient == 0 {
            bytes.append(KeyEncoding.zero)
        } else if let (whole, fraction) = split(parts) {
            let mark: Int
            if whole == 0 {
                mark = begin(Class.fraction, negative: negative)
            } else {
                mark = appendWhole(whole, hasFraction: fraction != nil, negative: negative)
            }
            if let fraction { appendExact(fraction) }
            finish(mark, negative: negative)
        } else {
            // Not the normalized parts: without its zeros a huge number's exponent is out of range.
            let mark = begin(Class.large, negative: negative)
            appendExact(value.parts)
            finish(mark, negative: negative)
        }
    }

    /// The whole part and what is left, or nil from 2^63 on.
    private func split(_ parts: Decimal128.Parts) -> (whole: UInt64, fraction: Decimal128.Parts?)? {
        if parts.exponent >= 0 {
            guard parts.exponent <= 18 else { return nil }
            let power = PowerOfTen.power(parts.exponent)
            let (whole, overflow) = parts.coefficient.multipliedReportingOverflow(by: power)
            return overflow || whole >= 1 << 63 ? nil : (UInt64(whole), nil)
        }
        guard parts.exponent >= -38 else { return (0, parts) }
        let (whole, rest) = parts.coefficient.quotientAndRemainder(dividingBy: PowerOfTen.power(-parts.exponent))
        guard whole < 1 << 63 else { return nil }
        return (UInt64(whole), Decimal128.Parts(negative: false, coefficient: rest, exponent: parts.exponent))
    }

    /// Writes the first byte; returns where what may have to be complemented starts.
    private mutating func begin(_ numberClass: UInt8, negative: Bool) -> Int {
        bytes.append(negative ? KeyEncoding.zero - numberClass : KeyEncoding.zero + numberClass)
        return bytes.count
    }

    private mutating func finish(_ mark: Int, negative: Bool) {
        if negative { complement(from: mark) }
    }

    private mutating func appendWhole(_ whole: UInt64, hasFraction: Bool, negative: Bool) -> Int {
        let doubled = whole << 1 | (hasFraction ? 1 : 0)
        let count = (71 - doubled.leadingZeroBitCount) / 8
        let mark = begin(Class.whole + UInt8(count), negative: negative)
        for index in stride(from: count - 1, through: 0, by: -1) {
            bytes.append(UInt8(truncatingIfNeeded: doubled >> UInt64(8 * index)))
        }
        return mark
    }

    private mutating func appendBinary(_ positive: Double) { bytes.append(bigEndian: positive.bitPattern) }

    private mutating func appendExact(_ parts: Decimal128.Parts) {
        let positive = Decimal128(
            packing: Decimal128.Parts(negative: false, coefficient: parts.coefficient, exponent: parts.exponent))
        let below = positive.doubleBelow
        appendBinary(below)
        if Decimal128.compare(positive, below) == 0 {
            bytes.append(0)
            return
        }
        bytes.append(1)
        let normalized = positive.normalizedParts
        var digits = Array("\(normalized.coefficient)".utf8)
        let power = normalized.exponent + digits.count - 1
        bytes.append(bigEndian: UInt16(power + 0x4000))
        if digits.count % 2 == 1 { digits.append(0x30) }
        for index in stride(from: 0, to: digits.count, by: 2) {
            bytes.append((digits[index] - 0x30) * 10 + (digits[index + 1] - 0x30) + 1)
        }
        bytes.append(0)
    }
}
