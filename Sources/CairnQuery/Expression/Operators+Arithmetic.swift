import CairnBSON
import Foundation

// Arithmetic and trigonometry. Integers that leave 64 bits become doubles, as in MongoDB; null and missing give null.
extension ExpressionOperators {
    static let arithmetic: [String: Parse] = [
        "$add": nary { (values) throws(QueryError) in try add(values) },
        "$subtract": binary { (left, right) throws(QueryError) in try subtract(left, right) },
        "$multiply": nary { (values) throws(QueryError) in
            var product = Value.int32(1)
            for value in values {
                guard let value, !value.isNullish else { return .null }
                guard value.isNumber else {
                    throw QueryError(.typeMismatch, "$multiply only supports numeric types, not \(value.type.alias)")
                }
                product =
                    Numbers.product(product, value)
                    ?? .double((product.numericDouble ?? 0) * (value.numericDouble ?? 0))
            }
            return product
        },
        "$divide": binary { (left, right) throws(QueryError) in
            guard let (left, right) = try numbers(left, right, "$divide") else { return .null }
            if Numbers.kind(left) == .decimal || Numbers.kind(right) == .decimal {
                guard let a = left.asDecimal128, let b = right.asDecimal128 else { return .null }
                guard !b.isZero else { throw QueryError(.badValue, "can't $divide by zero") }
                return .decimal128(a / b)
            }
            guard let a = left.numericDouble, let b = right.numericDouble else { return .null }
            guard b != 0 else { throw QueryError(.badValue, "can't $divide by zero") }
            return .double(a / b)
        },
        "$mod": binary { (left, right) throws(QueryError) in try modulo(left, right) },
        "$abs": unary { (value) throws(QueryError) in
            guard let value = try number(value, "$abs") else { return .null }
            switch value {
            case .int32(let number):
                return number == .min ? .int64(-Int64(number)) : .int32(abs(number))
            case .int64(let number):
                guard number != .min else { throw QueryError(ErrorCode(28680), "can't take $abs of long long min") }
                return .int64(abs(number))
            case .decimal128(let number): return .decimal128(number.magnitude)
            default: return .double(abs(value.numericDouble ?? 0))
            }
        },
        "$ceil": unary { (value) throws(QueryError) in try rounded(value, .up, "$ceil") },
        "$floor": unary { (value) throws(QueryError) in try rounded(value, .down, "$floor") },
        "$round": nary(min: 1, max: 2) { (values) throws(QueryError) in
            try rounded(values[0], places: values.count > 1 ? values[1] : .int32(0), .toNearestOrEven, "$round")
        },
        "$trunc": nary(min: 1, max: 2) { (values) throws(QueryError) in
            try rounded(values[0], places: values.count > 1 ? values[1] : .int32(0), .towardZero, "$trunc")
        },
        "$sqrt": unary { (value) throws(QueryError) in
            guard let value = try number(value, "$sqrt") else { return .null }
            let root = value.numericDouble ?? 0
            guard !(root < 0) else {
                throw QueryError(ErrorCode(28714), "$sqrt's argument must be greater than or equal to 0")
            }
            return like(value, root.squareRoot())
        },
        "$exp": unary { (value) throws(QueryError) in
            guard let value = try number(value, "$exp") else { return .null }
            return like(value, exp(value.numericDouble ?? 0))
        },
        "$ln": unary { (value) throws(QueryError) in
            guard let value = try number(value, "$ln") else { return .null }
            let operand = value.numericDouble ?? 0
            guard !(operand <= 0) else {
                throw QueryError(ErrorCode(28766), "$ln's argument must be a positive number, but is \(value)")
            }
            return like(value, log(operand))
        },
        "$log10": unary { (value) throws(QueryError) in
            guard let value = try number(value, "$log10") else { return .null }
            let operand = value.numericDouble ?? 0
            guard !(operand <= 0) else {
                throw QueryError(ErrorCode(28761), "$log10's argument must be a positive number, but is \(value)")
            }
            return like(value, log10(operand))
        },
        "$log": binary { (left, right) throws(QueryError) in
            guard let left, let right, !left.isNullish, !right.isNullish else { return .null }
            guard left.isNumber else {
                throw QueryError(ErrorCode(28756), "$log's argument must be numeric, not \(left.type.alias)")
            }
            guard right.isNumber else {
                throw QueryError(ErrorCode(28757), "$log's base must be numeric, not \(right.type.alias)")
            }
            guard let operand = left.numericDouble, operand > 0 else {
                throw QueryError(ErrorCode(28758), "$log's argument must be a positive number, but is \(left)")
            }
            guard let base = right.numericDouble, base > 0, base != 1 else {
                throw QueryError(
                    ErrorCode(28759), "$log's base must be a positive number not equal to 1, but is \(right)")
            }
            return .double(log(operand) / log(base))
        },
        "$pow": binary { (left, right) throws(QueryError) in try power(left, right) },
        "$bitAnd": bits(.int32(-1)) { $0 & $1 },
        "$bitOr": bits(.int32(0)) { $0 | $1 },
        "$bitXor": bits(.int32(0)) { $0 ^ $1 },
        "$bitNot": unary { (value) throws(QueryError) in
            switch value {
            case nil, .null?, .undefined?: return .null
            case .int32(let number)?: return .int32(~number)
            case .int64(let number)?: return .int64(~number)
            case .some(let value):
                throw QueryError(ErrorCode(28765), "$bitNot only supports int and long, not: \(value.type.alias).")
            }
        },
    ]

