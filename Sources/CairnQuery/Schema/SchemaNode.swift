import CairnBSON

/// A compiled `$jsonSchema`: JSON Schema draft 4 as MongoDB has it, with `bsonType` and without references.
final class SchemaNode: Sendable {
    struct Rule: Sendable {
        /// The keyword, and its operand as it was given, for the explanation of a failure.
        let keyword: String
        let operand: Value
        let check: Check
    }

    enum Check: Sendable {
        case types(Set<BSONType>)
        case oneOf(Set<Value>)
        case maximum(Value, isExclusive: Bool)
        case minimum(Value, isExclusive: Bool)
        case multipleOf(Value)
        case maximumLength(Int)
        case minimumLength(Int)
        case pattern(RegexProgram)
        case maximumItems(Int)
        case minimumItems(Int)
        case uniqueItems
        case items(SchemaNode)
        case itemsByPosition([SchemaNode], additional: AdditionalSchema)
        case required([BSONString])
        case maximumProperties(Int)
        case minimumProperties(Int)
        case properties([(name: BSONString, schema: SchemaNode)])
        case additionalProperties(
            AdditionalSchema, known: [BSONString], patterns: [RegexProgram])
        case patternProperties([(pattern: RegexProgram, schema: SchemaNode)])
        case dependencies([(name: BSONString, needs: Dependency)])
        case allOf([SchemaNode])
        case anyOf([SchemaNode])
        case exactlyOneOf([SchemaNode])
        case not(SchemaNode)
    }

    enum AdditionalSchema: Sendable {
        case allowed(Bool)
        case schema(SchemaNode)
    }

    enum Dependency: Sendable {
        case names([BSONString])
        case schema(SchemaNode)
    }

    let rules: [Rule]
    let summary: String?

    convenience init(parsing document: Document) throws(QueryError) { try self.init(parsing: document, depth: 0) }

    fileprivate init(parsing document: Document, depth: Int) throws(QueryError) {
        guard depth <= 50 else {
            throw QueryError(.failedToParse, "$jsonSchema is nested more than 50 levels deep")
        }
        let parsed = try SchemaParser(document: document, depth: depth).parse()
        rules = parsed.rules
        summary = parsed.summary
    }

    /// Whether the value satisfies every rule; nil (a missing field) satisfies all.
    func isValid(_ value: Value?) -> Bool {
        guard let value else { return true }
        return rules.allSatisfy { $0.check.holds(for: value) }
    }
}

