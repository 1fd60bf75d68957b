import CairnBSON

// Comparison, logic, conditions and variables.
extension ExpressionOperators {
    static let comparison: [String: Parse] = [
        "$eq": compare { $0 == 0 },
        "$ne": compare { $0 != 0 },
        "$gt": compare { $0 > 0 },
        "$gte": compare { $0 >= 0 },
        "$lt": compare { $0 < 0 },
        "$lte": compare { $0 <= 0 },
        "$cmp": ordered { .int32($0 < 0 ? -1 : ($0 > 0 ? 1 : 0)) },
    ]

    /// The order of values with missing before everything but MinKey, as expressions have it.
    static func compare(_ left: Value?, _ right: Value?) -> Int {
        switch (left, right) {
        case (let left?, let right?): return Value.compare(left, right)
        case (nil, nil): return 0
        case (nil, let right?): if case .minKey = right { return 1 } else { return -1 }
        case (let left?, nil): if case .minKey = left { return -1 } else { return 1 }
        }
    }

    private static func compare(_ test: @escaping @Sendable (Int) -> Bool) -> Parse {
        ordered { .bool(test($0)) }
    }

    /// An operator on the order of two values, under the collation of the command.
    private static func ordered(_ result: @escaping @Sendable (Int) -> Value) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.operands(value, name, min: 2, max: 2)
            let function: ExpressionNode.Binary
            if let collation = parser.scope.context.collation {
                function = { (left, right) throws(QueryError) in
                    result(compare(left.map(collation.folded), right.map(collation.folded)))
                }
            } else {
                function = { (left, right) throws(QueryError) in result(compare(left, right)) }
            }
            return parser.folded(.binary(function, operands[0], operands[1]), operands)
        }
    }

    static let logic: [String: Parse] = [
        "$and": { (parser, value, name) throws(QueryError) in
            let operands = try parser.operands(value, name, min: 0, max: nil)
            return parser.folded(.and(operands), operands)
        },
        "$or": { (parser, value, name) throws(QueryError) in
            let operands = try parser.operands(value, name, min: 0, max: nil)
            return parser.folded(.or(operands), operands)
        },
        "$not": unary { (value) throws(QueryError) in .bool(!(value?.isTruthy ?? false)) },
    ]

    static let conditionals: [String: Parse] = [
        "$cond": { (parser, value, name) throws(QueryError) in
            let operands: [ExpressionNode]
            if case .document = value {
                let named = try parser.named(value, name, ["if", "then", "else"], required: 3)
                operands = named.compactMap { $0 }
            } else {
                operands = try parser.operands(value, name, min: 3, max: 3)
            }
            return parser.folded(.condition(operands[0], then: operands[1], otherwise: operands[2]), operands)
        },
        "$ifNull": { (parser, value, name) throws(QueryError) in
            guard case .array(let array) = value, array.count >= 2 else {
                throw QueryError(ErrorCode(1_257_300), "$ifNull needs at least two arguments")
            }
            let operands = try parser.operands(value, name, min: 2, max: nil)
            return parser.folded(.firstNonNull(operands), operands)
        },
        "$switch": { (parser, value, name) throws(QueryError) in
            guard case .document(let document) = value else {
                throw QueryError(
                    ErrorCode(40060), "$switch requires an object as an argument, found: \(value.type.alias)")
            }
            var branches: [(when: ExpressionNode, then: ExpressionNode)] = []
            var otherwise: ExpressionNode?
            for element in document {
                switch element.name.string {
                case "branches":
                    guard case .array(let array) = element.value else {
                        throw QueryError(
                            ErrorCode(40061),
                            "$switch expected an array for 'branches', found: \(element.value.type.alias)")
                    }
                    for branch in array {
                        guard case .document(let branch) = branch else {
                            throw QueryError(
                                ErrorCode(40062),
                                "$switch expected each branch to be an object, found: \(branch.type.alias)")
                        }
                        for part in branch where part.name != "case" && part.name != "then" {
                            throw QueryError(
                                ErrorCode(40063), "$switch found an unknown argument to a branch: \(part.name)")
                        }
                        guard let when = branch["case"] else {
                            throw QueryError(ErrorCode(40064), "$switch requires each branch have a 'case' expression")
                        }
                        guard let then = branch["then"] else {
                            throw QueryError(ErrorCode(40065), "$switch requires each branch have a 'then' expression.")
                        }
                        branches.append((try parser.parse(when), try parser.parse(then)))
                    }
                case "default": otherwise = try parser.parse(element.value)
                default: throw QueryError(ErrorCode(40067), "$switch found an unknown argument: \(element.name)")
                }
            }
            guard !branches.isEmpty else {
                throw QueryError(ErrorCode(40068), "$switch requires at least one branch.")
            }
            return .branches(branches, otherwise: otherwise)
        },
    ]

    static let variables: [String: Parse] = [
        "$literal": { (_, value, _) throws(QueryError) in .constant(value) },
        "$const": { (_, value, _) throws(QueryError) in .constant(value) },
        "$let": { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, ["vars", "in"])
            guard case .document(let bindings)? = fields["vars"] else {
                throw QueryError(ErrorCode(16876), "Missing 'vars' parameter to $let")
            }
            guard let body = fields["in"] else {
                throw QueryError(ErrorCode(16877), "Missing 'in' parameter to $let")
            }
            // All values are computed outside of the new scope.
            var nodes: [(name: String, node: ExpressionNode)] = []
            for element in bindings {
                try VariableScope.checkUserName(element.name.string)
                nodes.append((element.name.string, try parser.parse(element.value)))
            }
            var variables: [(slot: Int, node: ExpressionNode)] = []
            for (name, node) in nodes { variables.append((parser.scope.bind(name), node)) }
            let inner = try parser.parse(body)
            parser.scope.unbind(variables.count)
            return .bind(variables, in: inner)
        },
        "$rand": { (parser, value, _) throws(QueryError) in
            guard value.asDocument?.isEmpty ?? value.asArray?.isEmpty ?? false else {
                throw QueryError(ErrorCode(3_040_501), "$rand not allow arguments")
            }
            return parser.nextRandom()
        },
    ]
}