    static let trigonometry: [String: Parse] = [
        "$sin": trigonometric("$sin", bounded: true) { sin($0) },
        "$cos": trigonometric("$cos", bounded: true) { cos($0) },
        "$tan": trigonometric("$tan", bounded: true) { tan($0) },
        "$asin": trigonometric("$asin", in: -1...1) { asin($0) },
        "$acos": trigonometric("$acos", in: -1...1) { acos($0) },
        "$atan": trigonometric("$atan") { atan($0) },
        "$sinh": trigonometric("$sinh") { sinh($0) },
        "$cosh": trigonometric("$cosh") { cosh($0) },
        "$tanh": trigonometric("$tanh") { tanh($0) },
        "$asinh": trigonometric("$asinh") { asinh($0) },
        "$acosh": trigonometric("$acosh", in: 1...Double.infinity) { acosh($0) },
        "$atanh": trigonometric("$atanh", in: -1...1) { atanh($0) },
        "$degreesToRadians": trigonometric("$degreesToRadians") { $0 * (Double.pi / 180) },
        "$radiansToDegrees": trigonometric("$radiansToDegrees") { $0 * (180 / Double.pi) },
        "$atan2": binary { (left, right) throws(QueryError) in
            guard let (y, x) = try numbers(left, right, "$atan2") else { return .null }
            return like(y, atan2(y.numericDouble ?? 0, x.numericDouble ?? 0), or: x)
        },
    ]

    // MARK: Pieces

    static func number(_ value: Value?, _ name: String) throws(QueryError) -> Value? {
        guard let value, !value.isNullish else { return nil }
        guard value.isNumber else {
            throw QueryError(ErrorCode(28765), "\(name) only supports numeric types, not \(value.type.alias)")
        }
        return value
    }

    private static func numbers(_ left: Value?, _ right: Value?, _ name: String) throws(QueryError) -> (Value, Value)? {
        guard let left, let right, !left.isNullish, !right.isNullish else { return nil }
        guard left.isNumber, right.isNumber else {
            throw QueryError(
                .typeMismatch, "\(name) only supports numeric types, not \(left.type.alias) and \(right.type.alias)")
        }
        return (left, right)
    }

    /// A result of floating-point mathematics in the type that its operands call for.
    private static func like(_ value: Value, _ result: Double, or other: Value? = nil) -> Value {
        if case .decimal128 = value { return .decimal128(Decimal128(result)) }
        if case .decimal128? = other { return .decimal128(Decimal128(result)) }
        return .double(result)
    }

