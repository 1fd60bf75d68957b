import CairnBSON

/// What a pipeline that begins with a stage about the collection itself runs over, instead of its documents.
///
/// The query engine knows nothing of it: whoever runs the pipeline makes the documents.
public enum PipelineReport: Sendable, Hashable {
    /// `$collStats`: one document with the parts asked for.
    case collectionStatistics(storageScale: Int64?, count: Bool)
}

extension StageParser {
    func collectionStatistics(_ value: Value) throws(QueryError) -> PipelineReport {
        guard case .document(let document) = value else {
            throw QueryError(
                ErrorCode(5_447_000), "$collStats must take a nested object but found: $collStats: \(value)")
        }
        var scale: Int64?
        for element in document {
            let name = element.name.string
            switch name {
            case "storageStats", "count":
                guard case .document(let options) = element.value else {
                    throw QueryError(
                        .typeMismatch,
                        "BSON field '$collStats.\(name)' is the wrong type '\(element.value.type.alias)', expected type 'object'"
                    )
                }
                for option in options where name == "count" || option.name != "scale" {
                    throw QueryError(
                        .unknownField, "BSON field '$collStats.\(name).\(option.name)' is an unknown field.")
                }
                if name == "storageStats" {
                    scale = options["scale"].map { $0.int64Exactly ?? 0 } ?? 1
                    guard let scale, scale >= 1 else {
                        throw QueryError(
                            .badValue, "BSON field '$collStats.storageStats.scale' value must be >= 1")
                    }
                }
            case "latencyStats", "queryExecStats":
                throw QueryError(.notImplemented, "'\(name)' of $collStats is not supported")
            default: throw QueryError(.unknownField, "BSON field '$collStats.\(name)' is an unknown field.")
            }
        }
        return .collectionStatistics(storageScale: scale, count: document.contains("count"))
    }
}
