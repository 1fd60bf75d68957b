import CairnBSON

// `$setWindowFields`.
extension StageParser {
    func windowFields(_ value: Value) throws(QueryError) -> WindowFieldsSpecification {
        guard case .document(let document) = value else {
            throw QueryError(
                .failedToParse,
                "the $setWindowFields stage specification must be an object, found \(value.type.alias)")
        }
        for element in document where !["partitionBy", "sortBy", "output"].contains(element.name.string) {
            throw QueryError(.unknownField, "BSON field '$setWindowFields.\(element.name)' is an unknown field.")
        }
        guard let outputs = document["output"] else {
            throw QueryError(
                .missingRequiredField, "BSON field '$setWindowFields.output' is missing but a required field")
        }
        guard case .document(let outputs) = outputs else { throw wrongType("output", outputs) }
        var order: SortSpecification?
        if let sortBy = document["sortBy"] {
            guard case .document(let sortBy) = sortBy else { throw wrongType("sortBy", sortBy) }
            let parsed = try SortSpecification(parsing: sortBy)
            guard parsed.natural == nil else {
                throw QueryError(.badValue, "$natural is not allowed in the sortBy of $setWindowFields")
            }
            order = parsed.isEmpty ? nil : parsed
        }
        var scope = VariableScope(context)
        let partitionBy = try document["partitionBy"].map { (value) throws(QueryError) in
            try ExpressionProgram(parsing: value, scope: &scope)
        }
        var parsed: [WindowFieldsSpecification.Output] = []
        for element in outputs {
            let path = try ExpressionParser.fieldPath(element.name.string)
            for other in parsed where path.overlaps(other.path) {
                throw QueryError(
                    ErrorCode(40176),
                    "specification contains two conflicting paths. Cannot specify both '\(path)' and '\(other.path)'")
            }
            var parser = WindowFunctionParser(name: element.name, order: order, scope: VariableScope(context))
            parsed.append(.init(path: path, function: try parser.parse(element.value)))
        }
        return WindowFieldsSpecification(partitionBy: partitionBy, order: order, outputs: parsed)
    }

    private func wrongType(_ field: String, _ value: Value) -> QueryError {
        QueryError(
            .typeMismatch,
            "BSON field '$setWindowFields.\(field)' is the wrong type '\(value.type.alias)', expected type 'object'")
    }
}

extension FieldPath {
    /// Whether one of the paths leads through the other.
    func overlaps(_ other: FieldPath) -> Bool {
        let length = min(components.count, other.components.count)
        return components[..<length] == other.components[..<length]
    }
}

/// Reads one field of the `output` of `$setWindowFields`.
struct WindowFunctionParser {
    let name: BSONString
    let order: SortSpecification?
    var scope: VariableScope

    private static let accumulators: Set<String> = AccumulatorSpecification.names.subtracting(["$mergeObjects"])

    mutating func parse(_ value: Value) throws(QueryError) -> WindowFunction {
        guard case .document(let document) = value else {
            throw QueryError(.failedToParse, "The field '\(name)' must be an object that specifies a window function")
        }
        var function: (name: String, operand: Value)?
        for element in document {
            let name = element.name.string
            if name.hasPrefix("$") {
                guard function == nil else {
                    throw QueryError(
                        .failedToParse, "The field '\(self.name)' must specify exactly one window function")
                }
                function = (name, element.value)
            } else if name != "window" {
                throw QueryError(.failedToParse, "Window function found an unknown argument: \(name)")
            }
        }
        guard let function else {
            throw QueryError(.failedToParse, "Expected a $-prefixed window function in the field '\(name)'")
        }
        return try parse(function.name, function.operand, window: document["window"])
    }

    private mutating func parse(
        _ function: String, _ operand: Value, window: Value?
    ) throws(QueryError) -> WindowFunction {
        switch function {
        case "$rank", "$denseRank", "$documentNumber":
            try refuseWindow(window, function)
            guard operand.asDocument?.isEmpty == true else {
                throw QueryError(ErrorCode(5_371_603), "\(function) must be specified with '{}' as the value")
            }
            if function == "$documentNumber" {
                guard order != nil else {
                    throw QueryError(
                        ErrorCode(5_371_602), "\(function) must be specified with a top level sortBy expression")
                }
                return .documentNumber
            }
            guard order?.parts.count == 1 else {
                throw QueryError(
                    ErrorCode(5_371_602),
                    "\(function) must be specified with a top level sortBy expression with exactly one element")
            }
            return function == "$rank" ? .rank : .denseRank
        case "$shift":
            try refuseWindow(window, function)
            return try shift(operand)
        case "$expMovingAvg":
            try refuseWindow(window, function)
            return try movingAverage(operand)
        case "$linearFill":
            try refuseWindow(window, function)
            guard order?.parts.count == 1 else {
                throw QueryError(
                    ErrorCode(605_001),
                    "$linearFill must be specified with a top level sortBy expression with exactly one element")
            }
            return .linearFill(try ExpressionProgram(parsing: operand, scope: &scope))
        case "$locf":
            try refuseWindow(window, function)
            return .lastObserved(try ExpressionProgram(parsing: operand, scope: &scope))
        case "$derivative", "$integral": return try slope(function, operand, window)
        case "$covariancePop", "$covarianceSamp":
            guard case .array(let array) = operand, array.count == 2, let x = array[0], let y = array[1] else {
                throw QueryError(
                    .failedToParse, "\(function) requires an array of two expressions, found \(operand)")
            }
            return .covariance(
                isSample: function == "$covarianceSamp", try ExpressionProgram(parsing: x, scope: &scope),
                try ExpressionProgram(parsing: y, scope: &scope), try bounds(window))
        default:
            guard Self.accumulators.contains(function) else {
                throw QueryError(.failedToParse, "Unrecognized window function, \(function)")
            }
            return .accumulate(
                try AccumulatorSpecification(name: name, operator: function, operand: operand, scope: &scope),
                try bounds(window))
        }
    }

