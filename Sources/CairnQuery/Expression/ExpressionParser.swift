import CairnBSON

/// Turns an expression as BSON into an ``ExpressionNode``.
struct ExpressionParser {
    /// Nesting beyond which an expression is refused.
    static let depthMax = 150

    /// Operators that compare values and know no collation yet: refused under one, since their answer would be another's.
    private static let comparesByBytes: Set<String> = [
        "$in", "$indexOfArray", "$setEquals", "$setIntersection", "$setUnion", "$setDifference", "$setIsSubset", "$max",
        "$min", "$maxN", "$minN",
    ]

    var scope: VariableScope
    /// Numbers the places of `$rand`.
    private var randomCount: UInt64 = 0

    init(scope: VariableScope) { self.scope = scope }

    mutating func parse(_ value: Value) throws(QueryError) -> ExpressionNode {
        scope.depth += 1
        defer { scope.depth -= 1 }
        guard scope.depth <= Self.depthMax else {
            throw QueryError(.failedToParse, "expression is nested more than \(Self.depthMax) levels deep")
        }
        switch value {
        case .string(let text):
            guard text.utf8.first == 0x24 else { return .constant(value) }
            return try path(text.string)
        case .document(let document): return try parse(document)
        case .array(let array):
            var nodes: [ExpressionNode] = []
            for element in array { nodes.append(try parse(element)) }
            return folded(.array(nodes), nodes)
        case .undefined: return .constant(.null)
        default: return .constant(value)
        }
    }

    /// `$a.b`, `$$variable` or `$$variable.a.b`.
    private func path(_ text: String) throws(QueryError) -> ExpressionNode {
        guard text.hasPrefix("$$") else {
            let name = String(text.dropFirst())
            guard !name.isEmpty else {
                throw QueryError(ErrorCode(16872), "'$' by itself is not a valid FieldPath")
            }
            return .field(try Self.fieldPath(name))
        }
        let rest = text.dropFirst(2)
        let name = String(rest.prefix { $0 != "." })
        guard !name.isEmpty else { throw QueryError(.failedToParse, "empty variable names are not allowed") }
        let tail: FieldPath?
        if name.utf8.count < rest.utf8.count {
            tail = try Self.fieldPath(String(rest.dropFirst(name.count + 1)))
        } else {
            tail = nil
        }
        switch scope.lookup(name) {
        case .constant(let value):
            guard let tail else { return .constant(value) }
            return .constant(value.flatMap { tail.descend(into: $0, from: 0) })
        case .root: return tail.map(ExpressionNode.field) ?? .root
        case .slot(let slot): return .variable(slot: slot, path: tail)
        case nil:
            if name == "SEARCH_META" || name == "USER_ROLES" || name == "CLUSTER_TIME" || name == "JS_SCOPE"
                || name == "IS_MR"
            {
                throw QueryError(ErrorCode(51144), "Builtin variable '$$\(name)' is not available")
            }
            throw QueryError(ErrorCode(17276), "Use of undefined variable: \(name)")
        }
    }

    /// The fields of a DBRef, the only names with a dollar that paths may contain.
    private static let referenceFields: [BSONString] = ["$id", "$ref", "$db"]

    /// A path as expressions take it: components are neither empty nor start with `$`, those of a DBRef excepted.
    static func fieldPath(_ name: String) throws(QueryError) -> FieldPath {
        if name.hasSuffix(".") { throw QueryError(ErrorCode(40353), "FieldPath must not end with a '.'.") }
        let path = try FieldPath(name)
        for component in path.components
        where component.name.utf8.first == 0x24 && !referenceFields.contains(component.name) {
            throw QueryError(
                .dollarFieldPathComponent,
                "FieldPath field names may not start with '$'. Consider using $getField or $setField.")
        }
        return path
    }

