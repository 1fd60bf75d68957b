import CairnBSON

/// A change to a document: operators, a replacement, or a pipeline. Parsed and checked once, applied to any number.
public struct Update: Sendable {
    public enum Kind: Sendable { case operators, replacement, pipeline }

    /// What applying gave.
    public struct Outcome: Sendable {
        public let document: Document
        /// False when the bytes are the same as before.
        public let isModified: Bool
    }

    private enum Body: Sendable {
        case operators(UpdateTree)
        case replacement(Document)
        case pipeline([DocumentTransform])
    }

    /// The largest document, as in MongoDB.
    public static let documentBytesMax = 16 << 20

    public let kind: Kind
    private let body: Body
    private let arrayFilters: [String: ArrayFilter]
    /// The array in front of the positional `$`, when a path has one: apply with ``Filter/matchedArrayIndex(in:arrayPath:)``.
    public let positionalPath: String?
    /// The paths that may change, cut before the first array step; nil when any may.
    public let touchedPaths: [String]?
    /// Whether a result can be deeper than its parts were known to be.
    private let checksDepth: Bool

    /// - Parameter value: A document (operators or a replacement) or an array (a pipeline).
    /// - Throws: code 9 (FailedToParse), 40 (ConflictingUpdateOperators), 52, 56 and what else MongoDB says.
    public init(
        parsing value: Value, arrayFilters: [Document] = [], context: QueryContext = QueryContext()
    ) throws(QueryError) {
        var scope = VariableScope(context)
        switch value {
        case .document(let document):
            if let first = document.first, first.name.utf8.first == 0x24 {
                var parser = UpdateParser(scope: scope)
                try parser.parse(document, arrayFilters: arrayFilters)
                kind = .operators
                body = .operators(parser.tree)
                self.arrayFilters = parser.arrayFilters
                positionalPath = parser.positionalPath
                touchedPaths = parser.touchedPaths
                checksDepth = parser.checksDepth
                return
            }
            for element in document where element.name.utf8.first == 0x24 {
                throw QueryError(
                    .dollarPrefixedFieldName,
                    "The dollar ($) prefixed field '\(element.name)' in '\(element.name)' is not allowed in the context of "
                        + "an update's replacement document. Consider using an aggregation pipeline with $replaceWith.")
            }
            kind = .replacement
            body = .replacement(document)
            checksDepth = false
        case .array(let array):
            var stages: [DocumentTransform] = []
            for element in array {
                guard case .document(let stage) = element else {
                    throw QueryError(.typeMismatch, "Each element of the 'pipeline' array must be an object")
                }
                stages.append(try DocumentTransform(parsing: stage, scope: &scope))
            }
            kind = .pipeline
            body = .pipeline(stages)
            checksDepth = true
        default:
            throw QueryError(.failedToParse, "Update argument must be either an object or an array")
        }
        guard arrayFilters.isEmpty else {
            throw QueryError(
                .failedToParse,
                kind == .pipeline
                    ? "Cannot specify arrayFilters and a pipeline update"
                    : "Cannot specify arrayFilters and a replacement-style update")
        }
        self.arrayFilters = [:]
        positionalPath = nil
        touchedPaths = nil
    }

    /// The document as it is after the update.
    ///
    /// - Parameter matchedIndex: What ``Filter/matchedArrayIndex(in:arrayPath:)`` says, when ``positionalPath`` is set.
    /// - Throws: code 66 (ImmutableField) when `_id` would change, 10334 (BSONObjectTooLarge), and what the operators
    ///   say about values that they do not fit.
    public func apply(to document: Document, matchedIndex: Int? = nil) throws(QueryError) -> Outcome {
        let id = document["_id"]
        var result: Document
        switch body {
        case .operators(let tree):
            result = try tree.apply(to: document, situation(document, matchedIndex, isInsert: false))
            if let id { try Self.checkID(of: result, is: id, isReplacement: false) }
        case .replacement(let replacement):
            result = try Self.replace(id, replacement)
        case .pipeline(let stages):
            result = document
            for stage in stages { result = try stage.apply(to: result) }
            result = try Self.replace(id, result)
        }
        let isModified = result != document
        if isModified { try check(result) }
        return Outcome(document: isModified ? result : document, isModified: isModified)
    }

    /// The document that an upsert inserts: what the filter demands, changed by the update.
    ///
    /// - Parameter newID: The `_id` if neither filter nor update gives one.
    public func upsertDocument(filter: Filter, newID: Value) throws(QueryError) -> Document {
        var base = Document()
        var result: Document
        switch body {
        case .replacement(let replacement):
            let filterID = filter.equalityFields.first { $0.path.string == "_id" }?.value
            result = try Self.replace(filterID, replacement)
        case .operators, .pipeline:
            var tree = UpdateTree(path: "")
            for (path, value) in filter.equalityFields {
                do {
                    try tree.insert(.set(value), at: path.components.map(UpdateTree.Step.field)[...], of: path.string)
                } catch {
                    throw QueryError(
                        .notSingleValueField, "cannot infer query fields to set, path '\(path)' is matched twice")
                }
            }
            tree.finish()
            base = try tree.apply(to: base, situation(base, nil, isInsert: true))
            let id = base["_id"]
            if case .operators(let operators) = body {
                result = try operators.apply(to: base, situation(base, nil, isInsert: true))
                if let id { try Self.checkID(of: result, is: id, isReplacement: false) }
            } else if case .pipeline(let stages) = body {
                result = base
                for stage in stages { result = try stage.apply(to: result) }
                result = try Self.replace(id, result)
            } else {
                result = base
            }
        }
        if let id = result["_id"] {
            switch id {
            case .array, .regex, .undefined:
                throw QueryError(.invalidIdField, "The '_id' value cannot be of type \(id.type.alias)")
            default: break
            }
            if result.first?.name != "_id" { result = result.removing("_id").prepending("_id", id) }
        } else {
            result = result.prepending("_id", newID)
        }
        try check(result)
        return result
    }

    private func situation(_ document: Document, _ matchedIndex: Int?, isInsert: Bool) -> UpdateTree.Situation {
        UpdateTree.Situation(
            action: .init(original: document, isInsert: isInsert), matchedIndex: matchedIndex,
            arrayFilters: arrayFilters)
    }

    /// A replacement keeps the `_id` that was there.
    private static func replace(_ id: Value?, _ replacement: Document) throws(QueryError) -> Document {
        guard let id else { return replacement }
        guard let new = replacement["_id"] else { return replacement.prepending("_id", id) }
        guard new == id else {
            throw QueryError(
                .immutableField,
                "After applying the update, the (immutable) field '_id' was found to have been altered to _id: \(new)")
        }
        if replacement.first?.name == "_id" && new.isIdentical(to: id) { return replacement }
        return replacement.removing("_id").prepending("_id", id)
    }

    private static func checkID(of document: Document, is id: Value, isReplacement: Bool) throws(QueryError) {
        guard let new = document["_id"], new.isIdentical(to: id) else {
            throw QueryError(
                .immutableField, "Performing an update on the path '_id' would modify the immutable field '_id'")
        }
    }

    private func check(_ document: Document) throws(QueryError) {
        guard document.byteCount <= Self.documentBytesMax else {
            throw QueryError(
                .bsonObjectTooLarge,
                "Resulting document after update is larger than \(Self.documentBytesMax) bytes")
        }
        if checksDepth && document.exceedsDepth(Document.depthMax) {
            throw QueryError(.overflow, "Document exceeds maximum nested object depth of \(Document.depthMax)")
        }
    }
}