extension SchemaNode.Check {
    func holds(for value: Value) -> Bool {
        switch self {
        case .types(let types): return types.contains(value.type)
        case .oneOf(let values): return values.contains(value)
        case .maximum(let bound, let isExclusive):
            guard value.isNumber else { return true }
            let order = Value.compare(value, bound)
            return isExclusive ? order < 0 : order <= 0
        case .minimum(let bound, let isExclusive):
            guard value.isNumber else { return true }
            let order = Value.compare(value, bound)
            return isExclusive ? order > 0 : order >= 0
        case .multipleOf(let divisor):
            guard value.isNumber else { return true }
            if let a = value.int64Exactly, let b = divisor.int64Exactly { return b == -1 || a % b == 0 }
            guard let a = value.asDecimal128, let b = divisor.asDecimal128 else { return true }
            return a.remainder(dividingBy: b).isZero
        case .maximumLength(let most): return value.asString.map { Self.length($0) <= most } ?? true
        case .minimumLength(let least): return value.asString.map { Self.length($0) >= least } ?? true
        case .pattern(let program):
            guard let text = value.asString else { return true }
            return (try? program.matches(text.utf8)) ?? false
        case .maximumItems(let most): return value.asArray.map { $0.count <= most } ?? true
        case .minimumItems(let least): return value.asArray.map { $0.count >= least } ?? true
        case .uniqueItems:
            guard let array = value.asArray else { return true }
            var seen: Set<Value> = []
            return array.allSatisfy { seen.insert($0).inserted }
        case .items(let schema): return value.asArray?.allSatisfy(schema.isValid) ?? true
        case .itemsByPosition(let schemas, let additional):
            guard let array = value.asArray else { return true }
            for (index, element) in array.enumerated() {
                if index < schemas.count {
                    guard schemas[index].isValid(element) else { return false }
                } else {
                    switch additional {
                    case .allowed(let isAllowed): if !isAllowed { return false }
                    case .schema(let schema): if !schema.isValid(element) { return false }
                    }
                }
            }
            return true
        case .required(let names):
            guard let document = value.asDocument else { return true }
            return names.allSatisfy { document.element(named: $0) != nil }
        case .maximumProperties(let most): return value.asDocument.map { $0.count <= most } ?? true
        case .minimumProperties(let least): return value.asDocument.map { $0.count >= least } ?? true
        case .properties(let properties):
            guard let document = value.asDocument else { return true }
            return properties.allSatisfy { $0.schema.isValid(document[$0.name]) }
        case .additionalProperties: return additionalNames(of: value).isEmpty
        case .patternProperties(let properties):
            guard let document = value.asDocument else { return true }
            for element in document {
                for (pattern, schema) in properties where (try? pattern.matches(element.name.utf8)) ?? false {
                    if !schema.isValid(element.value) { return false }
                }
            }
            return true
        case .dependencies(let dependencies):
            guard let document = value.asDocument else { return true }
            for (name, needs) in dependencies where document.element(named: name) != nil {
                switch needs {
                case .names(let names):
                    guard names.allSatisfy({ document.element(named: $0) != nil }) else { return false }
                case .schema(let schema): guard schema.isValid(value) else { return false }
                }
            }
            return true
        case .allOf(let schemas): return schemas.allSatisfy { $0.isValid(value) }
        case .anyOf(let schemas): return schemas.contains { $0.isValid(value) }
        case .exactlyOneOf(let schemas): return schemas.filter { $0.isValid(value) }.count == 1
        case .not(let schema): return !schema.isValid(value)
        }
    }

    /// The properties that `additionalProperties` objects to.
    func additionalNames(of value: Value) -> [BSONString] {
        guard case .additionalProperties(let additional, let known, let patterns) = self,
            let document = value.asDocument
        else { return [] }
        if case .allowed(true) = additional { return [] }
        var names: [BSONString] = []
        for element in document {
            if known.contains(element.name) { continue }
            if patterns.contains(where: { (try? $0.matches(element.name.utf8)) ?? false }) { continue }
            if case .schema(let schema) = additional, schema.isValid(element.value) { continue }
            names.append(element.name)
        }
        return names
    }

    private static func length(_ text: BSONString) -> Int {
        // Code points: every byte that does not continue one.
        text.utf8.reduce(0) { $1 & 0xC0 == 0x80 ? $0 : $0 + 1 }
    }
}

/// Reads one level of a schema.
private struct SchemaParser {
    let document: Document
    let depth: Int

