import CairnBSON

/// A stage that makes one document of one document: `$project`, `$addFields`, `$unset`, `$replaceRoot`. Pipelines of
/// updates consist of nothing else.
enum DocumentTransform: Sendable {
    case project(Projection)
    case tree(ProjectionTree)
    case replaceRoot(ExpressionProgram, name: String)

    static let names: Set<String> = ["$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith"]

    /// Reads a stage of a pipeline update.
    ///
    /// - Throws: code 72 (InvalidOptions) for a stage that updates do not have.
    init(parsing stage: Document, scope: inout VariableScope) throws(QueryError) {
        guard let element = stage.first, stage.count == 1 else {
            throw QueryError(
                .malformedStage, "A pipeline stage specification object must contain exactly one field.")
        }
        let name = element.name.string
        guard Self.names.contains(name) else {
            guard Pipeline.stageNames.contains(name) else {
                throw QueryError(.unrecognizedStage, "Unrecognized pipeline stage name: '\(name)'")
            }
            throw QueryError(.invalidOptions, "\(name) is not allowed to be used within an update")
        }
        try self.init(name, element.value, scope: &scope)
    }

    init(_ name: String, _ value: Value, scope: inout VariableScope) throws(QueryError) {
        switch name {
        case "$project":
            guard case .document(let document) = value else {
                throw QueryError(ErrorCode(15969), "$project specification must be an object")
            }
            self = .project(try Projection(parsing: document, kind: .stage, scope: &scope))
        case "$addFields", "$set": self = .tree(try Self.addFields(name, value, scope: &scope))
        case "$unset": self = .tree(try Self.unset(value))
        case "$replaceRoot":
            guard case .document(let document) = value else {
                throw QueryError(
                    ErrorCode(40229),
                    "expected an object as specification for $replaceRoot stage, got \(value.type.alias)")
            }
            for element in document where element.name != "newRoot" {
                throw QueryError(.unknownField, "BSON field '$replaceRoot.\(element.name)' is an unknown field.")
            }
            guard let root = document["newRoot"] else {
                throw QueryError(
                    .missingRequiredField, "BSON field '$replaceRoot.newRoot' is missing but a required field")
            }
            self = .replaceRoot(try ExpressionProgram(parsing: root, scope: &scope), name: "newRoot")
        default: self = .replaceRoot(try ExpressionProgram(parsing: value, scope: &scope), name: "newRoot")
        }
    }

    @inline(__always)
    func apply(to document: Document) throws(QueryError) -> Document {
        switch self {
        case .project(let projection): return try projection.apply(document)
        case .tree(let tree): return try tree.apply(to: document, .init(root: document, matchedIndex: nil))
        case .replaceRoot(let expression, let name):
            let value = try expression.evaluate(document)
            guard case .document(let root)? = value else {
                throw QueryError(
                    ErrorCode(40228),
                    "'\(name)' expression must evaluate to an object, but resulting value was: "
                        + "\(value.map(\.description) ?? "MISSING"). Type of resulting value: '\(value?.type.alias ?? "missing")'. "
                        + "Input document: \(document)")
            }
            return root
        }
    }

    // MARK: Parsing

    private static func addFields(
        _ name: String, _ value: Value, scope: inout VariableScope
    ) throws(QueryError) -> ProjectionTree {
        guard case .document(let document) = value else {
            throw QueryError(ErrorCode(40272), "\(name) specification stage must be an object, got \(value.type.alias)")
        }
        guard !document.isEmpty else {
            throw QueryError(
                ErrorCode(40177), "Invalid \(name) :: caused by :: specification must have at least one field")
        }
        var tree = ProjectionTree(keepsOthers: true)
        try addFields(document, prefix: "", to: &tree, depth: 0, scope: &scope)
        return tree
    }

    private static func addFields(
        _ document: Document, prefix: String, to tree: inout ProjectionTree, depth: Int, scope: inout VariableScope
    ) throws(QueryError) {
        guard depth < 100 else { throw QueryError(.failedToParse, "$addFields is nested too deeply") }
        for element in document {
            let name = prefix + element.name.string
            let path = try ExpressionParser.fieldPath(name)
            if case .document(let inner) = element.value, let first = inner.first, first.name.utf8.first != 0x24 {
                try addFields(inner, prefix: name + ".", to: &tree, depth: depth + 1, scope: &scope)
            } else {
                try tree.insert(.value(try ExpressionProgram(parsing: element.value, scope: &scope)), at: path)
            }
        }
    }

    private static func unset(_ value: Value) throws(QueryError) -> ProjectionTree {
        var names: [String] = []
        switch value {
        case .string(let name): names = [name.string]
        case .array(let array):
            for element in array {
                guard let name = element.asString?.string else {
                    throw QueryError(
                        ErrorCode(31120),
                        "$unset specification must be a string or an array containing only string values")
                }
                names.append(name)
            }
        default:
            throw QueryError(ErrorCode(31002), "$unset specification must be a string or an array")
        }
        guard !names.isEmpty else {
            throw QueryError(
                ErrorCode(31119), "$unset specification must be a string or an array with at least one field")
        }
        var tree = ProjectionTree(keepsOthers: true)
        for name in names { try tree.insert(.exclude, at: ExpressionParser.fieldPath(name)) }
        return tree
    }
}
