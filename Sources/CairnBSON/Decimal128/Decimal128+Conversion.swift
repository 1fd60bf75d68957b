extension Decimal128 {
    /// The nearest decimal of 15 significant digits, which is what a double is sure to hold and what MongoDB converts
    /// to. Comparisons do not go through here: they are exact.
    public init(_ value: Double) {
        if value.isNaN {
            self = .nan
        } else if value.isInfinite {
            self = value < 0 ? .negativeInfinity : .infinity
        } else if let whole = Int64(exactly: value), whole.magnitude < 1_000_000_000_000_000, value != 0 {
            self.init(whole)
        } else if let shortest = Decimal128(rounding: "\(value)") {
            let parts = shortest.normalizedParts
            if parts.coefficient == 0 {
                self.init(packing: Parts(negative: value.sign == .minus, coefficient: 0, exponent: 0))
                return
            }
            let excess = PowerOfTen.digits(parts.coefficient) - 15
            let exact = Decimal128(
                packing: Parts(
                    negative: parts.negative, coefficient: parts.coefficient, exponent: parts.exponent))
            self = excess <= 0 ? exact : exact.rounded(places: -(parts.exponent + excess))
        } else {
            self = .nan
        }
    }

    /// The nearest double, ties to even.
    public var doubleValue: Double {
        if isNaN { return .nan }
        if isInfinite { return isNegative ? -.infinity : .infinity }
        let parts = self.parts
        let magnitude: Double
        if parts.coefficient == 0 {
            magnitude = 0
        } else if parts.coefficient <= 1 << 53, abs(parts.exponent) <= 22 {
            // Both are exact doubles, so one division or multiplication rounds once (Clinger 1990).
            let coefficient = Double(UInt64(parts.coefficient))
            let power = Self.exactPowers[abs(parts.exponent)]
            magnitude = parts.exponent < 0 ? coefficient / power : coefficient * power
        } else {
            magnitude = Double("\(parts.coefficient)e\(parts.exponent)") ?? .nan
        }
        return parts.negative ? -magnitude : magnitude
    }

    /// The powers of ten that are doubles.
    private static let exactPowers: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]

    /// The double of exactly this value, if there is one; zeros, infinities and NaN have one.
    public var doubleExactly: Double? {
        let nearest = doubleValue
        if !isFinite { return nearest }
        return Self.compare(self, nearest) == 0 ? nearest : nil
    }

    /// The largest double that is not above this positive finite value.
    var doubleBelow: Double {
        let nearest = doubleValue
        if nearest.isInfinite { return .greatestFiniteMagnitude }
        return Self.compare(self, nearest) < 0 ? nearest.nextDown : nearest
    }

    /// The number if it is whole and 64 bits hold it.
    public var int64Exactly: Int64? {
        guard isFinite else { return nil }
        let parts = self.parts
        var coefficient = parts.coefficient
        if coefficient == 0 { return 0 }
        if parts.exponent > 0 {
            guard parts.exponent <= 19 else { return nil }
            let (product, overflow) = coefficient.multipliedReportingOverflow(by: PowerOfTen.power(parts.exponent))
            if overflow { return nil }
            coefficient = product
        } else if parts.exponent < 0 {
            guard parts.exponent >= -38 else { return nil }
            let (quotient, remainder) = coefficient.quotientAndRemainder(
                dividingBy: PowerOfTen.power(-parts.exponent))
            guard remainder == 0 else { return nil }
            coefficient = quotient
        }
        if parts.negative { return coefficient <= 1 << 63 ? Int64(-Int128(coefficient)) : nil }
        return Int64(exactly: coefficient)
    }
}