    func parse() throws(QueryError) -> (rules: [SchemaNode.Rule], summary: String?) {
        var rules: [SchemaNode.Rule] = []
        var summary: String?
        if document.contains("type") && document.contains("bsonType") {
            throw QueryError(.failedToParse, "Cannot specify both $jsonSchema keywords 'type' and 'bsonType'")
        }
        for element in document {
            let keyword = element.name.string
            let value = element.value
            let check: SchemaNode.Check
            switch keyword {
            case "bsonType": check = .types(try types(keyword, value) { BSONType(alias: $0).map { [$0] } })
            case "type": check = .types(try types(keyword, value, Self.jsonTypes))
            case "enum":
                let values = try array(keyword, value)
                guard !values.isEmpty else { throw failure("$jsonSchema keyword 'enum' cannot be an empty array") }
                check = .oneOf(Set(values))
            case "maximum", "minimum":
                guard value.isNumber else { throw mustBe(keyword, "a number") }
                let flag = keyword == "maximum" ? "exclusiveMaximum" : "exclusiveMinimum"
                let isExclusive =
                    try document[flag].map { (value) throws(QueryError) in try bool(flag, value) } ?? false
                check =
                    keyword == "maximum"
                    ? .maximum(value, isExclusive: isExclusive) : .minimum(value, isExclusive: isExclusive)
            case "exclusiveMaximum", "exclusiveMinimum":
                let companion = keyword == "exclusiveMaximum" ? "maximum" : "minimum"
                guard document.contains(companion) else {
                    throw failure("$jsonSchema keyword '\(companion)' must be a present if \(keyword) is present")
                }
                _ = try bool(keyword, value)
                continue
            case "multipleOf":
                guard value.isNumber, Value.compare(value, 0) > 0 else { throw mustBe(keyword, "a positive number") }
                check = .multipleOf(value)
            case "maxLength": check = .maximumLength(try count(keyword, value))
            case "minLength": check = .minimumLength(try count(keyword, value))
            case "pattern":
                guard let pattern = value.stringValue else { throw mustBe(keyword, "a string") }
                check = .pattern(try RegexProgram(pattern: pattern, options: ""))
            case "maxItems": check = .maximumItems(try count(keyword, value))
            case "minItems": check = .minimumItems(try count(keyword, value))
            case "uniqueItems":
                guard try bool(keyword, value) else { continue }
                check = .uniqueItems
            case "items":
                if case .document(let schema) = value {
                    check = .items(try nested(schema))
                } else {
                    let schemas = try schemas(keyword, value)
                    check = .itemsByPosition(schemas, additional: try additional("additionalItems"))
                }
            case "additionalItems":
                _ = try additional("additionalItems")
                continue
            case "required":
                let names = try strings(keyword, value)
                guard !names.isEmpty else { throw failure("$jsonSchema keyword 'required' cannot be an empty array") }
                check = .required(names)
            case "maxProperties": check = .maximumProperties(try count(keyword, value))
            case "minProperties": check = .minimumProperties(try count(keyword, value))
            case "properties":
                var properties: [(name: BSONString, schema: SchemaNode)] = []
                for element in try object(keyword, value) {
                    properties.append((element.name, try nested(try object(element.name.string, element.value))))
                }
                check = .properties(properties)
            case "patternProperties":
                var properties: [(pattern: RegexProgram, schema: SchemaNode)] = []
                for element in try object(keyword, value) {
                    properties.append(
                        (
                            try RegexProgram(pattern: element.name.string, options: ""),
                            try nested(try object(element.name.string, element.value))
                        ))
                }
                check = .patternProperties(properties)
            case "additionalProperties":
                var patterns: [RegexProgram] = []
                if case .document(let properties)? = document["patternProperties"] {
                    for element in properties {
                        patterns.append(try RegexProgram(pattern: element.name.string, options: ""))
                    }
                }
                check = .additionalProperties(
                    try additional(keyword), known: document["properties"]?.asDocument?.names ?? [], patterns: patterns)
            case "dependencies":
                var dependencies: [(name: BSONString, needs: SchemaNode.Dependency)] = []
                for element in try object(keyword, value) {
                    if case .array = element.value {
                        dependencies.append((element.name, .names(try strings(keyword, element.value))))
                    } else {
                        dependencies.append((element.name, .schema(try nested(try object(keyword, element.value)))))
                    }
                }
                check = .dependencies(dependencies)
            case "allOf": check = .allOf(try schemas(keyword, value))
            case "anyOf": check = .anyOf(try schemas(keyword, value))
            case "oneOf": check = .exactlyOneOf(try schemas(keyword, value))
            case "not": check = .not(try nested(try object(keyword, value)))
            case "title", "description":
                guard let text = value.stringValue else { throw mustBe(keyword, "a string") }
                if keyword == "description" { summary = text }
                continue
            case "$ref", "$schema", "default", "definitions", "format", "id":
                throw failure("$jsonSchema keyword '\(keyword)' is not currently supported")
            case "encrypt", "encryptMetadata":
                throw failure("$jsonSchema keyword '\(keyword)' is not supported: this server does not encrypt fields")
            default: throw failure("Unknown $jsonSchema keyword: \(keyword)")
            }
            rules.append(SchemaNode.Rule(keyword: keyword, operand: value, check: check))
        }
        return (rules, summary)
    }

