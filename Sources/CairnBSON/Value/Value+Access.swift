// Questions to a value whose type is not known yet.
extension Value {
    public var isNumber: Bool { type.isNumber }

    /// True for `null` and `undefined`.
    public var isNullish: Bool {
        switch self {
        case .null, .undefined: true
        default: false
        }
    }

    /// What a condition makes of it: false, null, undefined and zero are false, everything else is true.
    public var isTruthy: Bool {
        switch self {
        case .bool(let value): value
        case .null, .undefined: false
        case .int32(let value): value != 0
        case .int64(let value): value != 0
        case .double(let value): value != 0
        case .decimal128(let value): !value.isZero
        default: true
        }
    }

    /// The text of a string or a symbol.
    public var asString: BSONString? {
        switch self {
        case .string(let value), .symbol(let value): value
        default: nil
        }
    }

    /// The text of a string or a symbol as a `String`. O(bytes).
    public var stringValue: String? { asString?.string }

    public var asDocument: Document? { if case .document(let value) = self { value } else { nil } }
    public var asArray: BSONArray? { if case .array(let value) = self { value } else { nil } }
    public var asBool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var asObjectID: ObjectID? { if case .objectID(let value) = self { value } else { nil } }
    public var asBinary: Binary? { if case .binary(let value) = self { value } else { nil } }
    public var asTimestamp: Timestamp? { if case .timestamp(let value) = self { value } else { nil } }
    public var asDateMilliseconds: Int64? { if case .date(let value) = self { value } else { nil } }

    /// The number if it is a whole one that 64 bits hold, of whatever numeric type: `5`, `5.0`, `Decimal128("5.00")`.
    public var int64Exactly: Int64? {
        switch self {
        case .int32(let value): Int64(value)
        case .int64(let value): value
        case .double(let value): Int64(exactly: value)
        case .decimal128(let value): value.int64Exactly
        default: nil
        }
    }

    /// The same as ``int64Exactly``.
    public var asInt64Exactly: Int64? { int64Exactly }

    /// The number if it is a whole one that an `Int` holds.
    public var intExactly: Int? { int64Exactly.flatMap { Int(exactly: $0) } }

    /// The number as the nearest double; nil for what is no number.
    public var numericDouble: Double? {
        switch self {
        case .int32(let value): Double(value)
        case .int64(let value): Double(value)
        case .double(let value): value
        case .decimal128(let value): value.doubleValue
        default: nil
        }
    }

    /// The same as ``numericDouble``.
    public var asDouble: Double? { numericDouble }

    /// The number as a decimal; a double is rounded to 15 significant digits first, as MongoDB does.
    public var asDecimal128: Decimal128? {
        switch self {
        case .int32(let value): Decimal128(Int64(value))
        case .int64(let value): Decimal128(value)
        case .double(let value): Decimal128(value)
        case .decimal128(let value): value
        default: nil
        }
    }
}
