extension Decimal128 {
    /// Rounds coefficient * 10^exponent (and a little more, if `sticky`) half to even into 34 digits and the exponent's
    /// range; too large becomes an infinity, too small a zero or a subnormal.
    ///
    /// - Parameter inexact: Set if digits other than zeros were lost.
    static func rounded(
        negative: Bool, _ coefficient: UInt128, exponent: Int, sticky: Bool = false, inexact: inout Bool
    ) -> Decimal128 {
        var coefficient = coefficient
        var exponent = exponent
        var drop = max(PowerOfTen.digits(coefficient) - digitsMax, 0)
        if exponent + drop < exponentMin { drop = exponentMin - exponent }
        if coefficient == 0, !sticky {
            return Decimal128(
                packing: Parts(
                    negative: negative, coefficient: 0, exponent: min(max(exponent, exponentMin), exponentMax)))
        }
        if drop > 0 {
            let (quotient, lost, order) = divided(coefficient, byPowerOfTen: drop, sticky: sticky)
            if lost { inexact = true }
            coefficient = quotient
            exponent += drop
            if order > 0 || (order == 0 && coefficient & 1 == 1) { coefficient += 1 }
            if coefficient == coefficientLimit {
                coefficient /= 10
                exponent += 1
            }
        } else if sticky {
            inexact = true
        }
        // A large exponent with a short coefficient can be written with more zeros.
        if exponent > exponentMax {
            let room = digitsMax - PowerOfTen.digits(coefficient)
            guard exponent - exponentMax <= room else {
                inexact = true
                return negative ? negativeInfinity : infinity
            }
            coefficient *= PowerOfTen.power(exponent - exponentMax)
            exponent = exponentMax
        }
        return Decimal128(packing: Parts(negative: negative, coefficient: coefficient, exponent: exponent))
    }

    /// The quotient by 10^count, whether anything was lost, and how what was lost compares with one half (-1, 0, 1).
    private static func divided(
        _ value: UInt128, byPowerOfTen count: Int, sticky: Bool
    ) -> (quotient: UInt128, lost: Bool, order: Int) {
        guard count <= 38 else { return (0, value != 0 || sticky, -1) }
        let divisor = PowerOfTen.power(count)
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        let half = divisor / 2
        let order = remainder == half ? (sticky ? 1 : 0) : (remainder < half ? -1 : 1)
        return (quotient, remainder != 0 || sticky, order)
    }

    /// The value with no more than `places` digits behind the point (negative: that many zeros before it).
    ///
    /// Source of the rules: MongoDB's `$round` (to nearest or even), `$trunc` (toward zero), `$floor`, `$ceil`.
    public func rounded(_ rule: FloatingPointRoundingRule = .toNearestOrEven, places: Int = 0) -> Decimal128 {
        guard isFinite else { return self }
        let parts = self.parts
        let target = -places
        guard parts.exponent < target else { return self }
        let drop = target - parts.exponent
        let (quotient, lost, order) = Self.divided(parts.coefficient, byPowerOfTen: drop, sticky: false)
        let up: Bool
        switch rule {
        case .toNearestOrEven: up = order > 0 || (order == 0 && lost && quotient & 1 == 1)
        case .toNearestOrAwayFromZero: up = order > 0 || (order == 0 && lost)
        case .towardZero: up = false
        case .awayFromZero: up = lost
        case .up: up = lost && !parts.negative
        case .down: up = lost && parts.negative
        @unknown default: up = order > 0
        }
        var inexact = false
        return Self.rounded(
            negative: parts.negative, up ? quotient + 1 : quotient, exponent: target, inexact: &inexact)
    }
}
