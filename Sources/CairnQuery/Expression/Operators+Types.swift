import CairnBSON

// Types and conversions.
extension ExpressionOperators {
    static let types: [String: Parse] = [
        "$type": unary { (value) throws(QueryError) in .text(typeName(value)) },
        "$isNumber": unary { (value) throws(QueryError) in .bool(value?.isNumber ?? false) },
        "$bsonSize": unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            guard case .document(let document) = value else {
                throw QueryError(ErrorCode(31393), "$bsonSize requires a document input, found: \(value.type.alias)")
            }
            return .int32(Int32(clamping: document.byteCount))
        },
        "$binarySize": unary { (value) throws(QueryError) in
            switch value {
            case nil, .null?, .undefined?: return .null
            case .string(let text)?: return .int32(Int32(clamping: text.utf8.count))
            case .binary(let binary)?: return .int32(Int32(clamping: binary.data.count))
            case .some(let value):
                throw QueryError(
                    ErrorCode(51276), "$binarySize requires a string or BinData argument, found: \(value.type.alias)")
            }
        },
        "$toString": convert(to: .string, "$toString"),
        "$toInt": convert(to: .int32, "$toInt"),
        "$toLong": convert(to: .int64, "$toLong"),
        "$toDouble": convert(to: .double, "$toDouble"),
        "$toDecimal": convert(to: .decimal128, "$toDecimal"),
        "$toBool": convert(to: .bool, "$toBool"),
        "$toDate": convert(to: .date, "$toDate"),
        "$toObjectId": convert(to: .objectID, "$toObjectId"),
        "$convert": { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(value, name, ["input", "to", "onError", "onNull", "format"], required: 2)
            let hasOnError = operands[2] != nil
            let hasOnNull = operands[3] != nil
            let nodes = operands.map { $0 ?? .constant(nil) }
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let target = values[1], !target.isNullish else { return .null }
                        let type: BSONType? =
                            if let alias = target.asString { BSONType(alias: alias.string) } else {
                                target.intExactly.flatMap(BSONType.init(number:))
                            }
                        guard let type else {
                            throw QueryError(.badValue, "Unknown type name in $convert: \(target)")
                        }
                        guard let input = values[0], !input.isNullish else { return hasOnNull ? values[3] : .null }
                        do throws(QueryError) {
                            return try Conversion.convert(input, to: type)
                        } catch {
                            if hasOnError { return values[2] }
                            throw error
                        }
                    }, nodes), nodes)
        },
    ]

    private static func convert(to type: BSONType, _ name: String) -> Parse {
        unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            return try Conversion.convert(value, to: type)
        }
    }
}

/// Conversions between types, as `$convert` defines them.
enum Conversion {
    static func convert(_ value: Value, to type: BSONType) throws(QueryError) -> Value {
        if value.type == type { return value }
        let converted: Value? =
            switch type {
            case .double: double(value)
            case .string: text(value).map { Value.text($0) }
            case .bool: bool(value)
            case .int32: try integer(value, "int").flatMap { Int32(exactly: $0) }.map(Value.int32)
            case .int64: try integer(value, "long").map(Value.int64)
            case .decimal128: decimal(value)
            case .date: try date(value)
            case .objectID: value.asString.flatMap { ObjectID($0.string) }.map(Value.objectID)
            default: Value?.none
            }
        guard let converted else { throw failure(value, type) }
        return converted
    }

    private static func failure(_ value: Value, _ type: BSONType) -> QueryError {
        if let text = value.asString {
            return QueryError(
                .conversionFailure,
                "Failed to parse \(type == .objectID ? "objectId" : "number") '\(text)' in $convert with no onError value"
            )
        }
        return QueryError(
            .conversionFailure,
            "Unsupported conversion from \(value.type.alias) to \(type.alias) in $convert with no onError value")
    }

    private static func bool(_ value: Value) -> Value? {
        switch value {
        case .document, .array, .string, .symbol, .objectID, .date, .binary, .timestamp, .regex, .javaScript: true
        default: .bool(value.isTruthy)
        }
    }

    private static func double(_ value: Value) -> Value? {
        switch value {
        case .bool(let flag): return .double(flag ? 1 : 0)
        case .int32, .int64: return value.numericDouble.map(Value.double)
        case .decimal128(let number):
            let double = number.doubleValue
            guard double.isFinite || !number.isFinite else { return nil }
            return .double(double)
        case .date(let milliseconds): return .double(Double(milliseconds))
        case .string(let text):
            guard isNumberText(text) else { return nil }
            return Double(text.string).map(Value.double)
        default: return nil
        }
    }

    private static func decimal(_ value: Value) -> Value? {
        switch value {
        case .bool(let flag): return .decimal128(Decimal128(flag ? 1 : 0))
        case .int32, .int64, .double: return value.asDecimal128.map(Value.decimal128)
        case .date(let milliseconds): return .decimal128(Decimal128(milliseconds))
        case .string(let text): return Decimal128(text.string).map(Value.decimal128)
        default: return nil
        }
    }

    private static func integer(_ value: Value, _ name: String) throws(QueryError) -> Int64? {
        switch value {
        case .bool(let flag): return flag ? 1 : 0
        case .int32(let number): return Int64(number)
        case .int64(let number): return number
        case .double(let number):
            guard number.isFinite else { return nil }
            return Int64(exactly: number.rounded(.towardZero))
        case .decimal128(let number): return number.rounded(.towardZero).int64Exactly
        case .date(let milliseconds): return name == "long" ? milliseconds : nil
        case .string(let text): return isNumberText(text) ? Int64(text.string) : nil
        default: return nil
        }
    }

    /// Swift reads hexadecimal and words that MongoDB does not.
    private static func isNumberText(_ text: BSONString) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, first > 0x20, last > 0x20 else { return false }
        return !text.utf8.contains { $0 == 0x78 || $0 == 0x58 || $0 == 0x70 || $0 == 0x50 }
    }

    private static func date(_ value: Value) throws(QueryError) -> Value? {
        switch value {
        case .int64(let number): return .date(milliseconds: number)
        case .double, .decimal128:
            guard let number = try integer(value, "long") else { return nil }
            return .date(milliseconds: number)
        case .objectID(let id): return .date(milliseconds: Int64(Int32(bitPattern: id.seconds)) * 1000)
        case .timestamp(let time): return .date(milliseconds: Int64(time.seconds) * 1000)
        case .string(let text): return .date(milliseconds: try DateText.parse(text.string, zone: nil))
        default: return nil
        }
    }

    /// A value as `$toString` writes it.
    static func text(_ value: Value) -> String? {
        switch value {
        case .string(let text), .symbol(let text), .javaScript(let text): return text.string
        case .bool(let flag): return flag ? "true" : "false"
        case .int32(let number): return String(number)
        case .int64(let number): return String(number)
        case .double(let number):
            if number.isNaN { return "NaN" }
            if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
            let text = "\(number)"
            return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
        case .decimal128(let number): return number.description
        case .objectID(let id): return id.hex
        case .date(let milliseconds): return DateText.format(milliseconds, "%Y-%m-%dT%H:%M:%S.%LZ", zone: .utc)
        case .timestamp(let time): return "Timestamp(\(time.seconds), \(time.increment))"
        case .binary(let binary) where binary.subtype == .uuid && binary.data.count == 16:
            let digits = binary.data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            var text = ""
            for (index, digit) in digits.enumerated() {
                if [8, 12, 16, 20].contains(index) { text += "-" }
                text.append(digit)
            }
            return text
        default: return nil
        }
    }
}
