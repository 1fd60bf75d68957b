/// The kinds of values that BSON 1.1 knows; the raw value is the byte that starts an element.
///
/// Source: <https://bsonspec.org/spec.html>.
public enum BSONType: UInt8, Hashable, Sendable, CaseIterable {
    case double = 0x01
    case string = 0x02
    case document = 0x03
    case array = 0x04
    case binary = 0x05
    case undefined = 0x06
    case objectID = 0x07
    case bool = 0x08
    case date = 0x09
    case null = 0x0A
    case regex = 0x0B
    case dbPointer = 0x0C
    case javaScript = 0x0D
    case symbol = 0x0E
    case javaScriptWithScope = 0x0F
    case int32 = 0x10
    case timestamp = 0x11
    case int64 = 0x12
    case decimal128 = 0x13
    case maxKey = 0x7F
    case minKey = 0xFF

    /// The name that `$type` and error messages use.
    public var alias: String {
        switch self {
        case .double: "double"
        case .string: "string"
        case .document: "object"
        case .array: "array"
        case .binary: "binData"
        case .undefined: "undefined"
        case .objectID: "objectId"
        case .bool: "bool"
        case .date: "date"
        case .null: "null"
        case .regex: "regex"
        case .dbPointer: "dbPointer"
        case .javaScript: "javascript"
        case .symbol: "symbol"
        case .javaScriptWithScope: "javascriptWithScope"
        case .int32: "int"
        case .timestamp: "timestamp"
        case .int64: "long"
        case .decimal128: "decimal"
        case .maxKey: "maxKey"
        case .minKey: "minKey"
        }
    }

    /// The type with that ``alias``, or nil. (`$type`'s "number" stands for four types and is none of them.)
    public init?(alias: String) {
        guard let type = Self.allCases.first(where: { $0.alias == alias }) else { return nil }
        self = type
    }

    /// The number that `$type` takes: the raw value, with -1 for ``minKey``.
    public var number: Int { self == .minKey ? -1 : Int(rawValue) }

    /// The type with that ``number``, or nil.
    public init?(number: Int) {
        if number == -1 {
            self = .minKey
        } else {
            guard let raw = UInt8(exactly: number), raw != 0xFF, let type = Self(rawValue: raw) else { return nil }
            self = type
        }
    }

    /// The place of the type's family in the order of all values; types that share it compare by content.
    ///
    /// The byte is also the first of a family's encodings in ``KeyEncoding``, so it never changes.
    @inlinable
    public var canonicalOrder: UInt8 {
        switch self {
        case .minKey: 0x05
        case .undefined: 0x0A
        case .null: 0x0F
        case .double, .int32, .int64, .decimal128: 0x14
        case .string, .symbol: 0x3C
        case .document: 0x46
        case .array: 0x50
        case .binary: 0x5A
        case .objectID: 0x64
        case .bool: 0x6E
        case .date: 0x78
        case .timestamp: 0x82
        case .regex: 0x8C
        case .dbPointer: 0x96
        case .javaScript: 0xA0
        case .javaScriptWithScope: 0xAA
        case .maxKey: 0xF0
        }
    }

    /// True for the four types that compare with each other as numbers.
    @inlinable
    public var isNumber: Bool {
        switch self {
        case .double, .int32, .int64, .decimal128: true
        default: false
        }
    }
}