    static func add(_ values: [Value?]) throws(QueryError) -> Value? {
        var sum = Value.int32(0)
        var isDate = false
        for value in values {
            guard let value, !value.isNullish else { return .null }
            switch value {
            case .date(let milliseconds):
                guard !isDate else { throw QueryError(ErrorCode(16612), "only one date allowed in an $add expression") }
                isDate = true
                sum = Numbers.sumOrDouble(sum, .int64(milliseconds))
            case .int32, .int64, .double, .decimal128: sum = Numbers.sumOrDouble(sum, value)
            default:
                throw QueryError(
                    .typeMismatch, "$add only supports numeric or date types, not \(value.type.alias)")
            }
        }
        return isDate ? try date(sum, "$add") : sum
    }

    private static func date(_ number: Value, _ name: String) throws(QueryError) -> Value {
        if let exact = number.int64Exactly { return .date(milliseconds: exact) }
        guard let double = number.numericDouble, let whole = Int64(exactly: double.rounded()) else {
            throw QueryError(.overflow, "date overflow in \(name)")
        }
        return .date(milliseconds: whole)
    }

    static func subtract(_ left: Value?, _ right: Value?) throws(QueryError) -> Value? {
        guard let left, let right, !left.isNullish, !right.isNullish else { return .null }
        switch (left, right) {
        case (.date(let a), .date(let b)):
            let (difference, overflow) = a.subtractingReportingOverflow(b)
            guard !overflow else { throw QueryError(.overflow, "date overflow in $subtract") }
            return .int64(difference)
        case (.date(let a), _) where right.isNumber:
            return try date(Numbers.difference(.int64(a), right) ?? .double(.infinity), "$subtract")
        default: break
        }
        guard left.isNumber, right.isNumber else {
            throw QueryError(
                .typeMismatch, "can't $subtract \(right.type.alias) from \(left.type.alias)")
        }
        return Numbers.difference(left, right) ?? .double((left.numericDouble ?? 0) - (right.numericDouble ?? 0))
    }

    private static func modulo(_ left: Value?, _ right: Value?) throws(QueryError) -> Value? {
        guard let (left, right) = try numbers(left, right, "$mod"), let a = Numbers.kind(left),
            let b = Numbers.kind(right)
        else { return .null }
        switch a.rawValue > b.rawValue ? a : b {
        case .decimal:
            guard let x = left.asDecimal128, let y = right.asDecimal128 else { return .null }
            guard !y.isZero else { throw QueryError(ErrorCode(16610), "can't $mod by zero") }
            return .decimal128(x.remainder(dividingBy: y))
        case .double:
            let divisor = right.numericDouble ?? 0
            guard divisor != 0 else { throw QueryError(ErrorCode(16610), "can't $mod by zero") }
            return .double((left.numericDouble ?? 0).truncatingRemainder(dividingBy: divisor))
        case let kind:
            let divisor = Numbers.integer(right)
            guard divisor != 0 else { throw QueryError(ErrorCode(16610), "can't $mod by zero") }
            return Numbers.narrowed(divisor == -1 ? 0 : Numbers.integer(left) % divisor, kind)
        }
    }

    private static func rounded(
        _ value: Value?, _ rule: FloatingPointRoundingRule, _ name: String
    ) throws(QueryError) -> Value? {
        guard let value = try number(value, name) else { return .null }
        switch value {
        case .double(let number): return .double(number.rounded(rule))
        case .decimal128(let number): return .decimal128(number.rounded(rule))
        default: return value
        }
    }

    private static func rounded(
        _ value: Value?, places: Value?, _ rule: FloatingPointRoundingRule, _ name: String
    ) throws(QueryError) -> Value? {
        guard let value = try number(value, name), let places, !places.isNullish else { return .null }
        guard let digits = places.intExactly, digits >= -20, digits <= 100 else {
            throw QueryError(
                ErrorCode(51083), "cannot apply \(name) with precision value \(places) value must be in [-20, 100]")
        }
        switch value {
        case .decimal128(let number): return .decimal128(number.rounded(rule, places: digits))
        case .double(let number):
            guard number.isFinite else { return value }
            if digits == 0 { return .double(number.rounded(rule)) }
            // Through decimal, so that 1.005 is what it reads as; a double has no places beyond 17 digits.
            guard digits < 40 else { return value }
            return .double(
                Decimal128(rounding: "\(number)").map { $0.rounded(rule, places: digits).doubleValue } ?? number)
        default:
            guard digits < 0 else { return value }
            let whole = Numbers.integer(value)
            guard let result = Decimal128(whole).rounded(rule, places: digits).int64Exactly else {
                throw QueryError(
                    ErrorCode(51080),
                    "invalid conversion from Decimal128 result in \(name) resulting from arguments: [\(value), \(places)]"
                )
            }
            return Numbers.narrowed(result, Numbers.kind(value) ?? .int64)
        }
    }

