extension Decimal128 {
    /// Reads a decimal; nil if it is not one, or if 34 digits and the exponent's range cannot hold it exactly.
    public init?(_ text: String) {
        var inexact = false
        guard let value = Self.parse(text, inexact: &inexact), !inexact else { return nil }
        self = value
    }

    /// Reads a decimal and rounds it half to even where it has too many digits; nil if it is not one.
    public init?(rounding text: String) {
        var inexact = false
        guard let value = Self.parse(text, inexact: &inexact) else { return nil }
        self = value
    }

    private static func parse(_ text: String, inexact: inout Bool) -> Decimal128? {
        var rest = Array(text.utf8)[...]
        var negative = false
        if let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            negative = sign == UInt8(ascii: "-")
            rest = rest.dropFirst()
        }
        let word = String(decoding: rest, as: UTF8.self).lowercased()
        if word == "inf" || word == "infinity" { return negative ? .negativeInfinity : .infinity }
        if word == "nan" { return .nan }

        var coefficient: UInt128 = 0
        var kept = 0
        var exponent = 0
        var sticky = false
        var hasDigits = false
        var hasPoint = false
        while let character = rest.first {
            if character == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else if character >= 0x30, character <= 0x39 {
                hasDigits = true
                // 37 digits leave three to round with; what follows only says whether there was more.
                if kept < 37 {
                    coefficient = coefficient * 10 + UInt128(character - 0x30)
                    if coefficient != 0 { kept += 1 }
                    if hasPoint { exponent -= 1 }
                } else {
                    if character != 0x30 { sticky = true }
                    if !hasPoint { exponent += 1 }
                }
            } else {
                break
            }
            rest = rest.dropFirst()
        }
        guard hasDigits else { return nil }
        if let character = rest.first {
            guard character == UInt8(ascii: "e") || character == UInt8(ascii: "E") else { return nil }
            guard let power = parseExponent(rest.dropFirst()) else { return nil }
            exponent += power
        }
        return rounded(negative: negative, coefficient, exponent: exponent, sticky: sticky, inexact: &inexact)
    }

    /// A signed whole number; what is absurdly large stays absurdly large without overflowing.
    private static func parseExponent(_ text: ArraySlice<UInt8>) -> Int? {
        var rest = text
        var negative = false
        if let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            negative = sign == UInt8(ascii: "-")
            rest = rest.dropFirst()
        }
        guard !rest.isEmpty else { return nil }
        var value = 0
        for character in rest {
            guard character >= 0x30, character <= 0x39 else { return nil }
            if value < 1_000_000_000 { value = value * 10 + Int(character - 0x30) }
        }
        return negative ? -value : value
    }

    /// The decimal as the BSON specification prints it.
    var text: String {
        if isNaN { return "NaN" }
        if isInfinite { return isNegative ? "-Infinity" : "Infinity" }
        let parts = self.parts
        let sign = parts.negative ? "-" : ""
        let digits = "\(parts.coefficient)"
        let adjusted = parts.exponent + digits.utf8.count - 1
        if parts.exponent <= 0, adjusted >= -6 {
            if parts.exponent == 0 { return sign + digits }
            let whole = digits.utf8.count + parts.exponent
            if whole > 0 { return sign + digits.prefix(whole) + "." + digits.dropFirst(whole) }
            return sign + "0." + String(repeating: "0", count: -whole) + digits
        }
        let fraction = digits.dropFirst()
        let power = adjusted < 0 ? "\(adjusted)" : "+\(adjusted)"
        return sign + digits.prefix(1) + (fraction.isEmpty ? "" : "." + fraction) + "E" + power
    }
}