    private func refuseWindow(_ window: Value?, _ function: String) throws(QueryError) {
        guard window == nil else {
            throw QueryError(ErrorCode(5_371_601), "\(function) does not accept a 'window' field")
        }
    }

    private func fields(
        _ operand: Value, _ function: String, _ names: [String]
    ) throws(QueryError) -> Document {
        guard case .document(let document) = operand else {
            throw QueryError(
                .failedToParse, "Argument to \(function) must be an object, but found type: \(operand.type.alias)")
        }
        for element in document where !names.contains(element.name.string) {
            throw QueryError(.failedToParse, "\(function) got unexpected argument: \(element.name)")
        }
        return document
    }

    private mutating func input(_ document: Document, _ field: String, _ function: String) throws(QueryError)
        -> ExpressionProgram
    {
        guard let value = document[field] else {
            throw QueryError(.failedToParse, "\(function) requires an '\(field)' expression")
        }
        return try ExpressionProgram(parsing: value, scope: &scope)
    }

    private mutating func constant(_ value: Value, _ what: String) throws(QueryError) -> Value {
        guard let constant = try ExpressionProgram(parsing: value, scope: &scope).constant else {
            throw QueryError(.failedToParse, "\(what) must be a constant")
        }
        return constant ?? .null
    }

    private mutating func shift(_ operand: Value) throws(QueryError) -> WindowFunction {
        let document = try fields(operand, "$shift", ["output", "by", "default"])
        guard order != nil else { throw QueryError(.failedToParse, "'$shift' requires a sortBy") }
        guard let by = document["by"] else {
            throw QueryError(.failedToParse, "'$shift' requires 'by' as an integer value.")
        }
        guard let distance = try constant(by, "'$shift:by'").intExactly, abs(distance) <= Int(Int32.max) else {
            throw QueryError(.failedToParse, "'$shift:by' field must be an integer, but found by: \(by)")
        }
        let otherwise = try document["default"].map { (value) throws(QueryError) in
            try constant(value, "'$shift:default' expression")
        }
        return .shift(try input(document, "output", "$shift"), by: distance, otherwise: otherwise ?? .null)
    }

    private mutating func movingAverage(_ operand: Value) throws(QueryError) -> WindowFunction {
        let document = try fields(operand, "$expMovingAvg", ["input", "N", "alpha"])
        guard order != nil else {
            throw QueryError(.failedToParse, "$expMovingAvg requires an explicit 'sortBy'")
        }
        let input = try input(document, "input", "$expMovingAvg")
        switch (document["N"], document["alpha"]) {
        case (let count?, nil):
            guard let number = count.intExactly, number > 0 else {
                throw QueryError(
                    .failedToParse, "'N' field must be an integer greater than zero, but found  N: \(count)")
            }
            return .expMovingAverage(input, .documents(number))
        case (nil, let alpha?):
            guard let number = alpha.numericDouble, number > 0, number < 1 else {
                throw QueryError(
                    .failedToParse, "'alpha' must be between 0 and 1 (exclusive), found alpha: \(alpha)")
            }
            return .expMovingAverage(input, .alpha(alpha))
        default:
            throw QueryError(
                .failedToParse,
                "$expMovingAvg sub object must have exactly two fields: An 'input' field, and either an "
                    + "'N' field or an 'alpha' field")
        }
    }

    private mutating func slope(
        _ function: String, _ operand: Value, _ window: Value?
    ) throws(QueryError) -> WindowFunction {
        let document = try fields(operand, function, ["input", "unit"])
        guard let order else { throw QueryError(.failedToParse, "\(function) requires a sortBy") }
        guard order.parts.count == 1 else {
            throw QueryError(.failedToParse, "\(function) requires a non-compound sortBy")
        }
        var unit: DateUnit?
        if let value = document["unit"] {
            unit = try DateUnit(value, function)
            guard unit?.fixedMilliseconds != nil else {
                throw QueryError(
                    ErrorCode(5_490_704), "unit must be 'week' or smaller, found: \(value)")
            }
        }
        let input = try input(document, "input", function)
        if function == "$integral" { return .integral(input, unit: unit, try bounds(window)) }
        guard window != nil else {
            throw QueryError(.failedToParse, "$derivative requires explicit window bounds")
        }
        return .derivative(input, unit: unit, try bounds(window))
    }