    private mutating func parse(_ document: Document) throws(QueryError) -> ExpressionNode {
        if let first = document.first, first.name.utf8.first == 0x24 {
            let name = first.name.string
            guard document.count == 1 else {
                throw QueryError(
                    ErrorCode(15983),
                    "an expression specification must contain exactly one field, the name of the expression. Found "
                        + "\(document.count) fields in \(document)")
            }
            guard let parse = ExpressionOperators.table[name] else {
                throw QueryError(.invalidPipelineOperator, "Unrecognized expression '\(name)'")
            }
            if scope.context.collation != nil, Self.comparesByBytes.contains(name) {
                throw QueryError(
                    .commandNotSupported, "\(name) under a collation is not supported by this version of Cairn")
            }
            return try parse(&self, first.value, name)
        }
        var fields: [(name: BSONString, node: ExpressionNode)] = []
        var names: Set<BSONString> = []
        for element in document {
            let name = element.name
            if name.utf8.first == 0x24 {
                throw QueryError(
                    .dollarFieldPathComponent,
                    "FieldPath field names may not start with '$'. Consider using $getField or $setField.")
            }
            if name.utf8.contains(0x2E) {
                throw QueryError(
                    ErrorCode(16412),
                    "FieldPath field names may not contain '.'. Consider using $getField or $setField.")
            }
            if !names.insert(name).inserted {
                throw QueryError(ErrorCode(16406), "duplicate field name specified in object literal: \(document)")
            }
            fields.append((name, try parse(element.value)))
        }
        return folded(.object(fields), fields.map(\.node))
    }

    // MARK: Shapes that operators share

    /// The operands of an operator that takes a list, or one operand without brackets.
    mutating func operands(
        _ value: Value, _ name: String, min least: Int, max most: Int?
    ) throws(QueryError) -> [ExpressionNode] {
        var nodes: [ExpressionNode] = []
        if case .array(let array) = value {
            for element in array { nodes.append(try parse(element)) }
        } else {
            nodes.append(try parse(value))
        }
        guard nodes.count >= least, nodes.count <= most ?? .max else {
            if least == most {
                throw QueryError(
                    ErrorCode(16020),
                    "Expression \(name) takes exactly \(least) arguments. \(nodes.count) were passed in.")
            }
            throw QueryError(
                ErrorCode(28667),
                "Expression \(name) takes at least \(least) arguments, and at most \(most.map(String.init) ?? "any number"), but "
                    + "\(nodes.count) were passed in.")
        }
        return nodes
    }

    /// The operands of an operator that takes a document, in the order of `names`; one that is absent is nil.
    mutating func named(
        _ value: Value, _ name: String, _ names: [String], required: Int
    ) throws(QueryError) -> [ExpressionNode?] {
        guard case .document(let document) = value else {
            throw QueryError(
                .failedToParse, "\(name) only supports an object as its argument, found: \(value.type.alias)")
        }
        var nodes: [ExpressionNode?] = Array(repeating: nil, count: names.count)
        for element in document {
            guard let index = names.firstIndex(of: element.name.string) else {
                throw QueryError(.failedToParse, "Unrecognized argument to \(name): \(element.name)")
            }
            nodes[index] = try parse(element.value)
        }
        for index in 0..<required where nodes[index] == nil {
            throw QueryError(.failedToParse, "Missing '\(names[index])' parameter to \(name)")
        }
        return nodes
    }

    /// The raw fields of an operator's document, checked for unknown names.
    func fields(_ value: Value, _ name: String, _ names: [String]) throws(QueryError) -> Document {
        guard case .document(let document) = value else {
            throw QueryError(.failedToParse, "\(name) only supports an object as its argument")
        }
        for element in document where !names.contains(element.name.string) {
            throw QueryError(.failedToParse, "Unrecognized parameter to \(name): \(element.name)")
        }
        return document
    }

    /// Steps that the evaluation of a constant may take while an expression is parsed, and bytes that it may come to: a short
    /// text must not make a parser work for long or hold much.
    private static let foldingStepsMax = 4_096
    private static let foldedBytesMax = 1_024

    /// Computes at once what depends on no document. What fails, takes long or grows is left until it is reached.
    func folded(_ node: ExpressionNode, _ operands: [ExpressionNode]) -> ExpressionNode {
        guard operands.allSatisfy(\.isConstant) else { return node }
        let meter = WorkMeter(steps: Self.foldingStepsMax)
        let folded = meter.run { () -> Value?? in
            var frame = ExpressionFrame(root: Document(), slotCount: scope.slotCount, seed: 0)
            return try? node.evaluate(&frame) as Value??
        }
        guard let value = folded else { return node }
        let size = ExpressionFrame.size(value)
        let given = operands.reduce(0) { $0 + $1.constantBytes }
        return size <= max(Self.foldedBytesMax, given) ? .constant(value) : node
    }

    mutating func nextRandom() -> ExpressionNode {
        randomCount += 1
        return .random(salt: randomCount)
    }
}
