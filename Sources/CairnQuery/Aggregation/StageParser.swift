import CairnBSON

/// Reads stages. Stages that are other stages in disguise (`$count`, `$sortByCount`, `$bucket`) become those.
struct StageParser {
    typealias Parse = @Sendable (inout StageParser, Value, String) throws(QueryError) -> [Pipeline.Step]

    let context: QueryContext
    let allowsInternal: Bool
    let depth: Int

    static let table: [String: Parse] = [
        "$match": { (parser, value, name) throws(QueryError) in
            guard case .document(let document) = value else {
                throw QueryError(ErrorCode(15959), "the match filter must be an expression in an object")
            }
            return [step(name, value, .match(try Filter(parsing: document, context: parser.context)))]
        },
        "$project": transform, "$addFields": transform, "$set": transform, "$unset": transform,
        "$replaceRoot": transform, "$replaceWith": transform,
        "$group": { (parser, value, name) throws(QueryError) in
            [step(name, value, .group(try parser.group(value, .whole)))]
        },
        "$_internalGroupPartial": { (parser, value, name) throws(QueryError) in
            [step(name, value, .group(try parser.group(value, .partial)))]
        },
        "$_internalGroupMerge": { (parser, value, name) throws(QueryError) in
            [step(name, value, .group(try parser.group(value, .merge)))]
        },
        "$sort": { (_, value, name) throws(QueryError) in
            guard case .document(let document) = value else {
                throw QueryError(ErrorCode(15973), "the $sort key specification must be an object")
            }
            guard !document.isEmpty else {
                throw QueryError(ErrorCode(15976), "$sort stage must have at least one sort key")
            }
            let order = try SortSpecification(parsing: document)
            guard order.natural == nil else {
                throw QueryError(.badValue, "$natural is not allowed in the $sort stage")
            }
            return [step(name, value, .sort(order, limit: nil))]
        },
        "$limit": { (_, value, name) throws(QueryError) in
            guard value.isNumber, let count = Predicate.truncatedInteger(value), value.int64Exactly != nil else {
                throw QueryError(
                    ErrorCode(5_107_201), "invalid argument to $limit stage: Expected an integer: $limit: \(value)")
            }
            guard count >= 0 else {
                throw QueryError(
                    ErrorCode(5_107_201),
                    "invalid argument to $limit stage: Expected a non-negative number in: $limit: \(value)")
            }
            guard count > 0 else { throw QueryError(ErrorCode(15958), "the limit must be positive") }
            return [step(name, value, .limit(Int(count)))]
        },
        "$skip": { (_, value, name) throws(QueryError) in
            guard value.isNumber, let count = value.int64Exactly else {
                throw QueryError(
                    ErrorCode(5_107_200), "invalid argument to $skip stage: Expected an integer: $skip: \(value)")
            }
            guard count >= 0 else {
                throw QueryError(
                    ErrorCode(5_107_200),
                    "invalid argument to $skip stage: Expected a non-negative number in: $skip: \(value)")
            }
            return [step(name, value, .skip(Int(count)))]
        },
        "$unwind": { (parser, value, name) throws(QueryError) in
            [step(name, value, .unwind(try parser.unwind(value)))]
        },
        "$count": { (parser, value, _) throws(QueryError) in try parser.count(value) },
        "$sortByCount": { (parser, value, _) throws(QueryError) in try parser.sortByCount(value) },
        "$bucket": { (parser, value, _) throws(QueryError) in try parser.bucket(value) },
        "$bucketAuto": { (parser, value, name) throws(QueryError) in
            [step(name, value, .bucketAuto(try parser.bucketAuto(value)))]
        },
        "$sample": { (_, value, name) throws(QueryError) in
            guard case .document(let document) = value else {
                throw QueryError(ErrorCode(28745), "the $sample stage specification must be an object")
            }
            for element in document where element.name != "size" {
                throw QueryError(ErrorCode(28748), "unrecognized option to $sample: \(element.name)")
            }
            guard let size = document["size"] else {
                throw QueryError(ErrorCode(28749), "$sample stage must specify a size")
            }
            guard size.isNumber else { throw QueryError(ErrorCode(28746), "size argument to $sample must be a number") }
            guard let count = Predicate.truncatedInteger(size), count >= 0 else {
                throw QueryError(ErrorCode(28747), "size argument to $sample must not be negative")
            }
            return [step(name, value, .sample(Int(count)))]
        },
        "$facet": { (parser, value, name) throws(QueryError) in
            [step(name, value, .facet(try parser.facet(value)))]
        },
        "$lookup": { (parser, value, name) throws(QueryError) in
            [step(name, value, .lookup(try parser.lookup(value)))]
        },
        "$unionWith": { (parser, value, name) throws(QueryError) in try parser.unionWith(name, value) },
        "$documents": { (parser, value, name) throws(QueryError) in
            var scope = VariableScope(parser.context)
            return [step(name, value, .documents(try ExpressionProgram(parsing: value, scope: &scope)))]
        },
        "$redact": { (parser, value, name) throws(QueryError) in
            var inner = parser.context
            inner.variables += [
                ("KEEP", RedactRunner.keep), ("PRUNE", RedactRunner.prune), ("DESCEND", RedactRunner.descend),
            ]
            var scope = VariableScope(inner)
            return [step(name, value, .redact(try ExpressionProgram(parsing: value, scope: &scope)))]
        },
        "$out": later, "$merge": later, "$graphLookup": later, "$setWindowFields": later, "$densify": later,
        "$fill": later, "$geoNear": later, "$indexStats": later, "$collStats": later, "$currentOp": later,
        "$listSessions": later, "$listLocalSessions": later, "$changeStream": later, "$planCacheStats": later,
        "$search": later, "$searchMeta": later, "$vectorSearch": later,
    ]

