import CairnBSON

/// The operators that expressions know, by name. Families add theirs in files of their own; the documentation's table
/// of what is supported comes from here.
enum ExpressionOperators {
    typealias Parse = @Sendable (inout ExpressionParser, Value, String) throws(QueryError) -> ExpressionNode

    static let table: [String: Parse] = {
        var table: [String: Parse] = [:]
        for family in [
            arithmetic, comparison, logic, conditionals, variables, arrays, sets, strings, objects, types, dates,
            trigonometry, accumulating, refused,
        ] {
            for (name, parse) in family { table[name] = parse }
        }
        return table
    }()

    // MARK: Makers of entries

    static func unary(_ function: @escaping ExpressionNode.Unary) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.operands(value, name, min: 1, max: 1)
            return parser.folded(.unary(function, operands[0]), operands)
        }
    }

    static func binary(_ function: @escaping ExpressionNode.Binary) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.operands(value, name, min: 2, max: 2)
            return parser.folded(.binary(function, operands[0], operands[1]), operands)
        }
    }

    static func nary(min least: Int = 0, max most: Int? = nil, _ function: @escaping ExpressionNode.Nary) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.operands(value, name, min: least, max: most)
            return parser.folded(.nary(function, operands), operands)
        }
    }

    /// An operator with named operands. The function gets them in the order of `names`; `hasBeenGiven` is not told:
    /// an absent operand is nil like a missing one.
    static func named(
        _ names: [String], required: Int, _ function: @escaping ExpressionNode.Nary
    ) -> Parse {
        { (parser, value, name) throws(QueryError) in
            let operands = try parser.named(value, name, names, required: required).map { $0 ?? .constant(nil) }
            return parser.folded(.nary(function, operands), operands)
        }
    }

    /// Operators of MongoDB that this server does not run, each with the reason.
    static let refused: [String: Parse] = [
        "$function": refusal("this server runs no JavaScript"),
        "$accumulator": refusal("this server runs no JavaScript"),
        "$meta": refusal("there are no text or vector indexes"),
    ]

    private static func refusal(_ reason: String) -> Parse {
        @Sendable func refuse(_: inout ExpressionParser, _: Value, name: String) throws(QueryError) -> ExpressionNode {
            throw QueryError(.notImplemented, "\(name) is not supported: \(reason)")
        }
        return refuse
    }
}
