import CairnBSON

/// Turns a filter document into a ``FilterNode``; every mistake of the user surfaces here, with MongoDB's words.
struct FilterParser {
    var scope: VariableScope

    private var collation: Collation? { scope.context.collation }

    mutating func parse(_ document: Document, depth: Int) throws(QueryError) -> FilterNode {
        guard depth <= Filter.depthMax else {
            throw QueryError(.badValue, "exceeded maximum query depth of \(Filter.depthMax)")
        }
        var nodes: [FilterNode] = []
        for element in document {
            let name = element.name.string
            if name.utf8.first == 0x24 {
                if let node = try topLevel(name, element.value, depth: depth) { nodes.append(node) }
            } else {
                try field(name, element.value, depth: depth, into: &nodes)
            }
        }
        if nodes.isEmpty { return .always(true) }
        return nodes.count == 1 ? nodes[0] : .and(nodes)
    }

    // MARK: The level of fields

    private mutating func topLevel(_ name: String, _ value: Value, depth: Int) throws(QueryError) -> FilterNode? {
        switch name {
        case "$and":
            var nodes: [FilterNode] = []
            for node in try branches(name, value, depth: depth) {
                if case .and(let inner) = node { nodes += inner } else { nodes.append(node) }
            }
            return nodes.count == 1 ? nodes[0] : .and(nodes)
        case "$or":
            let nodes = try branches(name, value, depth: depth)
            return nodes.count == 1 ? nodes[0] : .or(nodes)
        case "$nor": return .nor(try branches(name, value, depth: depth))
        case "$expr": return .expression(try ExpressionProgram(parsing: value, scope: &scope))
        case "$jsonSchema":
            guard let document = value.asDocument else {
                throw QueryError(.typeMismatch, "$jsonSchema must be an object")
            }
            return .schema(try SchemaNode(parsing: document))
        case "$comment": return nil
        case "$alwaysTrue", "$alwaysFalse":
            guard value.int64Exactly == 1 else {
                throw QueryError(.failedToParse, "\(name) must be an integer value of 1")
            }
            return .always(name == "$alwaysTrue")
        case "$sampleRate":
            guard let rate = value.numericDouble, rate >= 0, rate <= 1 else {
                throw QueryError(.badValue, "numeric argument to $sampleRate must be in [0, 1]")
            }
            let draw: Value = .document(["$lt": [["$rand": [:]], .double(rate)]])
            return .expression(try ExpressionProgram(parsing: draw, scope: &scope))
        case "$where", "$text":
            throw QueryError(
                .badValue, "\(name) is not supported: this server runs no JavaScript and has no text index")
        case "$ref", "$id", "$db":
            var nodes: [FilterNode] = []
            try field(name, value, depth: depth, into: &nodes)
            return nodes.count == 1 ? nodes[0] : .and(nodes)
        default:
            throw QueryError(
                .badValue,
                "unknown top level operator: \(name). If you have a field name that starts with a '$' symbol, "
                    + "consider using $getField or $setField.")
        }
    }

    private mutating func branches(_ name: String, _ value: Value, depth: Int) throws(QueryError) -> [FilterNode] {
        guard case .array(let array) = value else { throw QueryError(.badValue, "\(name) must be an array") }
        guard !array.isEmpty else { throw QueryError(.badValue, "\(name) argument must be a nonempty array") }
        var nodes: [FilterNode] = []
        for element in array {
            guard case .document(let document) = element else {
                throw QueryError(.badValue, "\(name) entries need to be full objects")
            }
            nodes.append(try parse(document, depth: depth + 1))
        }
        return nodes
    }

    private mutating func field(
        _ name: String, _ value: Value, depth: Int, into nodes: inout [FilterNode]
    ) throws(QueryError) {
        let path = try FieldPath(lenient: name)
        switch value {
        case .document(let document) where Self.hasOperators(document):
            for predicate in try operators(document, path: name, depth: depth) { nodes.append(.path(path, predicate)) }
        case .regex(let regex):
            nodes.append(.path(path, .regex(try program(regex))))
        case .undefined: throw QueryError(.badValue, "cannot compare to undefined")
        default: nodes.append(.path(path, .equal(value).collated(collation)))
        }
    }

    /// A document is a set of operators when its first name starts with `$` and it is no DBRef.
    static func hasOperators(_ document: Document) -> Bool {
        guard let first = document.first?.name, first.utf8.first == 0x24 else { return false }
        return !(first == "$ref" || first == "$id" || first == "$db")
    }

    // MARK: The operators of one field

