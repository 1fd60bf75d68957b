import CairnBSON

// `$densify` and `$fill`: documents and values where a sequence has gaps.
extension StageParser {
    func densify(_ value: Value) throws(QueryError) -> DensifySpecification {
        guard case .document(let document) = value else {
            throw QueryError(
                .failedToParse, "The $densify stage specification must be an object, found \(value.type.alias)")
        }
        try check(document, "$densify", known: ["field", "partitionByFields", "range"], required: ["field", "range"])
        guard let name = document["field"]?.asString?.string else {
            throw wrongType("$densify.field", "string", document["field"])
        }
        let field = try ExpressionParser.fieldPath(name)
        guard case .document(let range)? = document["range"] else {
            throw wrongType("$densify.range", "object", document["range"])
        }
        try check(range, "$densify.range", known: ["step", "bounds", "unit"], required: ["step", "bounds"])
        var partitionBy: [FieldPath] = []
        if let fields = document["partitionByFields"] {
            guard case .array(let array) = fields else {
                throw wrongType("$densify.partitionByFields", "array", fields)
            }
            for element in array {
                guard let name = element.asString?.string else {
                    throw wrongType("$densify.partitionByFields", "string", element)
                }
                let path = try ExpressionParser.fieldPath(name)
                guard !path.overlaps(field) else {
                    throw QueryError(
                        ErrorCode(8_993_000),
                        "BSON field '$densify.partitionByFields' contains the field that is densified")
                }
                partitionBy.append(path)
            }
        }
        let unit = try range["unit"].map { (value) throws(QueryError) in try DateUnit(value, "$densify") }
        guard let step = range["step"], step.isNumber else {
            throw wrongType("$densify.range.step", "number", range["step"])
        }
        guard Value.compare(step, 0) > 0 else {
            throw QueryError(
                ErrorCode(5_733_401),
                "the step parameter in a range statement must be a strictly positive numeric value")
        }
        guard unit == nil || step.int64Exactly != nil else {
            throw QueryError(
                ErrorCode(6_586_400),
                "The step parameter in a range statement must be a whole number when densifying a date range")
        }
        return DensifySpecification(
            field: field, partitionBy: partitionBy, step: step, unit: unit,
            bounds: try densifyBounds(range["bounds"] ?? .null, unit, isPartitioned: !partitionBy.isEmpty))
    }

    private func densifyBounds(
        _ value: Value, _ unit: DateUnit?, isPartitioned: Bool
    ) throws(QueryError) -> DensifySpecification.Bounds {
        let shape = QueryError(
            ErrorCode(5_733_402),
            "the bounds in a range statement must be the string 'full', 'partition', or an ascending array of two numbers or "
                + "two dates")
        switch value {
        case "full": return .full
        case "partition":
            guard isPartitioned else {
                throw QueryError(
                    ErrorCode(5_733_408),
                    "one may not specify the bounds as 'partition' without specifying a non-empty array of "
                        + "partitionByFields. You may have meant to specify 'full' bounds.")
            }
            return .partition
        case .array(let array):
            guard array.count == 2, let lower = array[0], let upper = array[1] else {
                throw QueryError(
                    ErrorCode(5_733_403), "a bounding array in a range statement must have exactly two elements")
            }
            switch (lower, upper) {
            case (.date, .date):
                guard unit != nil else {
                    throw QueryError(
                        ErrorCode(5_733_501), "a bounding array of dates in a range statement needs a unit")
                }
            default:
                guard lower.isNumber, upper.isNumber else { throw shape }
                guard unit == nil else {
                    throw QueryError(
                        ErrorCode(5_733_409), "numeric bounds may not have unit parameter")
                }
            }
            guard Value.compare(lower, upper) <= 0 else { throw shape }
            return .explicit(lower, upper)
        default: throw shape
        }
    }

