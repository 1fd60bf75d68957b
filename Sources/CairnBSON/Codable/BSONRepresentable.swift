/// A type that is one BSON value. The coders take such a value as it is instead of asking it to encode itself.
public protocol BSONRepresentable {
    var bsonValue: Value { get }

    /// Nil if the value is of another kind.
    init?(bsonValue: Value)
}

/// What makes BSON's own types `Codable`: with ``BSONEncoder`` they are themselves, with any other encoder they are
/// their canonical Extended JSON as a string.
extension BSONRepresentable where Self: Codable {
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let container = container as? ValueEncoder {
            container.node.content = .value(bsonValue)
        } else {
            try container.encode(ExtendedJSON.string(from: bsonValue, format: .canonical))
        }
    }

    public init(from decoder: any Decoder) throws {
        let value: Value
        if let decoder = decoder as? ValueDecoder {
            value = decoder.value
        } else {
            let text = try decoder.singleValueContainer().decode(String.self)
            do {
                value = try ExtendedJSON.value(from: text)
            } catch {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: decoder.codingPath, debugDescription: "\(error)", underlyingError: error))
            }
        }
        guard let result = Self(bsonValue: value) else {
            throw DecodingError.typeMismatch(
                Self.self,
                .init(codingPath: decoder.codingPath, debugDescription: "found \(value.type.alias), not \(Self.self)"))
        }
        self = result
    }
}

extension Value: BSONRepresentable, Codable {
    public var bsonValue: Value { self }
    public init?(bsonValue: Value) { self = bsonValue }
}

extension Document: BSONRepresentable, Codable {
    public var bsonValue: Value { .document(self) }
    public init?(bsonValue: Value) {
        guard case .document(let value) = bsonValue else { return nil }
        self = value
    }
}

extension BSONArray: BSONRepresentable, Codable {
    public var bsonValue: Value { .array(self) }
    public init?(bsonValue: Value) {
        guard case .array(let value) = bsonValue else { return nil }
        self = value
    }
}

extension BSONString: BSONRepresentable, Codable {
    public var bsonValue: Value { .string(self) }
    public init?(bsonValue: Value) {
        guard let value = bsonValue.asString else { return nil }
        self = value
    }
}

extension ObjectID: BSONRepresentable, Codable {
    public var bsonValue: Value { .objectID(self) }
    public init?(bsonValue: Value) {
        guard case .objectID(let value) = bsonValue else { return nil }
        self = value
    }
}

extension Decimal128: BSONRepresentable, Codable {
    public var bsonValue: Value { .decimal128(self) }
    public init?(bsonValue: Value) {
        guard let value = bsonValue.asDecimal128 else { return nil }
        self = value
    }
}

extension Timestamp: BSONRepresentable, Codable {
    public var bsonValue: Value { .timestamp(self) }
    public init?(bsonValue: Value) {
        guard case .timestamp(let value) = bsonValue else { return nil }
        self = value
    }
}

extension Binary: BSONRepresentable, Codable {
    public var bsonValue: Value { .binary(self) }
    public init?(bsonValue: Value) {
        guard case .binary(let value) = bsonValue else { return nil }
        self = value
    }
}

extension RegularExpression: BSONRepresentable, Codable {
    public var bsonValue: Value { .regex(self) }
    public init?(bsonValue: Value) {
        guard case .regex(let value) = bsonValue else { return nil }
        self = value
    }
}

extension DBPointer: BSONRepresentable, Codable {
    public var bsonValue: Value { .dbPointer(self) }
    public init?(bsonValue: Value) {
        guard case .dbPointer(let value) = bsonValue else { return nil }
        self = value
    }
}

/// Bytes are a generic binary; an array of numbers is read too.
extension [UInt8]: BSONRepresentable {
    public var bsonValue: Value { .binary(Binary(self)) }
    public init?(bsonValue: Value) {
        switch bsonValue {
        case .binary(let value): self = Array(value.data)
        case .array(let values):
            self = []
            for value in values {
                guard let byte = value.int64Exactly.flatMap({ UInt8(exactly: $0) }) else { return nil }
                append(byte)
            }
        default: return nil
        }
    }
}
