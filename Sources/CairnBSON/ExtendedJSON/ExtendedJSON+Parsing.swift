extension ExtendedJSON {
    /// Reads a document from JSON, canonical, relaxed or mixed.
    ///
    /// - Throws: ``BSONError`` with code `invalidText` (or `tooDeep`) and the byte of the UTF-8 text where reading ended.
    public static func document(from text: String) throws(BSONError) -> Document {
        guard case .document(let document) = try value(from: text) else {
            throw BSONError(.invalidText, offset: 0, "the text is a value but no document")
        }
        return document
    }

    /// Reads any value: a document, an array, a number, or a wrapper such as `{"$oid": "…"}`.
    public static func value(from text: String) throws(BSONError) -> Value {
        try value(checked: Array(text.utf8))
    }

    /// Reads any value from UTF-8, which is checked.
    public static func value(from utf8: ArraySlice<UInt8>) throws(BSONError) -> Value {
        guard String(validating: utf8, as: UTF8.self) != nil else {
            throw BSONError(.invalidUTF8, offset: 0, "the text is not UTF-8")
        }
        return try value(checked: Array(utf8))
    }

    private static func value(checked utf8: [UInt8]) throws(BSONError) -> Value {
        var parser = Parser(text: utf8)
        let value = try parser.parseValue(depth: 0).value
        try parser.expectEnd()
        return value
    }

    /// A recursive descent over RFC 8259, with wrappers turned into values once their object is complete.
    struct Parser {
        let text: [UInt8]
        var position = 0

        init(text: [UInt8]) { self.text = text }

        /// A value, and whether a wrapper object spelled it: `{"$date": 1}` is no date, `{"$date": {"$numberLong": "1"}}`
        /// is one.
        struct Parsed {
            var value: Value
            var isWrapped = false
        }

        struct Member {
            var name: BSONString
            var content: Parsed
        }

        func failure(_ message: String, at offset: Int? = nil) -> BSONError {
            BSONError(.invalidText, offset: offset ?? position, message)
        }

        private mutating func skipSpace() {
            while position < text.count {
                switch text[position] {
                case 0x20, 0x09, 0x0A, 0x0D: position += 1
                default: return
                }
            }
        }

        /// The next byte that is not space, which stays unread.
        private mutating func peek() throws(BSONError) -> UInt8 {
            skipSpace()
            guard position < text.count else { throw failure("the text ends too early") }
            return text[position]
        }

        private mutating func expect(_ character: Unicode.Scalar) throws(BSONError) {
            guard try peek() == UInt8(ascii: character) else { throw failure("expected \(character)") }
            position += 1
        }

        mutating func expectEnd() throws(BSONError) {
            skipSpace()
            guard position == text.count else { throw failure("something follows the value") }
        }

        mutating func parseValue(depth: Int) throws(BSONError) -> Parsed {
            switch try peek() {
            case UInt8(ascii: "{"): return try parseObject(depth: depth + 1)
            case UInt8(ascii: "["): return Parsed(value: try parseArray(depth: depth + 1))
            case UInt8(ascii: "\""): return Parsed(value: .string(try parseString()))
            case UInt8(ascii: "t"): return Parsed(value: try parseWord("true", .bool(true)))
            case UInt8(ascii: "f"): return Parsed(value: try parseWord("false", .bool(false)))
            case UInt8(ascii: "n"): return Parsed(value: try parseWord("null", .null))
            default: return Parsed(value: try parseNumber())
            }
        }

        private mutating func parseWord(_ word: String, _ value: Value) throws(BSONError) -> Value {
            guard text[position...].starts(with: word.utf8) else { throw failure("expected \(word)") }
            position += word.utf8.count
            return value
        }

        private func checkDepth(_ depth: Int) throws(BSONError) {
            guard depth <= Document.depthMax else {
                throw BSONError(
                    .tooDeep, offset: position, "values are nested more than \(Document.depthMax) levels deep")
            }
        }

        private mutating func parseArray(depth: Int) throws(BSONError) -> Value {
            try checkDepth(depth)
            try expect("[")
            var builder = ArrayBuilder()
            if try peek() == UInt8(ascii: "]") {
                position += 1
                return .array(builder.finish())
            }
            while true {
                builder.append(try parseValue(depth: depth).value)
                if try peek() == UInt8(ascii: ",") {
                    position += 1
                } else {
                    try expect("]")
                    return .array(builder.finish())
                }
            }
        }

        private mutating func parseObject(depth: Int) throws(BSONError) -> Parsed {
            try checkDepth(depth)
            let start = position
            try expect("{")
            var members: [Member] = []
            var next = try peek()
            while next != UInt8(ascii: "}") {
                guard next == UInt8(ascii: "\"") else { throw failure("expected a name in quotes") }
                let nameStart = position
                let name = try parseString()
                if name.utf8.contains(0) { throw failure("a name contains a zero byte", at: nameStart) }
                try expect(":")
                members.append(Member(name: name, content: try parseValue(depth: depth)))
                next = try peek()
                if next == UInt8(ascii: ",") {
                    position += 1
                    next = try peek()
                    if next == UInt8(ascii: "}") { throw failure("expected a name after the comma") }
                } else if next != UInt8(ascii: "}") {
                    throw failure("expected , or }")
                }
            }
            position += 1
            if let value = try wrapped(members, at: start) { return Parsed(value: value, isWrapped: true) }
            var builder = DocumentBuilder()
            for member in members { builder.append(member.name, member.content.value) }
            return Parsed(value: .document(builder.finish()))
        }

        private mutating func parseNumber() throws(BSONError) -> Value {
            let start = position
            var isWhole = true
            if position < text.count, text[position] == UInt8(ascii: "-") { position += 1 }
            let firstDigit = position
            try skipDigits(from: start)
            if text[firstDigit] == 0x30, position > firstDigit + 1 {
                throw failure("a number starts with a needless zero", at: start)
            }
            if position < text.count, text[position] == UInt8(ascii: ".") {
                isWhole = false
                position += 1
                try skipDigits(from: start)
            }
            if position < text.count, text[position] | 0x20 == UInt8(ascii: "e") {
                isWhole = false
                position += 1
                if position < text.count, text[position] == UInt8(ascii: "+") || text[position] == UInt8(ascii: "-") {
                    position += 1
                }
                try skipDigits(from: start)
            }
            let digits = String(decoding: text[start..<position], as: UTF8.self)
            if isWhole, let value = Int64(digits) { return Value(value) }
            guard let value = Double(digits), value.isFinite else {
                throw failure("no double is near \(digits.prefix(40))", at: start)
            }
            return .double(value)
        }

        private mutating func skipDigits(from start: Int) throws(BSONError) {
            let first = position
            while position < text.count, text[position] >= 0x30, text[position] <= 0x39 { position += 1 }
            guard position > first else { throw failure("expected a value", at: start) }
        }

        private mutating func parseString() throws(BSONError) -> BSONString {
            let start = position
            try expect("\"")
            var utf8: [UInt8] = []
            while position < text.count {
                let byte = text[position]
                position += 1
                switch byte {
                case UInt8(ascii: "\""): return BSONString(utf8: utf8[...])
                case UInt8(ascii: "\\"): try parseEscape(into: &utf8)
                case 0..<0x20: throw failure("a control character in a string", at: position - 1)
                default: utf8.append(byte)
                }
            }
            throw failure("a string does not end", at: start)
        }

        private mutating func parseEscape(into utf8: inout [UInt8]) throws(BSONError) {
            guard position < text.count else { throw failure("the text ends in an escape") }
            let escape = text[position]
            position += 1
            switch escape {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): utf8.append(escape)
            case UInt8(ascii: "b"): utf8.append(0x08)
            case UInt8(ascii: "f"): utf8.append(0x0C)
            case UInt8(ascii: "n"): utf8.append(0x0A)
            case UInt8(ascii: "r"): utf8.append(0x0D)
            case UInt8(ascii: "t"): utf8.append(0x09)
            case UInt8(ascii: "u"):
                var code = try parseHexadecimal()
                if code & 0xFC00 == 0xD800, text[position...].starts(with: "\\u".utf8) {
                    position += 2
                    let low = try parseHexadecimal()
                    guard low & 0xFC00 == 0xDC00 else { throw failure("half a surrogate pair") }
                    code = 0x10000 + (code & 0x3FF) << 10 + low & 0x3FF
                }
                guard let scalar = Unicode.Scalar(code) else { throw failure("half a surrogate pair") }
                utf8.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
            default: throw failure("an unknown escape", at: position - 1)
            }
        }

        private mutating func parseHexadecimal() throws(BSONError) -> UInt32 {
            var code: UInt32 = 0
            for _ in 0..<4 {
                guard position < text.count, let digit = hexadecimalValue(text[position]) else {
                    throw failure("expected four hexadecimal digits")
                }
                code = code << 4 | UInt32(digit)
                position += 1
            }
            return code
        }
    }
}