    mutating func operators(_ document: Document, path: String, depth: Int) throws(QueryError) -> [Predicate] {
        guard depth <= Filter.depthMax else {
            throw QueryError(.badValue, "exceeded maximum query depth of \(Filter.depthMax)")
        }
        var predicates: [Predicate] = []
        for element in document {
            let name = element.name.string
            if let predicate = try predicate(name, element.value, beside: document, depth: depth) {
                predicates.append(predicate)
            }
        }
        return predicates
    }

    private mutating func predicate(
        _ name: String, _ value: Value, beside document: Document, depth: Int
    ) throws(QueryError) -> Predicate? {
        switch name {
        case "$eq":
            if case .regex(let regex) = value { return .equal(.regex(regex)) }
            return .equal(value).collated(collation)
        case "$ne":
            if case .regex = value { throw QueryError(.badValue, "Can't have regex as arg to $ne.") }
            return .not(.equal(value).collated(collation))
        case "$gt": return try comparison(.greater, name, value)
        case "$gte": return try comparison(.greaterOrEqual, name, value)
        case "$lt": return try comparison(.less, name, value)
        case "$lte": return try comparison(.lessOrEqual, name, value)
        case "$in": return .in(try inSet(name, value)).collated(collation)
        case "$nin": return .not(.in(try inSet(name, value)).collated(collation))
        case "$exists": return value.isTruthy ? .exists : .not(.exists)
        case "$type":
            var set = TypeSet()
            if case .array(let array) = value {
                guard !array.isEmpty else {
                    throw QueryError(.failedToParse, "$type must match at least one type")
                }
                for operand in array { try set.insert(operand, operator: name) }
            } else {
                try set.insert(value, operator: name)
            }
            return .type(set)
        case "$size":
            guard value.isNumber, let count = value.intExactly else {
                throw QueryError(.failedToParse, "Failed to parse $size. Expected an integer: $size: \(value)")
            }
            guard count >= 0 else {
                throw QueryError(
                    .failedToParse, "Failed to parse $size. Expected a non-negative number in: $size: \(value)")
            }
            return .size(count)
        case "$not": return try negation(value, depth: depth)
        case "$all": return try all(value, depth: depth)
        case "$elemMatch": return try elementMatch(value, depth: depth)
        case "$mod": return try modulo(value)
        case "$regex":
            let options = document["$options"]?.stringValue
            switch value {
            case .string(let pattern): return .regex(try RegexProgram(pattern: pattern.string, options: options ?? ""))
            case .regex(let regex):
                if let options {
                    guard regex.options.isEmpty else {
                        throw QueryError(ErrorCode(51075), "options set in both $regex and $options")
                    }
                    return .regex(try RegexProgram(pattern: regex.pattern.string, options: options))
                }
                return .regex(try program(regex))
            default: throw QueryError(.badValue, "$regex has to be a string")
            }
        case "$options":
            guard document["$regex"] != nil else { throw QueryError(.badValue, "$options needs a $regex") }
            guard value.asString != nil else { throw QueryError(.badValue, "$options has to be a string") }
            return nil
        case "$bitsAllSet": return try bits(.allSet, name, value)
        case "$bitsAllClear": return try bits(.allClear, name, value)
        case "$bitsAnySet": return try bits(.anySet, name, value)
        case "$bitsAnyClear": return try bits(.anyClear, name, value)
        case "$comment": return nil
        case "$near", "$nearSphere", "$geoWithin", "$within", "$geoIntersects", "$geoNear", "$maxDistance",
            "$minDistance":
            throw QueryError(.badValue, "\(name) is not supported: this server has no geospatial queries")
        default: throw QueryError(.badValue, "unknown operator: \(name)")
        }
    }

    private func comparison(
        _ comparison: Predicate.Comparison, _ name: String, _ value: Value
    ) throws(QueryError) -> Predicate {
        switch value {
        case .regex: throw QueryError(.badValue, "Can't have RegEx as arg to predicate over field: \(name)")
        case .undefined: throw QueryError(.badValue, "cannot compare to undefined")
        default: return .compare(comparison, value).collated(collation)
        }
    }

    private func inSet(_ name: String, _ value: Value) throws(QueryError) -> InSet {
        guard case .array(let array) = value else { throw QueryError(.badValue, "\(name) needs an array") }
        var values: [Value] = []
        var patterns: [RegexProgram] = []
        try FilterNode.count(array.document.byteCount >> 6)
        for element in array {
            // To be hashed, sorted and made into keys. As many as a document has room for are within what a write may take.
            try WorkMeter.count(4)
            switch element {
            case .regex(let regex): patterns.append(try program(regex))
            case .document(let document) where Self.hasOperators(document):
                throw QueryError(.badValue, "cannot nest $ under \(name)")
            case .undefined: throw QueryError(.badValue, "cannot compare to undefined")
            default: values.append(element)
            }
        }
        return InSet(values: values, patterns: patterns)
    }

