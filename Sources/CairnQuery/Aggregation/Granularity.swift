import CairnBSON
import Foundation

/// A series of preferred numbers that `$bucketAuto` puts its boundaries on.
enum Granularity: Sendable {
    case powersOfTwo
    /// The members of one decade, ascending; all others are these times a power of ten.
    case decade([Double])

    /// - Throws: code 40257 for a name that no series has.
    init(_ name: String) throws(QueryError) {
        switch name {
        case "POWERSOF2": self = .powersOfTwo
        case "1-2-5": self = .decade([1, 2, 5])
        case "R5": self = .decade(Self.every(16, of: Self.renard80))
        case "R10": self = .decade(Self.every(8, of: Self.renard80))
        case "R20": self = .decade(Self.every(4, of: Self.renard80))
        case "R40": self = .decade(Self.every(2, of: Self.renard80))
        case "R80": self = .decade(Self.renard80)
        case "E6": self = .decade(Self.every(4, of: Self.e24))
        case "E12": self = .decade(Self.every(2, of: Self.e24))
        case "E24": self = .decade(Self.e24)
        case "E48": self = .decade(Self.every(4, of: Self.e192))
        case "E96": self = .decade(Self.every(2, of: Self.e192))
        case "E192": self = .decade(Self.e192)
        default: throw QueryError(ErrorCode(40257), "Unknown rounding granularity '\(name)'")
        }
    }

    /// The least member above a number that is not negative; 0 for 0.
    func roundedUp(_ number: Double) -> Double {
        guard number > 0 else { return 0 }
        switch self {
        case .powersOfTwo: return Double(sign: .plus, exponent: Int(number.exponent) + 1, significand: 1)
        case .decade(let members):
            var exponent = Self.exponent(of: number)
            while true {
                if let member = members.first(where: { Self.scaled($0, exponent) > number }) {
                    return Self.scaled(member, exponent)
                }
                exponent += 1
            }
        }
    }

    /// The greatest member below a number that is not negative; 0 for 0.
    func roundedDown(_ number: Double) -> Double {
        guard number > 0 else { return 0 }
        switch self {
        case .powersOfTwo:
            let isMember = number.significand == 1
            return Double(sign: .plus, exponent: Int(number.exponent) - (isMember ? 1 : 0), significand: 1)
        case .decade(let members):
            var exponent = Self.exponent(of: number)
            while true {
                if let member = members.last(where: { Self.scaled($0, exponent) < number }) {
                    return Self.scaled(member, exponent)
                }
                exponent -= 1
                // Below the least double there is nothing but 0.
                if exponent < -330 { return 0 }
            }
        }
    }

    /// The power of ten whose decade, from 1 to below 10, the number is in or next to.
    private static func exponent(of number: Double) -> Int { Int(log10(number).rounded(.down)) }

    private static func scaled(_ member: Double, _ exponent: Int) -> Double {
        // Dividing by a power of ten rounds once; multiplying by a fraction of ten would round twice.
        exponent >= 0 ? member * pow(10, Double(exponent)) : member / pow(10, Double(-exponent))
    }

    private static func every(_ step: Int, of members: [Double]) -> [Double] {
        stride(from: 0, to: members.count, by: step).map { members[$0] }
    }

    /// ISO 3; R40 and coarser are every second, fourth… member.
    private static let renard80: [Double] = [
        1.00, 1.03, 1.06, 1.09, 1.12, 1.15, 1.18, 1.22, 1.25, 1.28, 1.32, 1.36, 1.40, 1.45, 1.50, 1.55, 1.60, 1.65,
        1.70, 1.75, 1.80, 1.85, 1.90, 1.95, 2.00, 2.06, 2.12, 2.18, 2.24, 2.30, 2.36, 2.43, 2.50, 2.58, 2.65, 2.72,
        2.80, 2.90, 3.00, 3.07, 3.15, 3.25, 3.35, 3.45, 3.55, 3.65, 3.75, 3.87, 4.00, 4.12, 4.25, 4.37, 4.50, 4.62,
        4.75, 4.87, 5.00, 5.15, 5.30, 5.45, 5.60, 5.80, 6.00, 6.15, 6.30, 6.50, 6.70, 6.90, 7.10, 7.30, 7.50, 7.75,
        8.00, 8.25, 8.50, 8.75, 9.00, 9.25, 9.50, 9.75,
    ]

    /// IEC 60063, whose coarse series are rounded by history rather than by rule.
    private static let e24: [Double] = [
        1.0, 1.1, 1.2, 1.3, 1.5, 1.6, 1.8, 2.0, 2.2, 2.4, 2.7, 3.0, 3.3, 3.6, 3.9, 4.3, 4.7, 5.1, 5.6, 6.2, 6.8, 7.5,
        8.2, 9.1,
    ]

    /// IEC 60063: the 192nd roots of ten in three digits, with the standard's one exception.
    private static let e192: [Double] = (0..<192).map { place in
        place == 185 ? 9.20 : (pow(10, Double(place) / 192) * 100).rounded() / 100
    }
}
