import CairnBSON

/// What `find`'s projection or the `$project` stage leaves of a document, and adds to it.
public struct Projection: Sendable {
    /// Where the specification stands: `find` has `$slice`, `$elemMatch` and the positional `$` of its own.
    public enum Kind: Sendable { case find, stage }

    public let source: Document
    /// Nil when the document stays as it is.
    let tree: ProjectionTree?
    /// True when fields are kept by name, false when they are dropped by name.
    public let isInclusion: Bool
    /// The array in front of the positional `$`, when the projection has one: its element comes from
    /// ``Filter/matchedArrayIndex(in:arrayPath:)``.
    public let positionalPath: String?
    /// The paths that are kept, when the projection does nothing else: what a covering index must have. `_id` included.
    public let includedPaths: [String]?

    /// - Throws: MongoDB's codes 31249 to 31256 and their neighbours.
    public init(
        parsing document: Document, kind: Kind = .find, context: QueryContext = QueryContext()
    ) throws(QueryError) {
        var scope = VariableScope(context)
        try self.init(parsing: document, kind: kind, scope: &scope)
    }

    init(parsing document: Document, kind: Kind, scope: inout VariableScope) throws(QueryError) {
        source = document
        if document.isEmpty {
            guard kind == .find else {
                throw QueryError(
                    ErrorCode(51272),
                    "Invalid $project :: caused by :: projection specification must have at least one field")
            }
            tree = nil
            isInclusion = false
            positionalPath = nil
            includedPaths = nil
            return
        }
        var parser = ProjectionParser(kind: kind, scope: scope)
        try parser.parse(document, prefix: "", depth: 0)
        scope = parser.scope
        var tree = try parser.finished()
        isInclusion = parser.isInclusion
        positionalPath = parser.positionalPath
        if !isInclusion && tree.names.isEmpty { tree.keepsOthers = true }
        self.tree = tree
        includedPaths = isInclusion && !parser.hasMoreThanInclusions ? parser.includedPaths : nil
    }

    /// True when applying changes nothing.
    public var isIdentity: Bool { tree == nil }

    /// The document as the projection shows it.
    ///
    /// - Parameter matchedIndex: What ``Filter/matchedArrayIndex(in:arrayPath:)`` says, when ``positionalPath`` is set.
    public func apply(_ document: Document, matchedIndex: Int? = nil) throws(QueryError) -> Document {
        guard let tree else { return document }
        return try tree.apply(to: document, .init(root: document, matchedIndex: matchedIndex))
    }
}

/// Reads a projection's specification.
struct ProjectionParser {
    private enum Mode { case inclusion, exclusion }

    private let kind: Projection.Kind
    var scope: VariableScope
    private var mode: Mode?
    private var tree = ProjectionTree(keepsOthers: false)
    private var idNode: ProjectionTree.Node?
    private(set) var positionalPath: String?
    private(set) var includedPaths: [String] = []
    private(set) var hasMoreThanInclusions = false
    /// `$slice` and the like neither keep nor drop the other fields.
    private var hasComputed = false
    private var hasElementMatch = false

    init(kind: Projection.Kind, scope: VariableScope) {
        self.kind = kind
        self.scope = scope
    }

    var isInclusion: Bool {
        switch mode {
        case .inclusion: true
        case .exclusion: false
        case nil:
            if hasComputed || hasElementMatch { true } else if case .include? = idNode { true } else { false }
        }
    }

    mutating func finished() throws(QueryError) -> ProjectionTree {
        let isInclusion = isInclusion
        if mode == .exclusion && hasComputed {
            throw QueryError(ErrorCode(31252), "Cannot use an expression in an exclusion projection")
        }
        switch idNode {
        case nil:
            if isInclusion {
                try tree.insert(.include, at: FieldPath("_id"))
                includedPaths.append("_id")
            }
        case .exclude?: if !isInclusion { try tree.insert(.exclude, at: FieldPath("_id")) }
        case .include?:
            if isInclusion {
                try tree.insert(.include, at: FieldPath("_id"))
                includedPaths.append("_id")
            }
        case .some(let node): try tree.insert(node, at: FieldPath("_id"))
        }
        tree.setKeepsOthers(!isInclusion)
        return tree
    }

    mutating func parse(_ document: Document, prefix: String, depth: Int) throws(QueryError) {
        guard depth < 100 else { throw QueryError(.failedToParse, "projection is nested too deeply") }
        for element in document {
            let name = element.name.string
            guard !name.isEmpty else {
                throw QueryError(.emptyFieldPathComponent, "FieldPath cannot be constructed with empty string")
            }
            try field(prefix + name, element.value, depth: depth)
        }
    }

