import CairnBSON

/// Reads stages. Stages that are other stages in disguise (`$count`, `$sortByCount`, `$bucket`) become those.
struct StageParser {
    typealias Parse = @Sendable (inout StageParser, Value, String) throws(QueryError) -> [Pipeline.Step]

    let context: QueryContext
    let allowsInternal: Bool
    let depth: Int
    let place: Place

    /// Where a pipeline stands, which decides whether it may write.
    enum Place { case command, facet, lookup, union }

    private static let listSessions: Parse = { (parser, value, name) throws(QueryError) in
        [step(name, value, .report(try parser.sessions(value, name)))]
    }

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
        "$sort": { (parser, value, name) throws(QueryError) in
            guard case .document(let document) = value else {
                throw QueryError(ErrorCode(15973), "the $sort key specification must be an object")
            }
            guard !document.isEmpty else {
                throw QueryError(ErrorCode(15976), "$sort stage must have at least one sort key")
            }
            let order = try SortSpecification(parsing: document, collation: parser.context.collation)
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
        "$graphLookup": { (parser, value, name) throws(QueryError) in
            [step(name, value, .graphLookup(try parser.graphLookup(value)))]
        },
        "$densify": { (parser, value, name) throws(QueryError) in
            [step(name, value, .densify(try parser.densify(value)))]
        },
        "$fill": { (parser, value, _) throws(QueryError) in try parser.fill(value) },
        "$setWindowFields": { (parser, value, name) throws(QueryError) in
            [step(name, value, .windowFields(try parser.windowFields(value)))]
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
            let slot = scope.bind("ROOT")
            return [step(name, value, .redact(try ExpressionProgram(parsing: value, scope: &scope), rootSlot: slot))]
        },
        "$collStats": { (parser, value, name) throws(QueryError) in
            [step(name, value, .report(try parser.collectionStatistics(value)))]
        },
        "$indexStats": { (parser, value, name) throws(QueryError) in
            [step(name, value, .report(try parser.indexStatistics(value)))]
        },
        "$currentOp": { (parser, value, name) throws(QueryError) in
            [step(name, value, .report(try parser.currentOperations(value)))]
        },
        "$listSessions": listSessions, "$listLocalSessions": listSessions,
        "$out": { (parser, value, name) throws(QueryError) in
            [step(name, value, .output(try parser.out(value)))]
        },
        "$merge": { (parser, value, name) throws(QueryError) in
            [step(name, value, .output(try parser.merge(value)))]
        },
        "$geoNear": later, "$changeStream": later, "$planCacheStats": later,
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

    static func step(_ name: String, _ value: Value, _ stage: Stage) -> Pipeline.Step {
        Pipeline.Step(source: Document([(name, value)]), stage: stage)
    }

    /// What a stage that writes is told in a pipeline that may not; nil where it may.
    func refusal(ofWriting name: String) -> QueryError? {
        switch place {
        case .command: nil
        case .facet: QueryError(ErrorCode(40600), "\(name) is not allowed to be used within a $facet stage")
        case .lookup: QueryError(ErrorCode(51047), "\(name) is not allowed within a $lookup's sub-pipeline")
        case .union: QueryError(ErrorCode(31441), "\(name) is not allowed within a $unionWith's sub-pipeline")
        }
    }

    /// Parses stages that another one stands for.
    func steps(_ documents: [Document]) throws(QueryError) -> [Pipeline.Step] {
        try Pipeline(parsing: documents, context: context, allowsInternal: allowsInternal, depth: depth, place: place)
            .steps
    }

    /// Parses the pipeline inside of a stage.
    func inner(_ stages: [Document], _ context: QueryContext, _ place: Place) throws(QueryError) -> Pipeline {
        try Pipeline(parsing: stages, context: context, allowsInternal: false, depth: depth + 1, place: place)
    }

    func pipeline(_ value: Value, _ name: String) throws(QueryError) -> [Document] {
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

    /// A stage's fields.
    ///
    /// - Throws: `code` for what is no document, `unknown` for a field that the stage does not have.
    func object(
        _ value: Value, _ name: String, _ code: Int32, unknown: Int32, _ known: [String]
    ) throws(QueryError) -> Document {
        guard case .document(let document) = value else {
            throw QueryError(
                ErrorCode(code), "the \(name) stage specification must be an object, but found \(value.type.alias)")
        }
        for element in document where !known.contains(element.name.string) {
            throw QueryError(ErrorCode(unknown), "Unrecognized option to \(name): \(element.name).")
        }
        return document
    }
}