    /// Stages of MongoDB that this server does not run.
    private static let later: Parse = { (_, _, name) throws(QueryError) -> [Pipeline.Step] in
        throw QueryError(.notImplemented, "the stage \(name) is not supported")
    }

    private static let transform: Parse = { (parser, value, name) throws(QueryError) in
        var scope = VariableScope(parser.context)
        return [step(name, value, .transform(try DocumentTransform(name, value, scope: &scope)))]
    }

    private static func step(_ name: String, _ value: Value, _ stage: Stage) -> Pipeline.Step {
        Pipeline.Step(source: Document([(name, value)]), stage: stage)
    }

    /// Parses stages that another one stands for.
    private func steps(_ documents: [Document]) throws(QueryError) -> [Pipeline.Step] {
        try Pipeline(parsing: documents, context: context, allowsInternal: allowsInternal, depth: depth).steps
    }

    private func pipeline(_ value: Value, _ name: String) throws(QueryError) -> [Document] {
        guard case .array(let array) = value else {
            throw QueryError(.typeMismatch, "'pipeline' option must be specified as an array in \(name)")
        }
        var stages: [Document] = []
        for element in array {
            guard case .document(let stage) = element else {
                throw QueryError(.typeMismatch, "Each element of the 'pipeline' array must be an object")
            }
            stages.append(stage)
        }
        return stages
    }

    private func object(_ value: Value, _ name: String, _ code: Int32, _ known: [String]) throws(QueryError) -> Document
    {
        guard case .document(let document) = value else {
            throw QueryError(
                ErrorCode(code), "the \(name) stage specification must be an object, but found \(value.type.alias)")
        }
        for element in document where !known.contains(element.name.string) {
            throw QueryError(.failedToParse, "unknown argument to \(name): \(element.name)")
        }
        return document
    }

    // MARK: Groups