    private mutating func field(_ name: String, _ value: Value, depth: Int) throws(QueryError) {
        if kind == .find, name.hasSuffix(".$") {
            return try positional(String(name.dropLast(2)), value)
        }
        if kind == .find, name.contains(".$.") {
            throw QueryError(
                ErrorCode(31394),
                "As of 4.4, it's illegal to specify positional operator in the middle of a path. Positional projection may only be used at the end."
            )
        }
        let path = try ExpressionParser.fieldPath(name)
        switch value {
        case .bool, .int32, .int64, .double, .decimal128:
            try insert(value.isTruthy ? .include : .exclude, at: path)
        case .document(let document):
            if document.isEmpty && kind == .stage {
                throw QueryError(
                    ErrorCode(51270), "An empty sub-projection is not a valid value. Found empty object at path")
            }
            guard let first = document.first, first.name.utf8.first == 0x24 else {
                if document.isEmpty { return try insertValue(value, at: path) }
                return try parse(document, prefix: name + ".", depth: depth + 1)
            }
            if kind == .find, document.count == 1, try operators(first.name.string, first.value, at: path) { return }
            try insertValue(value, at: path)
        default: try insertValue(value, at: path)
        }
    }

    private mutating func insertValue(_ value: Value, at path: FieldPath) throws(QueryError) {
        hasComputed = true
        hasMoreThanInclusions = true
        let node = ProjectionTree.Node.value(try ExpressionProgram(parsing: value, scope: &scope))
        if path.string == "_id" { idNode = node } else { try tree.insert(node, at: path) }
    }

    private mutating func insert(_ node: ProjectionTree.Node, at path: FieldPath) throws(QueryError) {
        if path.string == "_id" {
            guard idNode == nil else { throw QueryError(ErrorCode(31250), "Path collision at _id") }
            idNode = node
            return
        }
        switch node {
        case .include:
            if mode == .exclusion {
                throw QueryError(ErrorCode(31253), "Cannot do inclusion on field \(path) in exclusion projection")
            }
            mode = .inclusion
            includedPaths.append(path.string)
        default:
            if mode == .inclusion {
                throw QueryError(ErrorCode(31254), "Cannot do exclusion on field \(path) in inclusion projection")
            }
            mode = .exclusion
        }
        try tree.insert(node, at: path)
    }

    /// `find`'s own operators. False when the operator is an expression's.
    private mutating func operators(_ name: String, _ value: Value, at path: FieldPath) throws(QueryError) -> Bool {
        switch name {
        case "$slice":
            // With an array expression for its first operand it is the aggregation operator.
            if case .array(let array) = value, let first = array[0], !first.isNumber { return false }
            hasMoreThanInclusions = true
            try tree.insert(try slice(value), at: path)
            return true
        case "$elemMatch":
            guard case .document = value else {
                throw QueryError(
                    ErrorCode(31274), "elemMatch: Invalid argument, object required, but got \(value.type.alias)")
            }
            guard path.components.count == 1 else {
                throw QueryError(ErrorCode(31275), "Cannot use $elemMatch projection on a nested field.")
            }
            hasMoreThanInclusions = true
            hasElementMatch = true
            var parser = FilterParser(scope: scope)
            let predicates = try parser.operators(["$elemMatch": value], path: path.string, depth: 0)
            scope = parser.scope
            try tree.insert(.elementMatch(predicates[0]), at: path)
            return true
        case "$meta":
            throw QueryError(.notImplemented, "$meta is not supported: there are no text or vector indexes")
        default: return false
        }
    }

    private func slice(_ value: Value) throws(QueryError) -> ProjectionTree.Node {
        if case .array(let array) = value {
            let operands = Array(array)
            guard operands.count == 2, let skip = operands[0].numericDouble, let limit = operands[1].numericDouble
            else {
                throw QueryError(
                    ErrorCode(28667), "Invalid $slice syntax. The given syntax \(value) did not match the find() syntax"
                )
            }
            guard limit > 0 else {
                throw QueryError(
                    ErrorCode(28724), "First argument to $slice must be a number, but found limit \(limit)")
            }
            return .slice(skip: Self.clamped(skip), limit: Self.clamped(limit))
        }
        guard let count = value.numericDouble else {
            throw QueryError(
                ErrorCode(28667), "Invalid $slice syntax. The given syntax \(value) did not match the find() syntax")
        }
        return .slice(skip: Self.clamped(count), limit: nil)
    }

    private static func clamped(_ value: Double) -> Int {
        value.isNaN ? 0 : Int(max(min(value, Double(Int32.max)), Double(Int32.min)))
    }

    private mutating func positional(_ name: String, _ value: Value) throws(QueryError) {
        guard value.isTruthy else {
            throw QueryError(ErrorCode(31395), "positional projection cannot be used with exclusion")
        }
        guard positionalPath == nil else {
            throw QueryError(ErrorCode(31276), "Cannot specify more than one positional projection per query.")
        }
        let path = try ExpressionParser.fieldPath(name)
        positionalPath = name
        hasMoreThanInclusions = true
        if mode == .exclusion {
            throw QueryError(ErrorCode(31253), "Cannot do inclusion on field \(name) in exclusion projection")
        }
        mode = .inclusion
        try tree.insert(.positional(ProjectionTree(keepsOthers: false)), at: path)
    }
}
