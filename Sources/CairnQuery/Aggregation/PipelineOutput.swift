import CairnBSON

/// Where the documents of a pipeline that ends in `$out` or `$merge` go, instead of to the client.
///
/// The query engine writes nothing: whoever runs the pipeline carries its results there.
public enum PipelineOutput: Sendable {
    /// `$out`: the results become the collection. Without a database it is the pipeline's own.
    case replace(database: String?, collection: String)
    /// `$merge`: each result is put into the collection beside what is there.
    case merge(MergeSpecification)

    /// The stage's name, for messages.
    public var stageName: String {
        switch self {
        case .replace: "$out"
        case .merge: "$merge"
        }
    }
}

/// A compiled `$merge`.
public struct MergeSpecification: Sendable {
    /// What becomes of a document of the target that a result meets.
    public enum WhenMatched: Sendable {
        case replace, keepExisting, merge, fail
        /// The stages of an update, in which `$$new` is the result.
        case pipeline([Document])
    }

    /// What becomes of a result that meets none.
    public enum WhenNotMatched: String, Sendable { case insert, discard, fail }

    /// Nil is the pipeline's own database.
    public let database: String?
    public let collection: String
    /// The fields by which results and documents of the target meet; an index has to keep them unique.
    public let on: [String]
    public let whenMatched: WhenMatched
    public let whenNotMatched: WhenNotMatched
    let onPaths: [FieldPath]
    /// `let`, evaluated on each result.
    let variables: [(name: String, value: ExpressionProgram)]
    /// The command's own variables, which the update may name too.
    let constants: [(name: String, value: Value)]

    /// Whether results are inserted and nothing else, so that one that meets a document is an error.
    public var isInsert: Bool { if case .fail = whenMatched { true } else { false } }

    /// Whether each result has to meet a document.
    public var demandsMatch: Bool { whenNotMatched == .fail }

    /// The statement of an `update` command (`{q, u, upsert, …}`) that carries one result to the target.
    ///
    /// What the update knows beside the document travels as constants: `c`, in which `new` is the result. With
    /// `upsertSupplied` the result itself is inserted where nothing matches, whatever the update would have made.
    ///
    /// - Precondition: ``isInsert`` is false.
    /// - Throws: code 51132 for a result that lacks one of the fields to meet by, 51185 for an array there.
    public func statement(for result: Document) throws(QueryError) -> Document {
        var builder = DocumentBuilder(capacity: result.byteCount + 128)
        builder.append("q", try meeting(result))
        var constants = DocumentBuilder()
        var needsResult = true
        switch whenMatched {
        case .replace:
            // A replacement cannot hold names that look like operators; a pipeline can.
            if result.contains(where: { $0.name.utf8.first == 0x24 }) {
                builder.append("u", [["$replaceWith": "$$new"]])
            } else {
                builder.append("u", result)
                needsResult = false
            }
        case .keepExisting: builder.append("u", [])
        case .merge: builder.append("u", [["$replaceWith": ["$mergeObjects": ["$$ROOT", "$$new"]]]])
        case .pipeline(let stages):
            builder.append("u", BSONArray(stages.map(Value.document)))
            for (name, value) in self.constants { constants.append(name, value) }
            for (name, program) in variables { constants.append(name, try program.evaluate(result) ?? .null) }
        case .fail: preconditionFailure("a result that is only inserted needs no statement")
        }
        if needsResult {
            constants.append("new", result)
            builder.append("c", constants.finish())
        }
        if whenNotMatched == .insert {
            builder.append("upsert", true)
            if needsResult { builder.append("upsertSupplied", true) }
        }
        return builder.finish()
    }

    private func meeting(_ result: Document) throws(QueryError) -> Document {
        var filter = DocumentBuilder()
        for path in onPaths {
            switch path.value(in: result) {
            case nil, .null?, .undefined?:
                throw QueryError(
                    ErrorCode(51132),
                    "$merge write error: 'on' field cannot be missing, null or undefined if supporting index is sparse; "
                        + "found so at '\(path)'")
            case .array?:
                throw QueryError(ErrorCode(51185), "$merge write error: 'on' field '\(path)' is an array")
            case let value?:
                switch value {
                case .document, .regex: filter.append(path.string, .document(["$eq": value]))
                default: filter.append(path.string, value)
                }
            }
        }
        return filter.finish()
    }
}