    private mutating func negation(_ value: Value, depth: Int) throws(QueryError) -> Predicate {
        switch value {
        case .regex(let regex): return .not(.regex(try program(regex)))
        case .document(let document):
            guard !document.isEmpty else { throw QueryError(.badValue, "$not cannot be empty") }
            guard Self.hasOperators(document) else {
                throw QueryError(.badValue, "$not needs a document with operators")
            }
            let inner = try operators(document, path: "", depth: depth + 1)
            return .not(inner.count == 1 ? inner[0] : .allOnPath(inner))
        default: throw QueryError(.badValue, "$not needs a regex or a document")
        }
    }

    private mutating func all(_ value: Value, depth: Int) throws(QueryError) -> Predicate {
        guard case .array(let array) = value else { throw QueryError(.badValue, "$all needs an array") }
        var predicates: [Predicate] = []
        for element in array {
            switch element {
            case .document(let document) where document.first?.name == "$elemMatch":
                guard let operand = document["$elemMatch"] else { continue }
                predicates.append(try elementMatch(operand, depth: depth + 1))
            case .document(let document) where Self.hasOperators(document):
                throw QueryError(.badValue, "no $ expressions in $all")
            case .regex(let regex): predicates.append(.regex(try program(regex)))
            default: predicates.append(.equal(element).collated(collation))
            }
        }
        // An empty $all matches nothing.
        if predicates.isEmpty { return .in(InSet(values: [], patterns: [])) }
        return predicates.count == 1 ? predicates[0] : .allOnPath(predicates)
    }

    private mutating func elementMatch(_ value: Value, depth: Int) throws(QueryError) -> Predicate {
        guard case .document(let document) = value else {
            throw QueryError(.badValue, "$elemMatch needs an Object")
        }
        let logical: Set<String> = ["$and", "$or", "$nor", "$where", "$expr", "$jsonSchema", "$comment"]
        if Self.hasOperators(document), let first = document.first?.name.string, !logical.contains(first) {
            return .elementMatchesAll(try operators(document, path: "", depth: depth + 1))
        }
        return .elementMatchesFilter(try parse(document, depth: depth + 1))
    }

    private func modulo(_ value: Value) throws(QueryError) -> Predicate {
        guard case .array(let array) = value else { throw QueryError(.badValue, "malformed mod, needs to be an array") }
        let operands = Array(array)
        guard operands.count == 2 else {
            throw QueryError(
                .badValue,
                operands.count < 2 ? "malformed mod, not enough elements" : "malformed mod, too many elements")
        }
        guard operands[0].isNumber else { throw QueryError(.badValue, "malformed mod, divisor not a number") }
        guard operands[1].isNumber else { throw QueryError(.badValue, "malformed mod, remainder not a number") }
        guard let divisor = Predicate.truncatedInteger(operands[0]),
            let remainder = Predicate.truncatedInteger(operands[1])
        else { throw QueryError(.badValue, "malformed mod, divisor or remainder value is invalid") }
        guard divisor != 0 else { throw QueryError(.badValue, "divisor cannot be 0") }
        return .modulo(divisor: divisor, remainder: remainder)
    }

    private func bits(_ kind: BitTest.Kind, _ name: String, _ value: Value) throws(QueryError) -> Predicate {
        switch value {
        case .array(let array):
            var positions: [Int] = []
            for element in array {
                guard let position = element.intExactly, position >= 0, position <= Int(Int32.max) else {
                    throw QueryError(
                        .failedToParse, "Failed to parse bit position. Expected a non-negative number in: \(name)")
                }
                positions.append(position)
            }
            return .bits(BitTest(kind: kind, positions: positions.sorted()))
        case .binary(let binary):
            var positions: [Int] = []
            for (index, byte) in binary.data.enumerated() {
                for bit in 0..<8 where byte >> UInt8(bit) & 1 == 1 { positions.append(index * 8 + bit) }
            }
            return .bits(BitTest(kind: kind, positions: positions))
        default:
            guard let mask = value.int64Exactly, mask >= 0 else {
                throw QueryError(
                    value.isNumber ? .failedToParse : .badValue,
                    "\(name) takes an Array, a number, or a BinData but received: \(name): \(value)")
            }
            return .bits(BitTest(kind: kind, positions: (0..<63).filter { mask >> Int64($0) & 1 == 1 }))
        }
    }

    private func program(_ regex: RegularExpression) throws(QueryError) -> RegexProgram {
        try RegexProgram(pattern: regex.pattern.string, options: regex.options.string)
    }
}
