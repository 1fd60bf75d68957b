import CairnBSON

// Arrays and sets. Null and missing give null unless the operator says otherwise.
extension ExpressionOperators {
    static let arrays: [String: Parse] = [
        "$size": unary { (value) throws(QueryError) in
            guard case .array(let array)? = value else {
                throw QueryError(
                    ErrorCode(17124), "The argument to $size must be an array, but was of type: \(typeName(value))")
            }
            return .int32(Int32(clamping: array.count))
        },
        "$isArray": unary { (value) throws(QueryError) in
            if case .array? = value { return true }
            return false
        },
        "$arrayElemAt": binary { (left, right) throws(QueryError) in
            guard let left, let right, !left.isNullish, !right.isNullish else { return .null }
            guard case .array(let array) = left else {
                throw QueryError(
                    ErrorCode(28689), "$arrayElemAt's first argument must be an array, but is \(left.type.alias)")
            }
            guard let index = right.intExactly else {
                throw QueryError(
                    ErrorCode(28691),
                    "$arrayElemAt's second argument must be representable as a 32-bit integer: \(right)")
            }
            return array[index < 0 ? array.count + index : index]
        },
        "$first": unary { (value) throws(QueryError) in try end(value, "$first") { $0[0] } },
        "$last": unary { (value) throws(QueryError) in try end(value, "$last") { $0[$0.count - 1] } },
        "$slice": nary(min: 2, max: 3) { (values) throws(QueryError) in
            for value in values where value?.isNullish ?? true { return .null }
            guard case .array(let array)? = values[0] else {
                throw QueryError(
                    ErrorCode(28724),
                    "First argument to $slice must be an array, but is of type: \(typeName(values[0]))")
            }
            guard let second = values[1]?.intExactly else {
                throw QueryError(
                    ErrorCode(28726),
                    "Second argument to $slice can't be represented as a 32-bit integer: \(values[1] ?? .null)")
            }
            guard values.count == 3 else { return .array(ProjectionTree.slice(array, skip: second, limit: nil)) }
            guard let count = values[2]?.intExactly else {
                throw QueryError(
                    ErrorCode(28728),
                    "Third argument to $slice can't be represented as a 32-bit integer: \(values[2] ?? .null)")
            }
            guard count > 0 else {
                throw QueryError(ErrorCode(28729), "Third argument to $slice must be positive: \(count)")
            }
            return .array(ProjectionTree.slice(array, skip: second, limit: count))
        },
        "$concatArrays": nary { (values) throws(QueryError) in
            var result = ArrayBuilder()
            for value in values {
                guard let value, !value.isNullish else { return .null }
                guard case .array(let array) = value else {
                    throw QueryError(ErrorCode(28664), "$concatArrays only supports arrays, not \(value.type.alias)")
                }
                for element in array.document { result.append(valueOf: element) }
            }
            return .array(result.finish())
        },
        "$reverseArray": unary { (value) throws(QueryError) in
            guard let value, !value.isNullish else { return .null }
            guard case .array(let array) = value else {
                throw QueryError(
                    ErrorCode(34435),
                    "The argument to $reverseArray must be an array, but was of type: \(value.type.alias)")
            }
            return .array(BSONArray(Array(array).reversed()))
        },
        "$in": binary { (left, right) throws(QueryError) in
            guard case .array(let array)? = right else {
                throw QueryError(
                    ErrorCode(40081), "$in requires an array as a second argument, found: \(typeName(right))")
            }
            guard let left else { return false }
            return .bool(array.contains(left))
        },
        "$indexOfArray": nary(min: 2, max: 4) { (values) throws(QueryError) in
            guard let first = values[0], !first.isNullish else { return .null }
            guard case .array(let array) = first else {
                throw QueryError(
                    ErrorCode(40090), "$indexOfArray requires an array as a first argument, found: \(first.type.alias)")
            }
            let start = try bound(values, 2, "$indexOfArray") ?? 0
            let end = try bound(values, 3, "$indexOfArray") ?? .max
            guard let wanted = values[1] else { return .int32(-1) }
            var index = 0
            for element in array {
                if index >= end { break }
                if index >= start && element == wanted { return .int32(Int32(index)) }
                index += 1
            }
            return .int32(-1)
        },
        "$range": nary(min: 2, max: 3) { (values) throws(QueryError) in
            guard let start = values[0]?.intExactly, let end = values[1]?.intExactly else {
                throw QueryError(
                    ErrorCode(34443),
                    "$range requires a numeric starting and ending value that a 32-bit integer can represent")
            }
            let step = values.count > 2 ? values[2]?.intExactly : 1
            guard let step else {
                throw QueryError(
                    ErrorCode(34447), "$range requires a numeric step value that a 32-bit integer can represent")
            }
            guard step != 0 else { throw QueryError(ErrorCode(34449), "$range requires a non-zero step value") }
            let limits = Int(Int32.min)...Int(Int32.max)
            guard limits.contains(start), limits.contains(end), limits.contains(step) else {
                throw QueryError(ErrorCode(34444), "$range requires values that a 32-bit integer can represent")
            }
            let count = step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step
            guard count <= 4_000_000 else {
                throw QueryError(.exceededMemoryLimit, "$range would make more than 4000000 elements")
            }
            try WorkMeter.count(max(0, count))
            var result = ArrayBuilder()
            for value in stride(from: start, to: end, by: step) { result.append(.int32(Int32(value))) }
            return .array(result.finish())
        },
        "$map": { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, ["input", "as", "in"])
            guard let input = fields["input"] else {
                throw QueryError(ErrorCode(16880), "Missing 'input' parameter to $map")
            }
            guard let body = fields["in"] else { throw QueryError(ErrorCode(16882), "Missing 'in' parameter to $map") }
            let node = try parser.parse(input)
            let slot = parser.scope.bind(try variable(fields["as"]))
            defer { parser.scope.unbind(1) }
            return .map(input: node, slot: slot, in: try parser.parse(body))
        },
        "$filter": { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, ["input", "as", "cond", "limit"])
            guard let input = fields["input"] else {
                throw QueryError(ErrorCode(28648), "Missing 'input' parameter to $filter")
            }
            guard let condition = fields["cond"] else {
                throw QueryError(ErrorCode(28650), "Missing 'cond' parameter to $filter")
            }
            let node = try parser.parse(input)
            let limit = try fields["limit"].map { (value) throws(QueryError) in try parser.parse(value) }
            let slot = parser.scope.bind(try variable(fields["as"]))
            defer { parser.scope.unbind(1) }
            return .filter(input: node, slot: slot, condition: try parser.parse(condition), limit: limit)
        },
        "$reduce": { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, ["input", "initialValue", "in"])
            guard let input = fields["input"], let initial = fields["initialValue"], let body = fields["in"] else {
                throw QueryError(ErrorCode(40077), "$reduce requires 'input', 'initialValue' and 'in' to be specified")
            }
            let node = try parser.parse(input)
            let start = try parser.parse(initial)
            let thisSlot = parser.scope.bind("this")
            let valueSlot = parser.scope.bind("value")
            defer { parser.scope.unbind(2) }
            return .reduce(
                input: node, initial: start, valueSlot: valueSlot, thisSlot: thisSlot, in: try parser.parse(body))
        },
        "$sortArray": { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, ["input", "sortBy"])
            guard let input = fields["input"], let order = fields["sortBy"] else {
                throw QueryError(ErrorCode(2_942_502), "$sortArray requires 'input' and 'sortBy' to be specified")
            }
            return .sortArray(
                input: try parser.parse(input), by: try UpdateParser.arrayOrder(order, parser.scope.context.collation))
        },
        "$zip": { (parser, value, name) throws(QueryError) in
            let fields = try parser.fields(value, name, ["inputs", "useLongestLength", "defaults"])
            guard case .array(let inputs)? = fields["inputs"] else {
                throw QueryError(ErrorCode(34461), "inputs must be an array of expressions")
            }
            var nodes: [ExpressionNode] = []
            for input in inputs { nodes.append(try parser.parse(input)) }
            let useLongest = fields["useLongestLength"]?.isTruthy ?? false
            var count = nodes.count
            if case .array(let defaults)? = fields["defaults"] {
                guard useLongest else {
                    throw QueryError(ErrorCode(34466), "cannot specify defaults unless useLongestLength is true")
                }
                for value in defaults { nodes.append(try parser.parse(value)) }
                guard nodes.count == count * 2 else {
                    throw QueryError(ErrorCode(34467), "defaults and inputs must have the same length")
                }
            } else {
                count = nodes.count
            }
            let inputCount = count
            return parser.folded(
                .nary({ (values) throws(QueryError) in try zip(values, inputCount, useLongest) }, nodes), nodes)
        },
    ]

    static let sets: [String: Parse] = [
        "$setEquals": nary(min: 2) { (values) throws(QueryError) in
            let first = try set(values[0], "$setEquals")
            for value in values.dropFirst() where try set(value, "$setEquals") != first { return false }
            return true
        },
        "$setIsSubset": binary { (left, right) throws(QueryError) in
            .bool(try set(left, "$setIsSubset").isSubset(of: try set(right, "$setIsSubset")))
        },
        "$setUnion": nary { (values) throws(QueryError) in
            var seen: Set<Value> = []
            var result: [Value] = []
            for value in values {
                guard let value, !value.isNullish else { return .null }
                for element in try array(value, "$setUnion") where seen.insert(element).inserted {
                    result.append(element)
                }
            }
            return .array(BSONArray(result.sorted()))
        },
        "$setIntersection": nary { (values) throws(QueryError) in
            var common: Set<Value>?
            for value in values {
                guard let value, !value.isNullish else { return .null }
                let members = Set(try array(value, "$setIntersection"))
                common = common?.intersection(members) ?? members
            }
            return .array(BSONArray((common ?? []).sorted()))
        },
        "$setDifference": binary { (left, right) throws(QueryError) in
            guard let left, let right, !left.isNullish, !right.isNullish else { return .null }
            var seen = Set(try array(right, "$setDifference"))
            return .array(BSONArray(try array(left, "$setDifference").filter { seen.insert($0).inserted }))
        },
        "$anyElementTrue": unary { (value) throws(QueryError) in
            .bool(try array(value ?? .null, "$anyElementTrue").contains(where: \.isTruthy))
        },
        "$allElementsTrue": unary { (value) throws(QueryError) in
            .bool(try array(value ?? .null, "$allElementsTrue").allSatisfy(\.isTruthy))
        },
    ]

    // MARK: Pieces

    static func typeName(_ value: Value?) -> String { value?.type.alias ?? "missing" }

    private static func end(
        _ value: Value?, _ name: String, _ pick: (BSONArray) -> Value?
    ) throws(QueryError) -> Value? {
        guard let value, !value.isNullish else { return .null }
        guard case .array(let array) = value else {
            throw QueryError(ErrorCode(28689), "\(name)'s argument must be an array, but is \(value.type.alias)")
        }
        return array.isEmpty ? nil : pick(array)
    }

    private static func variable(_ value: Value?) throws(QueryError) -> String {
        guard let value else { return "this" }
        guard let name = value.asString?.string else {
            throw QueryError(.failedToParse, "'as' must be a string")
        }
        try VariableScope.checkUserName(name)
        return name
    }

    static func bound(_ values: [Value?], _ index: Int, _ name: String) throws(QueryError) -> Int? {
        guard index < values.count else { return nil }
        guard let bound = values[index]?.intExactly else {
            throw QueryError(ErrorCode(40096), "\(name) requires an integral index, found: \(values[index] ?? .null)")
        }
        guard bound >= 0 else {
            throw QueryError(ErrorCode(40097), "\(name) requires a nonnegative index, found: \(bound)")
        }
        return bound
    }

    static func array(_ value: Value, _ name: String) throws(QueryError) -> BSONArray {
        guard case .array(let array) = value else {
            throw QueryError(
                ErrorCode(17040), "All operands of \(name) must be arrays. One argument is of type: \(value.type.alias)"
            )
        }
        return array
    }

    private static func set(_ value: Value?, _ name: String) throws(QueryError) -> Set<Value> {
        Set(try array(value ?? .null, name))
    }

    private static func zip(_ values: [Value?], _ count: Int, _ useLongest: Bool) throws(QueryError) -> Value? {
        var arrays: [[Value]] = []
        for value in values[..<count] {
            guard let value, !value.isNullish else { return .null }
            guard case .array(let array) = value else {
                throw QueryError(ErrorCode(34468), "$zip found a non-array expression in input: \(value)")
            }
            arrays.append(Array(array))
        }
        let lengths = arrays.map(\.count)
        let length = (useLongest ? lengths.max() : lengths.min()) ?? 0
        var result = ArrayBuilder()
        for row in 0..<length {
            result.append(
                .array(
                    BSONArray(
                        arrays.indices.map { column in
                            if row < arrays[column].count { return arrays[column][row] }
                            return (values.count > count ? values[count + column] : nil) ?? .null
                        })))
        }
        return .array(result.finish())
    }
}
