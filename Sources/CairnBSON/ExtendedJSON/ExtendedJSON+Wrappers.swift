// Objects that stand for a value: `{"$oid": "…"}` and its like. One that has a wrapper's name but not its shape is an
// error, as the specification demands; other names with a dollar sign are ordinary.
extension ExtendedJSON.Parser {
    private static let wrappers: Set<String> = [
        "$oid", "$symbol", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$binary", "$code", "$scope",
        "$timestamp", "$regularExpression", "$dbPointer", "$date", "$minKey", "$maxKey", "$undefined", "$uuid",
    ]

    /// The value that an object stands for, or nil if it stands for itself.
    func wrapped(_ members: [Member], at offset: Int) throws(BSONError) -> Value? {
        var wrapper: Member?
        for member in members where member.name.utf8.first == UInt8(ascii: "$") {
            if Self.wrappers.contains(member.name.string), wrapper == nil || member.name == "$code" { wrapper = member }
        }
        guard let wrapper else { return nil }
        let name = wrapper.name.string
        let value = wrapper.content.value
        if name == "$code" {
            if let code = code(members) { return code }
        } else if name == "$binary", members.count == 2 {
            if let binary = legacyBinary(members) { return binary }
        } else if members.count == 1 {
            if let value = single(name, value, isWrapped: wrapper.content.isWrapped) { return value }
        }
        throw failure("\(name) with something that it cannot hold", at: offset)
    }

    private func single(_ name: String, _ value: Value, isWrapped: Bool) -> Value? {
        switch (name, value) {
        case ("$oid", .string(let text)): return ObjectID(text.string).map(Value.objectID)
        case ("$symbol", .string(let text)): return .symbol(text)
        case ("$numberInt", .string(let text)): return Int32(text.string).map(Value.int32)
        case ("$numberLong", .string(let text)): return Int64(text.string).map(Value.int64)
        case ("$numberDouble", .string(let text)): return Self.double(text.string).map(Value.double)
        case ("$numberDecimal", .string(let text)): return Decimal128(text.string).map(Value.decimal128)
        case ("$binary", .document(let content)): return Self.binary(content)
        case ("$timestamp", .document(let content)): return Self.timestamp(content)
        case ("$regularExpression", .document(let content)): return Self.regularExpression(content)
        case ("$dbPointer", .document(let content)): return Self.dbPointer(content)
        case ("$date", .string(let text)): return ISO8601.milliseconds(text.string).map(Value.date(milliseconds:))
        case ("$date", .int64(let value)) where isWrapped: return .date(milliseconds: value)
        case ("$minKey", .int32(1)): return .minKey
        case ("$maxKey", .int32(1)): return .maxKey
        case ("$undefined", .bool(true)): return .undefined
        case ("$uuid", .string(let text)): return Self.uuid(text.string)
        default: return nil
        }
    }

    private func code(_ members: [Member]) -> Value? {
        var code: BSONString?
        var scope: Document?
        for member in members {
            switch (member.name.string, member.content.value) {
            case ("$code", .string(let text)): code = text
            case ("$scope", .document(let document)): scope = document
            default: return nil
            }
        }
        guard let code, members.count <= 2 else { return nil }
        if members.count == 1 { return .javaScript(code) }
        return scope.map { Value.javaScriptWithScope(code, scope: $0) }
    }

    /// The first version's form, which tools still write: `{"$binary": "base64", "$type": "00"}`.
    private func legacyBinary(_ members: [Member]) -> Value? {
        var data: [UInt8]?
        var subtype: UInt8?
        for member in members {
            switch (member.name.string, member.content.value) {
            case ("$binary", .string(let text)): data = Base64.decode(text)
            case ("$type", .string(let text)): subtype = UInt8(text.string, radix: 16)
            default: return nil
            }
        }
        guard let data, let subtype else { return nil }
        return .binary(Binary(data, subtype: .init(rawValue: subtype)))
    }

    private static func double(_ text: String) -> Double? {
        switch text {
        case "Infinity": return .infinity
        case "-Infinity": return -.infinity
        case "NaN": return .nan
        default:
            // `Double` reads more than JSON writes: hexadecimal numbers and other spellings of infinity.
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) }) else { return nil }
            return Double(text)
        }
    }

    private static func binary(_ content: Document) -> Value? {
        guard content.count == 2, case .string(let base64)? = content["base64"],
            case .string(let subtype)? = content["subType"], (1...2).contains(subtype.utf8.count),
            let type = UInt8(subtype.string, radix: 16), let data = Base64.decode(base64)
        else { return nil }
        return .binary(Binary(data, subtype: .init(rawValue: type)))
    }

    private static func timestamp(_ content: Document) -> Value? {
        guard content.count == 2, let seconds = content["t"]?.int64Exactly, let increment = content["i"]?.int64Exactly,
            let t = UInt32(exactly: seconds), let i = UInt32(exactly: increment)
        else { return nil }
        return .timestamp(Timestamp(seconds: t, increment: i))
    }

    private static func regularExpression(_ content: Document) -> Value? {
        guard content.count == 2, case .string(let pattern)? = content["pattern"],
            case .string(let options)? = content["options"], !pattern.utf8.contains(0), !options.utf8.contains(0)
        else { return nil }
        let sorted = BSONString(utf8: options.utf8.sorted()[...])
        return .regex(RegularExpression(pattern: pattern, options: sorted))
    }

    private static func dbPointer(_ content: Document) -> Value? {
        guard content.count == 2, case .string(let namespace)? = content["$ref"],
            case .objectID(let id)? = content["$id"]
        else { return nil }
        return .dbPointer(DBPointer(namespace: namespace, id: id))
    }

    private static func uuid(_ text: String) -> Value? {
        var bytes: [UInt8] = []
        var digits: [UInt8] = []
        for (index, character) in text.utf8.enumerated() {
            if [8, 13, 18, 23].contains(index) {
                guard character == UInt8(ascii: "-") else { return nil }
            } else {
                guard let digit = hexadecimalValue(character) else { return nil }
                digits.append(digit)
            }
        }
        guard digits.count == 32 else { return nil }
        for index in stride(from: 0, to: 32, by: 2) { bytes.append(digits[index] << 4 | digits[index + 1]) }
        return .binary(Binary(bytes, subtype: .uuid))
    }
}
