// Values as Swift writes them: `["name": "Ada", "born": 1815, "tags": ["x", nil]]`.
extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(BSONString(value)) }

    /// A literal that fits becomes an `int32`, as the shells and drivers do it; a larger one an `int64`.
    public init(integerLiteral value: Int64) { self = Value(value) }

    public init(floatLiteral value: Double) { self = .double(value) }

    public init(booleanLiteral value: Bool) { self = .bool(value) }

    public init(nilLiteral: ()) { self = .null }

    public init(arrayLiteral elements: Value...) { self = .array(BSONArray(elements)) }

    public init(dictionaryLiteral elements: (String, Value)...) { self = .document(Document(elements)) }
}

extension Value {
    public init(_ value: String) { self = .string(BSONString(value)) }
    public init(_ value: BSONString) { self = .string(value) }
    public init(_ value: Bool) { self = .bool(value) }
    public init(_ value: Double) { self = .double(value) }
    public init(_ value: Int32) { self = .int32(value) }

    /// The narrowest integer type that holds the number: `int32` if it can, else `int64`.
    public init(_ value: Int) { self = Int32(exactly: value).map(Value.int32) ?? .int64(Int64(value)) }

    /// The narrowest integer type that holds the number; say `.int64(value)` where the type matters.
    public init(_ value: Int64) { self = Int32(exactly: value).map(Value.int32) ?? .int64(value) }

    public init(_ value: Decimal128) { self = .decimal128(value) }
    public init(_ value: Document) { self = .document(value) }
    public init(_ value: BSONArray) { self = .array(value) }
    public init(_ value: ObjectID) { self = .objectID(value) }
    public init(_ value: Timestamp) { self = .timestamp(value) }
    public init(_ value: Binary) { self = .binary(value) }

    /// A string value from a `String`.
    public static func text(_ string: String) -> Value { .string(BSONString(string)) }
}

extension Value: CustomStringConvertible {
    /// Relaxed Extended JSON.
    public var description: String { ExtendedJSON.string(from: self) }
}
