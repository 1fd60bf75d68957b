import CairnBSON

// `$unwind` and `$facet`: one document to many, one stream to several.
extension StageParser {
    func unwind(_ value: Value) throws(QueryError) -> UnwindSpecification {
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

    func facet(_ value: Value) throws(QueryError) -> [(name: BSONString, pipeline: Pipeline)] {
        guard case .document(let document) = value, !document.isEmpty else {
            throw QueryError(ErrorCode(40169), "the $facet specification must be a non-empty object")
        }
        var facets: [(name: BSONString, pipeline: Pipeline)] = []
        for element in document {
            _ = try ExpressionParser.fieldPath(element.name.string)
            let stages = try pipeline(element.value, "$facet")
            for stage in stages {
                let name = stage.first?.name.string ?? ""
                let forbidden = [
                    "$facet", "$out", "$merge", "$geoNear", "$indexStats", "$collStats", "$documents", "$currentOp",
                    "$listSessions", "$listLocalSessions",
                ]
                if forbidden.contains(name) {
                    throw QueryError(ErrorCode(40600), "\(name) is not allowed to be used within a $facet stage")
                }
            }
            facets.append(
                (element.name, try inner(stages, context, .facet))
            )
        }
        return facets
    }
}
