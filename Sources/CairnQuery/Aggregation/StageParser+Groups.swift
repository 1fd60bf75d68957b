import CairnBSON

// Stages that make groups of documents, and those that are a `$group` in disguise.
extension StageParser {
    func group(_ value: Value, _ role: GroupSpecification.Role) throws(QueryError) -> GroupSpecification {
        guard case .document(let document) = value else {
            throw QueryError(ErrorCode(15947), "a group's fields must be specified in an object")
        }
        guard let id = document["_id"] else {
            throw QueryError(ErrorCode(15955), "a group specification must include an _id")
        }
        var scope = VariableScope(context)
        let idProgram = try ExpressionProgram(parsing: id, scope: &scope)
        var accumulators: [AccumulatorSpecification] = []
        for element in document where element.name != "_id" {
            accumulators.append(
                try AccumulatorSpecification(name: element.name, parsing: element.value, scope: &scope))
        }
        return GroupSpecification(source: document, role: role, id: idProgram, accumulators: accumulators)
    }

    private func outputs(_ value: Value?) throws(QueryError) -> [AccumulatorSpecification] {
        var scope = VariableScope(context)
        guard case .document(let document) = value ?? ["count": ["$sum": 1]] else {
            throw QueryError(ErrorCode(40196), "The 'output' field must be an object")
        }
        var accumulators: [AccumulatorSpecification] = []
        for element in document {
            accumulators.append(
                try AccumulatorSpecification(name: element.name, parsing: element.value, scope: &scope))
        }
        return accumulators
    }

    func count(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
        guard let name = value.asString?.string else {
            throw QueryError(ErrorCode(40156), "the count field must be a non-empty string")
        }
        guard !name.isEmpty else { throw QueryError(ErrorCode(40156), "the count field must be a non-empty string") }
        guard !name.hasPrefix("$") else {
            throw QueryError(ErrorCode(40158), "the count field cannot be a $-prefixed path")
        }
        guard !name.utf8.contains(0) else {
            throw QueryError(ErrorCode(40159), "the count field cannot contain a null byte")
        }
        guard !name.contains(".") else { throw QueryError(ErrorCode(40160), "the count field cannot contain '.'") }
        return try steps([
            ["$group": .document((["_id": nil] as Document).appending(name, ["$sum": 1]))],
            ["$project": ["_id": 0]],
        ])
    }

    func sortByCount(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
        switch value {
        case .document(let document):
            guard document.first?.name.utf8.first == 0x24 else {
                throw QueryError(
                    ErrorCode(40147),
                    "the sortByCount field must be defined as a $-prefixed path or an expression inside an object")
            }
        case .string(let text):
            guard text.utf8.first == 0x24 else {
                throw QueryError(
                    ErrorCode(40148),
                    "the sortByCount field must be defined as a $-prefixed path or an expression inside an object")
            }
        default:
            throw QueryError(ErrorCode(40149), "the sortByCount field must be specified as a string or as an object")
        }
        return try steps([
            ["$group": ["_id": value, "count": ["$sum": 1]]], ["$sort": ["count": -1]],
        ])
    }

    func bucket(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
        let document = try object(
            value, "$bucket", 40201, unknown: 40197, ["groupBy", "boundaries", "default", "output"])
        guard let groupBy = document["groupBy"], case .array(let array)? = document["boundaries"] else {
            throw QueryError(ErrorCode(40198), "$bucket requires 'groupBy' and 'boundaries' to be specified.")
        }
        let boundaries = Array(array)
        guard boundaries.count >= 2 else {
            throw QueryError(
                ErrorCode(40192),
                "The $bucket 'boundaries' field must have at least 2 values, but found \(boundaries.count) value(s).")
        }
        for (lower, upper) in zip(boundaries, boundaries.dropFirst()) {
            guard lower.type.canonicalOrder == upper.type.canonicalOrder else {
                throw QueryError(
                    ErrorCode(40193),
                    "All values in the the 'boundaries' option to $bucket must have the same type. Found conflicting types \(lower.type.alias) and \(upper.type.alias)."
                )
            }
            guard Value.compare(lower, upper) < 0 else {
                throw QueryError(
                    ErrorCode(40194),
                    "The 'boundaries' option to $bucket must be sorted, but elements are not in ascending order (\(lower) is not less than \(upper))."
                )
            }
        }
        var branches: [Value] = []
        for (lower, upper) in zip(boundaries, boundaries.dropFirst()) {
            branches.append([
                "case": [
                    "$and": [["$gte": [groupBy, ["$literal": lower]]], ["$lt": [groupBy, ["$literal": upper]]]]
                ],
                "then": ["$literal": lower],
            ])
        }
        var choice: Document = ["branches": .array(BSONArray(branches))]
        if let other = document["default"] {
            let isOutside =
                Value.compare(other, boundaries[0]) < 0 || Value.compare(other, boundaries[boundaries.count - 1]) >= 0
            guard isOutside else {
                throw QueryError(
                    ErrorCode(40199),
                    "The $bucket 'default' field must be less than the lowest boundary or greater than or equal to the highest boundary."
                )
            }
            choice = choice.appending("default", ["$literal": other])
        }
        var group = DocumentBuilder()
        group.append("_id", .document(["$switch": .document(choice)]))
        switch document["output"] {
        case nil: group.append("count", .document(["$sum": 1]))
        case .document(let output)?: group.append(elementsOf: output)
        default: throw QueryError(ErrorCode(40196), "The $bucket 'output' field must be an object")
        }
        return try steps([["$group": .document(group.finish())], ["$sort": ["_id": 1]]])
    }

    func bucketAuto(_ value: Value) throws(QueryError) -> BucketAutoSpecification {
        let document = try object(
            value, "$bucketAuto", 40240, unknown: 40245, ["groupBy", "buckets", "output", "granularity"])
        var granularity: Granularity?
        if let value = document["granularity"] {
            guard let name = value.asString?.string else {
                throw QueryError(
                    ErrorCode(40261),
                    "The $bucketAuto 'granularity' field must be a string, but found type: \(value.type.alias).")
            }
            granularity = try Granularity(name)
        }
        guard let groupBy = document["groupBy"], let buckets = document["buckets"] else {
            throw QueryError(ErrorCode(40246), "$bucketAuto requires 'groupBy' and 'buckets' to be specified")
        }
        guard let count = buckets.intExactly, count > 0, count <= Int(Int32.max) else {
            throw QueryError(
                ErrorCode(40243), "The $bucketAuto 'buckets' field must be a positive 32-bit integer, found: \(buckets)"
            )
        }
        var scope = VariableScope(context)
        return BucketAutoSpecification(
            groupBy: try ExpressionProgram(parsing: groupBy, scope: &scope), buckets: count,
            accumulators: try outputs(document["output"]), granularity: granularity)
    }
}
