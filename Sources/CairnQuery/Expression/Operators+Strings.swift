import CairnBSON

// Text. Positions count bytes (`…Bytes`) or code points (`…CP`), as MongoDB's do.
extension ExpressionOperators {
    static let strings: [String: Parse] = [
        "$concat": nary { (values) throws(QueryError) in
            var bytes: [UInt8] = []
            for value in values {
                guard let value, !value.isNullish else { return .null }
                guard let text = value.asString else {
                    throw QueryError(ErrorCode(16702), "$concat only supports strings, not \(value.type.alias)")
                }
                bytes += text.utf8
            }
            return .string(BSONString(utf8: bytes[...]))
        },
        "$toLower": unary { (value) throws(QueryError) in .text(try coerced(value, "$toLower").lowercasedASCII) },
        "$toUpper": unary { (value) throws(QueryError) in .text(try coerced(value, "$toUpper").uppercasedASCII) },
        "$strcasecmp": binary { (left, right) throws(QueryError) in
            let a = try coerced(left, "$strcasecmp").uppercasedASCII
            let b = try coerced(right, "$strcasecmp").uppercasedASCII
            return .int32(a == b ? 0 : (a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : 1))
        },
        "$strLenBytes": unary { (value) throws(QueryError) in
            .int32(Int32(clamping: try text(value, "$strLenBytes", 34473).utf8.count))
        },
        "$strLenCP": unary { (value) throws(QueryError) in
            .int32(Int32(clamping: try text(value, "$strLenCP", 34471).string.unicodeScalars.count))
        },
        "$substr": nary(min: 3, max: 3) { (values) throws(QueryError) in try substringBytes(values, "$substr") },
        "$substrBytes": nary(min: 3, max: 3) { (values) throws(QueryError) in try substringBytes(values, "$substrBytes")
        },
        "$substrCP": nary(min: 3, max: 3) { (values) throws(QueryError) in
            let scalars = Array(try coerced(values[0], "$substrCP").unicodeScalars)
            guard let start = values[1]?.intExactly, let count = values[2]?.intExactly else {
                throw QueryError(
                    ErrorCode(34450),
                    "$substrCP: starting index and length must be numeric types that a 32-bit integer can represent")
            }
            guard start >= 0 else {
                throw QueryError(ErrorCode(34455), "$substrCP: the starting index must be nonnegative integer.")
            }
            guard count >= 0 else {
                throw QueryError(ErrorCode(34454), "$substrCP: length must be a nonnegative integer.")
            }
            var result = String.UnicodeScalarView()
            result.append(contentsOf: scalars.dropFirst(start).prefix(count))
            return .text(String(result))
        },
        "$indexOfBytes": nary(min: 2, max: 4) { (values) throws(QueryError) in
            try indexOf(values, "$indexOfBytes") { Array($0.utf8) }
        },
        "$indexOfCP": nary(min: 2, max: 4) { (values) throws(QueryError) in
            try indexOf(values, "$indexOfCP") { $0.string.unicodeScalars.map(\.value) }
        },
        "$split": binary { (left, right) throws(QueryError) in
            guard let left, let right, !left.isNullish, !right.isNullish else { return .null }
            guard let whole = left.asString else {
                throw QueryError(
                    ErrorCode(40085),
                    "$split requires an expression that evaluates to a string as a first argument, found: \(left.type.alias)"
                )
            }
            guard let separator = right.asString else {
                throw QueryError(
                    ErrorCode(40086),
                    "$split requires an expression that evaluates to a string as a second argument, found: \(right.type.alias)"
                )
            }
            guard !separator.isEmpty else {
                throw QueryError(ErrorCode(40087), "$split requires a non-empty separator")
            }
            let bytes = Array(whole.utf8)
            let wanted = Array(separator.utf8)
            var parts = ArrayBuilder()
            var search = SequenceSearch(for: wanted)
            var start = 0
            while let index = search.firstIndex(in: bytes[...], from: start, to: bytes.count) {
                parts.append(.string(BSONString(utf8: bytes[start..<index])))
                start = index + wanted.count
            }
            parts.append(.string(BSONString(utf8: bytes[start...])))
            return .array(parts.finish())
        },
        "$trim": trim(left: true, right: true),
        "$ltrim": trim(left: true, right: false),
        "$rtrim": trim(left: false, right: true),
        "$replaceOne": replace(all: false),
        "$replaceAll": replace(all: true),
        "$regexMatch": regex { (matches) throws(QueryError) in .bool(try matches(1).count > 0) },
        "$regexFind": regex { (matches) throws(QueryError) in try matches(1).first.map(Value.document) ?? .null },
        "$regexFindAll": regex { (matches) throws(QueryError) in
            .array(BSONArray(try matches(.max).map(Value.document)))
        },
    ]

    // MARK: Pieces

