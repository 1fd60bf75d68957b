import CairnBSON

// Documents as values, and types.
extension ExpressionOperators {
    static let objects: [String: Parse] = [
        "$mergeObjects": nary { (values) throws(QueryError) in
            // One array operand stands for its elements.
            var operands = values
            if values.count == 1, case .array(let array)? = values[0] { operands = array.map { $0 } }
            var merged = Document()
            for value in operands {
                guard let value, !value.isNullish else { continue }
                guard case .document(let document) = value else {
                    throw QueryError(
                        ErrorCode(40400),
                        "$mergeObjects requires object inputs, but input \(value) is of type \(value.type.alias)")
                }
                merged = merge(merged, document)
            }
            return .document(merged)
        },
        "$objectToArray": unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            guard case .document(let document) = value else {
                throw QueryError(
                    ErrorCode(40390), "$objectToArray requires a document input, found: \(value.type.alias)")
            }
            var result = ArrayBuilder(capacity: document.byteCount * 2)
            for element in document {
                result.appendDocument { entry in
                    entry.append("k", .string(element.name))
                    entry.append("v", valueOf: element)
                }
            }
            return .array(result.finish())
        },
        "$arrayToObject": unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            guard case .array(let array) = value else {
                throw QueryError(ErrorCode(40386), "$arrayToObject requires an array input, found: \(value.type.alias)")
            }
            var names: [BSONString: Int] = [:]
            var fields: [(BSONString, Value)] = []
            for element in array {
                let key: Value?
                let content: Value?
                switch element {
                case .array(let pair):
                    guard pair.count == 2 else {
                        throw QueryError(
                            ErrorCode(40397),
                            "$arrayToObject requires an array of size 2 arrays,found array of size: \(pair.count)")
                    }
                    (key, content) = (pair[0], pair[1])
                case .document(let pair):
                    guard pair.count == 2, pair.contains("k"), pair.contains("v") else {
                        throw QueryError(
                            ErrorCode(40392),
                            "$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of keys:\(pair.count)"
                        )
                    }
                    (key, content) = (pair["k"], pair["v"])
                default:
                    throw QueryError(
                        ErrorCode(40398), "Unrecognised input type format for $arrayToObject: \(element.type.alias)")
                }
                guard let name = key?.asString, let content else {
                    throw QueryError(
                        ErrorCode(40394),
                        "$arrayToObject requires an object with keys 'k' and 'v', where the value of 'k' must be of type string. Found type: \(typeName(key))"
                    )
                }
                try checkName(name, "$arrayToObject")
                if let index = names[name] {
                    fields[index].1 = content
                } else {
                    names[name] = fields.count
                    fields.append((name, content))
                }
            }
            var builder = DocumentBuilder(capacity: array.document.byteCount)
            for (name, value) in fields { builder.append(name, value) }
            return .document(builder.finish())
        },
        "$getField": { (parser, value, name) throws(QueryError) in
            var field = value
            var input: Value?
            if case .document(let document) = value, document.first?.name.utf8.first != 0x24 {
                let fields = try parser.fields(value, name, ["field", "input"])
                guard let named = fields["field"] else {
                    throw QueryError(ErrorCode(3_041_702), "$getField requires 'field' to be specified")
                }
                guard let source = fields["input"] else {
                    throw QueryError(ErrorCode(3_041_703), "$getField requires 'input' to be specified")
                }
                field = named
                input = source
            }
            let nameNode = try parser.parse(field)
            let inputNode = try input.map { (value) throws(QueryError) in try parser.parse(value) } ?? .root
            let operands = [nameNode, inputNode]
            return parser.folded(
                .binary(
                    { (name, input) throws(QueryError) in
                        guard let name = name?.asString else {
                            throw QueryError(
                                ErrorCode(3_041_704),
                                "$getField requires 'field' to evaluate to type String, but got \(typeName(name))")
                        }
                        guard let input else { return nil }
                        if input.isNullish { return .null }
                        return input.asDocument?[name]
                    }, nameNode, inputNode), operands)
        },
        "$setField": setField(hasValue: true),
        "$unsetField": setField(hasValue: false),
    ]

    private static func setField(hasValue: Bool) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, hasValue ? ["field", "input", "value"] : ["field", "input"])
            guard let field = fields["field"], let input = fields["input"], !hasValue || fields.contains("value") else {
                throw QueryError(ErrorCode(4_161_102), "\(name) requires 'field', 'input' and 'value' to be specified")
            }
            guard case .constant(let constant) = try parser.parse(field), let target = constant?.asString else {
                throw QueryError(
                    ErrorCode(4_161_106), "\(name) requires 'field' to evaluate to a constant, but got \(field)")
            }
            try checkName(target, name)
            let inputNode = try parser.parse(input)
            let valueNode =
                try fields["value"].map { (value) throws(QueryError) in try parser.parse(value) } ?? .constant(nil)
            return parser.folded(
                .binary(
                    { (input, value) throws(QueryError) in
                        guard let input, !input.isNullish else { return .null }
                        guard case .document(let document) = input else {
                            throw QueryError(
                                ErrorCode(4_161_105), "\(name) requires 'input' to evaluate to type Object")
                        }
                        if let value { return .document(document.replacing(target.string, with: value)) }
                        return .document(document.removing(target.string))
                    }, inputNode, valueNode), [inputNode, valueNode])
        }
    }

    /// A zero byte would end the name where BSON writes it.
    static func checkName(_ name: BSONString, _ operation: String) throws(QueryError) {
        if name.utf8.contains(0) {
            throw QueryError(ErrorCode(4_940_400), "Key field cannot contain an embedded null byte in \(operation)")
        }
    }

    /// As ``merge(_:_:)``, for documents whose fields are too many to look for each from the beginning.
    private static func mergeByName(_ first: Document, _ second: Document) -> Document {
        var replacements: [BSONString: Document.Element] = [:]
        for element in second where replacements[element.name] == nil { replacements[element.name] = element }
        var names: Set<BSONString> = []
        var builder = DocumentBuilder(capacity: first.byteCount + second.byteCount)
        for element in first {
            names.insert(element.name)
            builder.append(element: replacements[element.name] ?? element)
        }
        for element in second where !names.contains(element.name) { builder.append(element: element) }
        return builder.finish()
    }

    /// Fields of the second replace those of the first where they stand; new ones follow.
    static func merge(_ first: Document, _ second: Document) -> Document {
        if first.isEmpty { return second }
        if second.isEmpty { return first }
        if first.byteCount > 512, second.byteCount > 512 { return mergeByName(first, second) }
        var builder = DocumentBuilder(capacity: first.byteCount + second.byteCount)
        for element in first {
            if let replacement = second.element(named: element.name) {
                builder.append(element: replacement)
            } else {
                builder.append(element: element)
            }
        }
        for element in second where first.element(named: element.name) == nil { builder.append(element: element) }
        return builder.finish()
    }
}