    private func group(_ value: Value, _ role: GroupSpecification.Role) throws(QueryError) -> GroupSpecification {
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

    private func count(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
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

    private func sortByCount(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
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

    private func bucket(_ value: Value) throws(QueryError) -> [Pipeline.Step] {
        let document = try object(value, "$bucket", 40201, ["groupBy", "boundaries", "default", "output"])
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

    private func bucketAuto(_ value: Value) throws(QueryError) -> BucketAutoSpecification {
        let document = try object(value, "$bucketAuto", 40240, ["groupBy", "buckets", "output", "granularity"])
        guard document["granularity"] == nil else {
            throw QueryError(.notImplemented, "'granularity' of $bucketAuto is not supported")
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
            accumulators: try outputs(document["output"]))
    }

    // MARK: One document to many, many collections to one

    private func unwind(_ value: Value) throws(QueryError) -> UnwindSpecification {
        var text: String?
        var indexPath: FieldPath?
        var preservesEmpty = false
        switch value {
        case .string(let path): text = path.string
        case .document(let document):
            for element in document {
                switch element.name.string {
                case "path":
                    guard let path = element.value.asString?.string else {
                        throw QueryError(
                            ErrorCode(28808),
                            "expected a string as the path for $unwind stage, got \(element.value.type.alias)")
                    }
                    text = path
                case "preserveNullAndEmptyArrays":
                    guard case .bool(let flag) = element.value else {
                        throw QueryError(
                            ErrorCode(28809),
                            "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got \(element.value.type.alias)"
                        )
                    }
                    preservesEmpty = flag
                case "includeArrayIndex":
                    guard let name = element.value.asString?.string, !name.isEmpty else {
                        throw QueryError(
                            ErrorCode(28810),
                            "expected a non-empty string for the includeArrayIndex option to $unwind stage, got \(element.value.type.alias)"
                        )
                    }
                    guard !name.hasPrefix("$") else {
                        throw QueryError(
                            ErrorCode(28822),
                            "includeArrayIndex option to $unwind stage should not be prefixed with a '$': \(name)")
                    }
                    indexPath = try ExpressionParser.fieldPath(name)
                default: throw QueryError(ErrorCode(28811), "unrecognized option to $unwind stage: \(element.name)")
                }
            }
        default:
            throw QueryError(
                ErrorCode(15981),
                "expected either a string or an object as specification for $unwind stage, got \(value.type.alias)")
        }
        guard let text, !text.isEmpty else { throw QueryError(ErrorCode(28812), "no path specified to $unwind stage") }
        guard text.hasPrefix("$") else {
            throw QueryError(ErrorCode(28818), "path option to $unwind stage should be prefixed with a '$': \(text)")
        }
        return UnwindSpecification(
            path: try ExpressionParser.fieldPath(String(text.dropFirst())), indexPath: indexPath,
            preservesEmpty: preservesEmpty)
    }

    private func facet(_ value: Value) throws(QueryError) -> [(name: BSONString, pipeline: Pipeline)] {
        guard case .document(let document) = value, !document.isEmpty else {
            throw QueryError(ErrorCode(40169), "the $facet specification must be a non-empty object")
        }
        var facets: [(name: BSONString, pipeline: Pipeline)] = []
        for element in document {
            _ = try ExpressionParser.fieldPath(element.name.string)
            let stages = try pipeline(element.value, "$facet")
            for stage in stages {
                let name = stage.first?.name.string ?? ""
                if ["$facet", "$out", "$merge", "$geoNear", "$indexStats", "$collStats", "$documents"].contains(name) {
                    throw QueryError(ErrorCode(40600), "\(name) is not allowed to be used within a $facet stage")
                }
            }
            facets.append(
                (element.name, try Pipeline(parsing: stages, context: context, allowsInternal: false, depth: depth + 1))
            )
        }
        return facets
    }

    private func unionWith(_ name: String, _ value: Value) throws(QueryError) -> [Pipeline.Step] {
        var collection: String?
        var stages: [Document] = []
        switch value {
        case .string(let text): collection = text.string
        case .document(let document):
            for element in document {
                switch element.name.string {
                case "coll":
                    guard let text = element.value.asString?.string else {
                        throw QueryError(
                            .typeMismatch,
                            "BSON field '$unionWith.coll' is the wrong type '\(element.value.type.alias)', expected type 'string'"
                        )
                    }
                    collection = text
                case "pipeline": stages = try pipeline(element.value, name)
                default: throw QueryError(.unknownField, "BSON field '$unionWith.\(element.name)' is an unknown field.")
                }
            }
        default:
            throw QueryError(
                .failedToParse,
                "the $unionWith stage specification must be an object or string, but found \(value.type.alias)")
        }
        guard collection == nil || !stages.contains(where: { Self.mentions(context.localVariables, in: $0) }) else {
            throw QueryError(.notImplemented, "$unionWith inside of $lookup cannot use the variables of its 'let'")
        }
        let inner = try Pipeline(parsing: stages, context: context, allowsInternal: false, depth: depth + 1)
        guard collection != nil || inner.startsWithDocuments else {
            throw QueryError(
                .failedToParse,
                "$unionWith stage without explicit collection must have a pipeline with $documents as first stage")
        }
        return [Self.step(name, value, .unionWith(collection: collection, pipeline: inner))]
    }

    private func lookup(_ value: Value) throws(QueryError) -> LookupSpecification {
        guard case .document(let document) = value else {
            throw QueryError(.failedToParse, "the $lookup specification must be an Object")
        }
        func text(_ name: String) throws(QueryError) -> String? {
            guard let value = document[name] else { return nil }
            guard let text = value.asString?.string else {
                throw QueryError(.failedToParse, "$lookup argument '\(name)' must be a string, found \(name): \(value)")
            }
            return text
        }
        for element in document {
            guard ["from", "as", "localField", "foreignField", "let", "pipeline"].contains(element.name.string) else {
                throw QueryError(.failedToParse, "unknown argument to $lookup: \(element.name)")
            }
        }
        guard let output = try text("as") else {
            throw QueryError(.failedToParse, "must specify 'as' field for a $lookup")
        }
        let from = try text("from")
        let local = try text("localField")
        let foreign = try text("foreignField")
        var fields: (local: FieldPath, foreign: FieldPath)?
        if let local, let foreign {
            fields = (try ExpressionParser.fieldPath(local), try ExpressionParser.fieldPath(foreign))
        } else if local != nil || foreign != nil {
            throw QueryError(
                .failedToParse, "$lookup requires both or neither of 'localField' and 'foreignField' to be specified")
        }
        var variables: [(name: String, value: ExpressionProgram)] = []
        if let bindings = document["let"] {
            guard case .document(let bindings) = bindings else {
                throw QueryError(
                    .failedToParse,
                    "$lookup argument 'let: \(bindings)' must be an object, is type \(bindings.type.alias)")
            }
            guard document.contains("pipeline") else {
                throw QueryError(.failedToParse, "$lookup with a 'let' argument must also specify 'pipeline'")
            }
            var scope = VariableScope(context)
            for element in bindings {
                try VariableScope.checkUserName(element.name.string)
                variables.append((element.name.string, try ExpressionProgram(parsing: element.value, scope: &scope)))
            }
        }
        var common: [Document] = []
        var correlated: [Document] = []
        var inner: Pipeline?
        if let value = document["pipeline"] {
            let stages = try pipeline(value, "$lookup")
            var bound = context
            bound.bindLocally(variables.map { ($0.name, .null) })
            let whole = try Pipeline(parsing: stages, context: bound, allowsInternal: false, depth: depth + 1)
            guard from != nil || whole.startsWithDocuments else {
                throw QueryError(.failedToParse, "must specify 'from' field for a $lookup")
            }
            common = commonStages(stages, hasFields: fields != nil, variables: variables.map(\.name))
            correlated = Array(stages.dropFirst(common.count))
            // Without anything that depends on the local document the answer is the foreign side's.
            if fields != nil || !correlated.isEmpty || from == nil { inner = whole }
        } else {
            guard from != nil else { throw QueryError(.failedToParse, "must specify 'from' field for a $lookup") }
            guard fields != nil else {
                throw QueryError(
                    .failedToParse,
                    "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified")
            }
        }
        return LookupSpecification(
            collection: from, output: try ExpressionParser.fieldPath(output), fields: fields, variables: variables,
            common: common, correlated: correlated, inner: inner)
    }

    /// The leading stages that mean the same for every local document. An equality of fields applies before the
    /// pipeline, so then only filters may go in front of it.
    private func commonStages(_ stages: [Document], hasFields: Bool, variables: [String]) -> [Document] {
        // The collection's side knows the command's own variables and no others.
        let local = Set(variables).union(context.localVariables)
        var common: [Document] = []
        for stage in stages {
            guard let name = stage.first?.name else { break }
            if hasFields && name != "$match" { break }
            if name == "$documents" || Self.mentions(local, in: stage) { break }
            common.append(stage)
        }
        return common
    }

    /// Whether a string in the document names one of the variables. (A string that only looks so costs speed, not
    /// truth.)
    private static func mentions(_ names: Set<String>, in document: Document) -> Bool {
        guard !names.isEmpty else { return false }
        for element in document {
            switch element.value {
            case .string(let text):
                guard text.hasPrefix("$$") else { continue }
                if names.contains(String(text.string.dropFirst(2).prefix { $0 != "." })) { return true }
            case .document(let inner): if mentions(names, in: inner) { return true }
            case .array(let inner): if mentions(names, in: inner.document) { return true }
            default: break
            }
        }
        return false
    }
}
