import CairnBSON

/// Arithmetic on BSON's four number types as MongoDB promotes them: the wider of int32, int64, double and decimal.
enum Numbers {
    enum Kind: Int { case int32, int64, double, decimal }

    @inline(__always)
    static func kind(_ value: Value) -> Kind? {
        switch value {
        case .int32: .int32
        case .int64: .int64
        case .double: .double
        case .decimal128: .decimal
        default: nil
        }
    }

    static func integer(_ value: Value) -> Int64 {
        switch value {
        case .int32(let number): Int64(number)
        case .int64(let number): number
        default: 0
        }
    }

    /// An integer in the type that the operands had: int32 spills into int64.
    static func narrowed(_ number: Int64, _ kind: Kind) -> Value {
        if kind == .int32, let small = Int32(exactly: number) { return .int32(small) }
        return .int64(number)
    }

    /// The sum; nil when two integers exceed 64 bits. Both operands are numbers.
    static func sum(_ left: Value, _ right: Value) -> Value? {
        combine(
            left, right, { $0.addingReportingOverflow($1) }, { $0 + $1 }, { $0 + $1 })
    }

    static func difference(_ left: Value, _ right: Value) -> Value? {
        combine(
            left, right, { $0.subtractingReportingOverflow($1) }, { $0 - $1 }, { $0 - $1 })
    }

    static func product(_ left: Value, _ right: Value) -> Value? {
        combine(
            left, right, { $0.multipliedReportingOverflow(by: $1) }, { $0 * $1 }, { $0 * $1 })
    }

    @inline(__always)
    private static func combine(
        _ left: Value, _ right: Value,
        _ integers: (Int64, Int64) -> (partialValue: Int64, overflow: Bool),
        _ doubles: (Double, Double) -> Double,
        _ decimals: (Decimal128, Decimal128) -> Decimal128
    ) -> Value? {
        guard let a = kind(left), let b = kind(right) else { return nil }
        switch a.rawValue > b.rawValue ? a : b {
        case .decimal:
            guard let x = left.asDecimal128, let y = right.asDecimal128 else { return nil }
            return .decimal128(decimals(x, y))
        case .double: return .double(doubles(left.numericDouble ?? 0, right.numericDouble ?? 0))
        case let widest:
            let (number, overflow) = integers(integer(left), integer(right))
            // Not `overflow ? nil : …`: a value can be written as nil too, and would be null here.
            guard !overflow else { return nil }
            return narrowed(number, widest)
        }
    }

    /// Like the exact operation, but integers beyond 64 bits become a double, as aggregation does it.
    static func sumOrDouble(_ left: Value, _ right: Value) -> Value {
        sum(left, right) ?? .double((left.numericDouble ?? 0) + (right.numericDouble ?? 0))
    }
}