    /// `$fill` is `$setWindowFields` for the fields that are filled from their neighbours, and `$addFields` for those that
    /// get a value.
    func fill(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
        guard case .document(let document) = value else {
            throw QueryError(
                .failedToParse, "the $fill stage specification must be an object, found \(value.type.alias)")
        }
        try check(
            document, "$fill", known: ["partitionBy", "partitionByFields", "sortBy", "output"], required: ["output"])
        guard case .document(let output)? = document["output"] else {
            throw wrongType("$fill.output", "object", document["output"])
        }
        guard !output.isEmpty else {
            throw QueryError(ErrorCode(6_050_203), "'output' of $fill must have at least one field")
        }
        var windows = DocumentBuilder()
        var values = DocumentBuilder()
        for element in output {
            guard case .document(let filling) = element.value, filling.count == 1, let how = filling.first else {
                throw QueryError(
                    ErrorCode(6_050_200), "Each fill output specification must be an object with exactly one field")
            }
            switch (how.name.string, how.value) {
            case ("value", let given):
                values.append(
                    element.name, .document(["$ifNull": [.text("$" + element.name.string), given]]))
            case ("method", "locf"):
                windows.append(element.name, .document(["$locf": .text("$" + element.name.string)]))
            case ("method", "linear"):
                windows.append(element.name, .document(["$linearFill": .text("$" + element.name.string)]))
            case ("method", _):
                throw QueryError(ErrorCode(6_050_202), "Method must be either locf or linear")
            default:
                throw QueryError(
                    ErrorCode(6_050_201), "Each fill output specification must have a 'value' or a 'method'")
            }
        }
        var stages: [Document] = []
        if !windows.isEmpty {
            guard document["sortBy"] != nil else {
                throw QueryError(ErrorCode(605_001), "$fill with a 'method' requires a 'sortBy'")
            }
            var window = DocumentBuilder()
            if let partition = try fillPartition(document) { window.append("partitionBy", partition) }
            if let sortBy = document["sortBy"] { window.append("sortBy", sortBy) }
            window.append("output", windows.finish())
            stages.append(["$setWindowFields": .document(window.finish())])
        } else {
            _ = try fillPartition(document)
        }
        if !values.isEmpty { stages.append(["$addFields": .document(values.finish())]) }
        return try steps(stages)
    }

    private func fillPartition(_ document: Document) throws(QueryError) -> Value? {
        guard let fields = document["partitionByFields"] else { return document["partitionBy"] }
        guard document["partitionBy"] == nil else {
            throw QueryError(
                ErrorCode(6_050_204), "Maximum one of 'partitionBy' and 'partitionByFields can be specified in '$fill'")
        }
        guard case .array(let array) = fields else { throw wrongType("$fill.partitionByFields", "array", fields) }
        var parts: [Value] = []
        for element in array {
            guard let name = element.asString?.string else {
                throw wrongType("$fill.partitionByFields", "string", element)
            }
            _ = try ExpressionParser.fieldPath(name)
            parts.append(.text("$" + name))
        }
        if parts.isEmpty { return nil }
        // In a document, since an array cannot be what partitions.
        return .document(Document(parts.enumerated().map { ("\($0.offset)", ["$ifNull": [$0.element, nil]]) }))
    }

    private func check(
        _ document: Document, _ name: String, known: [String], required: [String]
    ) throws(QueryError) {
        for element in document where !known.contains(element.name.string) {
            throw QueryError(.unknownField, "BSON field '\(name).\(element.name)' is an unknown field.")
        }
        for field in required where !document.contains(field) {
            throw QueryError(.missingRequiredField, "BSON field '\(name).\(field)' is missing but a required field")
        }
    }

    private func wrongType(_ field: String, _ expected: String, _ value: Value?) -> QueryError {
        QueryError(
            .typeMismatch,
            "BSON field '\(field)' is the wrong type '\(value?.type.alias ?? "missing")', expected type '\(expected)'")
    }
}