    /// Text of what string operators accept: numbers and dates are written out, null is empty.
    static func coerced(_ value: Value?, _ name: String) throws(QueryError) -> String {
        guard let value, !value.isNullish else { return "" }
        switch value {
        case .string, .symbol, .int32, .int64, .double, .decimal128, .date, .javaScript, .timestamp:
            return Conversion.text(value) ?? ""
        default:
            throw QueryError(ErrorCode(16007), "can't convert from BSON type \(value.type.alias) to String")
        }
    }

    private static func text(_ value: Value?, _ name: String, _ code: Int32) throws(QueryError) -> BSONString {
        guard let text = value?.asString else {
            throw QueryError(ErrorCode(code), "\(name) requires a string argument, found: \(typeName(value))")
        }
        return text
    }

    private static func substringBytes(_ values: [Value?], _ name: String) throws(QueryError) -> Value? {
        let bytes = Array(try coerced(values[0], name).utf8)
        guard let startValue = values[1], startValue.isNumber, let countValue = values[2], countValue.isNumber else {
            throw QueryError(ErrorCode(16034), "\(name): starting index and length must be numeric types")
        }
        guard let start = startValue.numericDouble.map({ Int($0.isFinite ? max(min($0, 2e9), -2e9) : 0) }),
            let count = countValue.numericDouble.map({ Int($0.isFinite ? max(min($0, 2e9), -2e9) : 0) })
        else { return .null }
        guard start >= 0 else {
            throw QueryError(ErrorCode(50752), "\(name): starting index must be non-negative (got: \(start))")
        }
        guard start < bytes.count else { return "" }
        let end = count < 0 ? bytes.count : min(bytes.count, start + count)
        let isBoundary = { (index: Int) in index >= bytes.count || bytes[index] & 0xC0 != 0x80 }
        guard isBoundary(start) else {
            throw QueryError(ErrorCode(28656), "\(name):  Invalid range, starting index is a UTF-8 continuation byte.")
        }
        guard isBoundary(end) else {
            throw QueryError(
                ErrorCode(28657), "\(name):  Invalid range, ending index is in the middle of a UTF-8 character.")
        }
        return .string(BSONString(utf8: bytes[start..<end]))
    }

    private static func indexOf<Unit: Equatable>(
        _ values: [Value?], _ name: String, _ units: (BSONString) -> [Unit]
    ) throws(QueryError) -> Value? {
        guard let first = values[0], !first.isNullish else { return .null }
        guard let whole = first.asString else {
            throw QueryError(
                ErrorCode(40091), "\(name) requires a string as the first argument, found: \(first.type.alias)")
        }
        guard let wanted = values[1]?.asString else {
            throw QueryError(
                ErrorCode(40092), "\(name) requires a string as the second argument, found: \(typeName(values[1]))")
        }
        let text = units(whole)
        let part = units(wanted)
        let start = try bound(values, 2, name) ?? 0
        let end = min(try bound(values, 3, name) ?? .max, text.count)
        guard start <= end else { return .int32(-1) }
        var search = SequenceSearch(for: part)
        return .int32(search.firstIndex(in: text[...], from: start, to: end).map { Int32(clamping: $0) } ?? -1)
    }

    private static func trim(left: Bool, right: Bool) -> Parse {
        named(["input", "chars"], required: 1) { (values) throws(QueryError) in
            guard let value = values[0], !value.isNullish else { return .null }
            guard let text = value.asString else {
                throw QueryError(
                    ErrorCode(50699),
                    "$trim requires its input to be a string, got \(value) (of type \(value.type.alias)) instead.")
            }
            var unwanted: Set<Unicode.Scalar> = [
                "\0", " ", "\t", "\n", "\u{B}", "\u{C}", "\r", "\u{A0}", "\u{1680}", "\u{2000}", "\u{2001}", "\u{2002}",
                "\u{2003}", "\u{2004}", "\u{2005}", "\u{2006}", "\u{2007}", "\u{2008}", "\u{2009}", "\u{200A}",
            ]
            if let characters = values[1] {
                if characters.isNullish { return .null }
                guard let characters = characters.asString else {
                    throw QueryError(
                        ErrorCode(50700),
                        "$trim requires 'chars' to be a string, got \(characters) (of type \(characters.type.alias)) instead."
                    )
                }
                unwanted = Set(characters.string.unicodeScalars)
            }
            var scalars = text.string.unicodeScalars[...]
            if left { scalars = scalars.drop { unwanted.contains($0) } }
            if right { while let last = scalars.last, unwanted.contains(last) { scalars.removeLast() } }
            return .text(String(String.UnicodeScalarView(scalars)))
        }
    }