    private static func power(_ left: Value?, _ right: Value?) throws(QueryError) -> Value? {
        guard let left, let right, !left.isNullish, !right.isNullish else { return .null }
        guard left.isNumber else {
            throw QueryError(ErrorCode(28762), "$pow's base must be numeric, not \(left.type.alias)")
        }
        guard right.isNumber else {
            throw QueryError(ErrorCode(28763), "$pow's exponent must be numeric, not \(right.type.alias)")
        }
        let base = left.numericDouble ?? 0
        let exponent = right.numericDouble ?? 0
        if base == 0 && exponent < 0 {
            throw QueryError(ErrorCode(28764), "$pow cannot take a base of 0 and a negative exponent")
        }
        switch (left, right) {
        case (.decimal128, _), (_, .decimal128): return .decimal128(Decimal128(pow(base, exponent)))
        case (.double, _), (_, .double): return .double(pow(base, exponent))
        default: break
        }
        let wantsLong = left.type == .int64 || right.type == .int64
        var factor = Numbers.integer(left)
        var remaining = Numbers.integer(right)
        guard remaining >= 0 else {
            // Only 1 and -1 stay whole.
            if factor == 1 || factor == -1 {
                let result: Int64 = factor == 1 || remaining % 2 == 0 ? 1 : -1
                return wantsLong ? .int64(result) : .int32(Int32(result))
            }
            return .double(pow(base, exponent))
        }
        var result: Int64 = 1
        while remaining > 0 {
            if remaining & 1 == 1 {
                let (product, overflow) = result.multipliedReportingOverflow(by: factor)
                if overflow { return .double(pow(base, exponent)) }
                result = product
            }
            remaining >>= 1
            if remaining > 0 {
                let (square, overflow) = factor.multipliedReportingOverflow(by: factor)
                if overflow { return .double(pow(base, exponent)) }
                factor = square
            }
        }
        return Numbers.narrowed(result, wantsLong ? .int64 : .int32)
    }

    private static func bits(_ start: Value, _ combine: @escaping @Sendable (Int64, Int64) -> Int64) -> Parse {
        nary { (values) throws(QueryError) in
            var result = start
            for value in values {
                guard let value, !value.isNullish else { return .null }
                guard let kind = Numbers.kind(value), kind == .int32 || kind == .int64 else {
                    throw QueryError(
                        .typeMismatch, "bitwise operators only support int and long, not: \(value.type.alias).")
                }
                let isLong = kind == .int64 || result.type == .int64
                let combined = combine(Numbers.integer(result), Numbers.integer(value))
                result = isLong ? .int64(combined) : .int32(Int32(truncatingIfNeeded: combined))
            }
            return result
        }
    }

    private static func trigonometric(
        _ name: String, bounded: Bool = false, in range: ClosedRange<Double>? = nil,
        _ function: @escaping @Sendable (Double) -> Double
    ) -> Parse {
        unary { (value) throws(QueryError) in
            guard let value = try number(value, name) else { return .null }
            let operand = value.numericDouble ?? 0
            if operand.isNaN { return value }
            if bounded && operand.isInfinite {
                throw QueryError(ErrorCode(50989), "cannot apply \(name) to \(value), value must be in (-inf,inf)")
            }
            if let range, !range.contains(operand) {
                throw QueryError(
                    ErrorCode(50989),
                    "cannot apply \(name) to \(value), value must be in [\(range.lowerBound),\(range.upperBound)]")
            }
            return like(value, function(operand))
        }
    }
}
