import CairnBSON

/// What a pipeline that begins with a stage about the collection itself runs over, instead of its documents.
///
/// The query engine knows nothing of it: whoever runs the pipeline makes the documents.
public enum PipelineReport: Sendable, Hashable {
    /// `$collStats`: one document with the parts asked for.
    case collectionStatistics(storageScale: Int64?, count: Bool)
    /// `$indexStats`: one document for each index and each place that has it.
    case indexStatistics
    /// `$currentOp`: one document for each operation.
    case currentOperations(idleConnections: Bool)
    /// `$listLocalSessions` and, with `isLocal` false, `$listSessions`: one document for each session.
    case sessions(isLocal: Bool)

    /// Whether it is about the collection in whose pipeline it stands. The others are about the server.
    public var isAboutCollection: Bool {
        switch self {
        case .collectionStatistics, .indexStatistics: true
        case .currentOperations, .sessions: false
        }
    }

    public var stageName: String {
        switch self {
        case .collectionStatistics: "$collStats"
        case .indexStatistics: "$indexStats"
        case .currentOperations: "$currentOp"
        case .sessions(let isLocal): isLocal ? "$listLocalSessions" : "$listSessions"
        }
    }
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

    func indexStatistics(_ value: Value) throws(QueryError) -> PipelineReport {
        guard case .document(let document) = value, document.isEmpty else {
            throw QueryError(ErrorCode(28803), "The $indexStats stage specification must be an empty object")
        }
        return .indexStatistics
    }

    func currentOperations(_ value: Value) throws(QueryError) -> PipelineReport {
        guard case .document(let options) = value else {
            throw QueryError(
                .failedToParse, "$currentOp options must be specified in an object, but found: \(value.type.alias)")
        }
        let known: Set<String> = [
            "allUsers", "idleConnections", "idleCursors", "idleSessions", "localOps", "truncateOps", "targetAllNodes",
        ]
        for option in options {
            guard known.contains(option.name.string) else {
                throw QueryError(.failedToParse, "Unrecognized option '\(option.name)' in $currentOp stage.")
            }
            guard option.value.asBool != nil else {
                throw QueryError(
                    .failedToParse,
                    "The '\(option.name)' parameter of the $currentOp stage must be a boolean value, but found: \(option.type.alias)"
                )
            }
        }
        return .currentOperations(idleConnections: options["idleConnections"]?.asBool ?? false)
    }

    func sessions(_ value: Value, _ name: String) throws(QueryError) -> PipelineReport {
        guard case .document(let options) = value else {
            throw QueryError(
                .typeMismatch, "\(name) options must be specified in an object, but found: \(value.type.alias)")
        }
        for option in options {
            switch option.name {
            case "allUsers":
                guard option.value.asBool != nil else {
                    throw QueryError(
                        .typeMismatch,
                        "BSON field '\(name).allUsers' is the wrong type '\(option.type.alias)', expected type 'bool'")
                }
            case "users":
                // There are no users, so no session is theirs; to list all instead would be wrong.
                throw QueryError(.notImplemented, "'users' of \(name) is not supported: there are no users")
            case let option: throw QueryError(.unknownField, "BSON field '\(name).\(option)' is an unknown field.")
            }
        }
        return .sessions(isLocal: name == "$listLocalSessions")
    }
}