    private func failure(_ message: String) -> QueryError { QueryError(.failedToParse, message) }

    private func mustBe(_ keyword: String, _ what: String) -> QueryError {
        QueryError(.typeMismatch, "$jsonSchema keyword '\(keyword)' must be \(what)")
    }

    private func bool(_ keyword: String, _ value: Value) throws(QueryError) -> Bool {
        guard case .bool(let flag) = value else { throw mustBe(keyword, "a boolean") }
        return flag
    }

    private func count(_ keyword: String, _ value: Value) throws(QueryError) -> Int {
        guard let count = value.intExactly else { throw mustBe(keyword, "a number representable as a 64-bit integer") }
        guard count >= 0 else { throw failure("$jsonSchema keyword '\(keyword)' must be a non-negative number") }
        return count
    }

    private func object(_ keyword: String, _ value: Value) throws(QueryError) -> Document {
        guard case .document(let document) = value else { throw mustBe(keyword, "an object") }
        return document
    }

    private func array(_ keyword: String, _ value: Value) throws(QueryError) -> [Value] {
        guard case .array(let array) = value else { throw mustBe(keyword, "an array") }
        return Array(array)
    }

    private func strings(_ keyword: String, _ value: Value) throws(QueryError) -> [BSONString] {
        var names: [BSONString] = []
        for element in try array(keyword, value) {
            guard let name = element.asString else { throw mustBe(keyword, "an array of strings") }
            names.append(name)
        }
        return names
    }

    private func nested(_ document: Document) throws(QueryError) -> SchemaNode {
        try SchemaNode(parsing: document, depth: depth + 1)
    }

    private func schemas(_ keyword: String, _ value: Value) throws(QueryError) -> [SchemaNode] {
        var schemas: [SchemaNode] = []
        for element in try array(keyword, value) { schemas.append(try nested(try object(keyword, element))) }
        guard !schemas.isEmpty else { throw failure("$jsonSchema keyword '\(keyword)' must be a non-empty array") }
        return schemas
    }

    private func additional(_ keyword: String) throws(QueryError) -> SchemaNode.AdditionalSchema {
        switch document[keyword] {
        case nil: return .allowed(true)
        case .bool(let isAllowed)?: return .allowed(isAllowed)
        case .document(let schema)?: return .schema(try nested(schema))
        default: throw mustBe(keyword, "either an object or a boolean")
        }
    }

    private func types(
        _ keyword: String, _ value: Value, _ lookup: (String) -> Set<BSONType>?
    ) throws(QueryError) -> Set<BSONType> {
        var names: [BSONString] = []
        if let name = value.asString { names = [name] } else { names = try strings(keyword, value) }
        guard !names.isEmpty else { throw failure("$jsonSchema keyword '\(keyword)' must name at least one type") }
        var types: Set<BSONType> = []
        for name in names {
            if name == "number" {
                types.formUnion([.int32, .int64, .double, .decimal128])
            } else if let found = lookup(name.string) {
                types.formUnion(found)
            } else {
                throw QueryError(.badValue, "Unknown type name alias: \(name)")
            }
        }
        return types
    }

    private static func jsonTypes(_ name: String) -> Set<BSONType>? {
        switch name {
        case "object": [.document]
        case "array": [.array]
        case "string": [.string]
        case "boolean": [.bool]
        case "null": [.null]
        default: nil
        }
    }
}