    // MARK: Bounds

    private mutating func bounds(_ window: Value?) throws(QueryError) -> WindowBounds {
        guard let window else { return .whole }
        guard case .document(let document) = window else {
            throw QueryError(.failedToParse, "'window' field must be an object")
        }
        for element in document where !["documents", "range", "unit"].contains(element.name.string) {
            throw QueryError(
                .failedToParse,
                "'window' field can only contain 'documents' as the only argument or 'range' with an optional 'unit' field"
            )
        }
        switch (document["documents"], document["range"]) {
        case (_?, _?):
            throw QueryError(
                .failedToParse, "Window bounds can specify either 'documents' or 'range', not both.")
        case (nil, nil):
            guard document.isEmpty else {
                throw QueryError(.failedToParse, "Window bounds can only specify 'unit' with range-based bounds.")
            }
            return .whole
        case (let documents?, nil):
            guard document["unit"] == nil else {
                throw QueryError(.failedToParse, "Window bounds can only specify 'unit' with range-based bounds.")
            }
            return try documentBounds(documents)
        case (nil, let range?): return try rangeBounds(range, unit: document["unit"])
        }
    }

    private mutating func documentBounds(_ value: Value) throws(QueryError) -> WindowBounds {
        let (lower, upper) = try pair(value)
        func distance(_ bound: WindowBounds.Bound<Value>) throws(QueryError) -> WindowBounds.Bound<Int> {
            switch bound {
            case .unbounded: return .unbounded
            case .current: return .current
            case .distance(let value):
                guard let number = value.intExactly, abs(number) <= Int(Int32.max) else {
                    throw QueryError(.failedToParse, "Numeric document-based bounds must be an integer")
                }
                return .distance(number)
            }
        }
        let bounds = WindowBounds.documents(try distance(lower), try distance(upper))
        if case .documents(.unbounded, .unbounded) = bounds { return bounds }
        guard order != nil else {
            throw QueryError(ErrorCode(5_339_901), "Document-based bounds require a sortBy")
        }
        return bounds
    }

    private mutating func rangeBounds(_ value: Value, unit: Value?) throws(QueryError) -> WindowBounds {
        let (lower, upper) = try pair(value)
        let parsedUnit = try unit.map { (unit) throws(QueryError) in
            guard case .string = unit else { throw QueryError(.failedToParse, "'unit' must be a string") }
            return try DateUnit(unit, "window")
        }
        for bound in [lower, upper] {
            guard case .distance(let value) = bound else { continue }
            if parsedUnit != nil {
                guard value.int64Exactly != nil else {
                    throw QueryError(.failedToParse, "With 'unit', range-based bounds must be an integer")
                }
            } else if !value.isNumber {
                throw QueryError(.failedToParse, "Range-based bounds expression must be a number")
            }
        }
        guard order?.parts.count == 1 else {
            throw QueryError(ErrorCode(5_339_902), "Range-based bounds require sortBy a single field")
        }
        guard order?.parts[0].isDescending == false else {
            throw QueryError(ErrorCode(8_947_401), "Range-based bounds require an ascending sortBy")
        }
        return .range(lower, upper, unit: parsedUnit)
    }

    private mutating func pair(
        _ value: Value
    ) throws(QueryError) -> (WindowBounds.Bound<Value>, WindowBounds.Bound<Value>) {
        guard case .array(let array) = value, array.count == 2, let low = array[0], let high = array[1] else {
            throw QueryError(.failedToParse, "Window bounds must be a 2-element array: \(value)")
        }
        let (lower, upper) = (try bound(low), try bound(high))
        if let least = lower.distance, let greatest = upper.distance, Value.compare(least, greatest) > 0 {
            throw QueryError(
                ErrorCode(5_339_900), "Lower bound must not exceed upper bound: [\(least), \(greatest)]")
        }
        return (lower, upper)
    }

    private mutating func bound(_ value: Value) throws(QueryError) -> WindowBounds.Bound<Value> {
        switch value {
        case "unbounded": return .unbounded
        case "current": return .current
        case .string(let text) where text.utf8.first != 0x24:
            throw QueryError(.failedToParse, "Window bounds must be 'unbounded', 'current', or a number.")
        default: return .distance(try constant(value, "Window bounds expression"))
        }
    }
}

extension WindowBounds.Bound where Distance == Value {
    /// How far from the current document the bound is, when it is bounded.
    fileprivate var distance: Value? {
        switch self {
        case .unbounded: nil
        case .current: 0
        case .distance(let value): value
        }
    }
}