    private static func replace(all: Bool) -> Parse {
        named(["input", "find", "replacement"], required: 3) { (values) throws(QueryError) in
            var texts: [[UInt8]] = []
            for value in values {
                guard let value, !value.isNullish else { return .null }
                guard let text = value.asString else {
                    throw QueryError(
                        ErrorCode(51746), "$replace requires that its operands be strings, found: \(value)")
                }
                texts.append(Array(text.utf8))
            }
            let (input, find, replacement) = (texts[0], texts[1], texts[2])
            var result: [UInt8] = []
            var index = 0
            var isDone = false
            var search = SequenceSearch(for: find)
            var next = search.firstIndex(in: input[...], from: 0, to: input.count)
            while index < input.count || (find.isEmpty && index == input.count) {
                if !isDone, let found = next, found == index {
                    result += replacement
                    isDone = !all
                    if find.isEmpty {
                        if index < input.count { result.append(input[index]) }
                        index += 1
                    } else {
                        index += find.count
                    }
                    next = isDone ? nil : search.firstIndex(in: input[...], from: index, to: input.count)
                } else {
                    if index < input.count { result.append(input[index]) }
                    index += 1
                }
                if result.count > ExpressionFrame.bytesMax {
                    throw QueryError(
                        .bsonObjectTooLarge, "an expression's value exceeds \(ExpressionFrame.bytesMax) bytes")
                }
            }
            return .string(BSONString(utf8: result[...]))
        }
    }

    private typealias Matches = (_ most: Int) throws(QueryError) -> [Document]

    private static func regex(_ finish: @escaping @Sendable (Matches) throws(QueryError) -> Value?) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(value, name, ["input", "regex", "options"], required: 2)
            let nodes = operands.map { $0 ?? .constant(nil) }
            // The usual pattern is a constant and compiled once.
            var compiled: RegexProgram?
            if case .constant(let pattern?) = nodes[1], case .constant(let options) = nodes[2], !pattern.isNullish {
                compiled = try program(pattern, options, name)
            }
            let constant = compiled
            return parser.folded(
                .nary(
                    { (values) throws(QueryError) in
                        guard let input = values[0], !input.isNullish, let pattern = values[1], !pattern.isNullish
                        else {
                            return try finish { (_) throws(QueryError) in [] }
                        }
                        guard let text = input.asString else {
                            throw QueryError(ErrorCode(51104), "\(name) needs 'input' to be of type string")
                        }
                        let program = if let constant { constant } else { try program(pattern, values[2], name) }
                        return try finish { (most) throws(QueryError) in try find(program, text, most) }
                    }, nodes), nodes)
        }
    }

    private static func program(_ pattern: Value, _ options: Value?, _ name: String) throws(QueryError) -> RegexProgram
    {
        var letters = ""
        if let options, !options.isNullish {
            guard let text = options.asString else {
                throw QueryError(ErrorCode(51106), "\(name) needs 'options' to be of type string")
            }
            letters = text.string
        }
        switch pattern {
        case .string(let text): return try RegexProgram(pattern: text.string, options: letters)
        case .regex(let regex):
            guard letters.isEmpty || regex.options.isEmpty else {
                throw QueryError(
                    ErrorCode(51107), "\(name): found regex option(s) specified in both 'regex' and 'option' fields")
            }
            return try RegexProgram(
                pattern: regex.pattern.string, options: letters.isEmpty ? regex.options.string : letters)
        default: throw QueryError(ErrorCode(51105), "\(name) needs 'regex' to be of type string or regex")
        }
    }

    private static func find(_ program: RegexProgram, _ text: BSONString, _ most: Int) throws(QueryError) -> [Document]
    {
        let bytes = text.utf8
        var found: [Document] = []
        var position = bytes.startIndex
        var scalars = 0
        var counted = bytes.startIndex
        while found.count < most, position <= bytes.endIndex,
            let slots = try program.firstMatch(in: bytes, from: position)
        {
            while counted < slots[0] {
                if bytes[counted] & 0xC0 != 0x80 { scalars += 1 }
                counted += 1
            }
            var builder = DocumentBuilder()
            builder.append("match", .string(BSONString(utf8: bytes[slots[0]..<slots[1]])))
            builder.append("idx", Int32(clamping: scalars))
            builder.appendArray("captures") { captures in
                for group in stride(from: 2, to: slots.count, by: 2) {
                    let isTaken = slots[group] >= 0 && slots[group + 1] >= slots[group]
                    captures.append(isTaken ? .string(BSONString(utf8: bytes[slots[group]..<slots[group + 1]])) : .null)
                }
            }
            found.append(builder.finish())
            position = slots[1] > slots[0] ? slots[1] : slots[1] + 1
            while position < bytes.endIndex && bytes[position] & 0xC0 == 0x80 { position += 1 }
        }
        return found
    }
}

extension String {
    /// MongoDB changes the case of ASCII letters only.
    fileprivate var lowercasedASCII: String {
        String(decoding: utf8.map { $0 >= 65 && $0 <= 90 ? $0 + 32 : $0 }, as: UTF8.self)
    }

    fileprivate var uppercasedASCII: String {
        String(decoding: utf8.map { $0 >= 97 && $0 <= 122 ? $0 - 32 : $0 }, as: UTF8.self)
    }
}
