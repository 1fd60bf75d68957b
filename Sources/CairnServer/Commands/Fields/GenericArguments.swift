import CairnBSON
import CairnQuery

/// The arguments that every command takes, whatever it does: sessions, concerns, the Stable API.
struct GenericArguments: Sendable {
    /// All that may stand in any command beside its own fields.
    static let names: Set<BSONString> = Set(kinds.keys).union([
        "comment", "help", "$readPreference", "$queryOptions", "$audit", "$client", "$configServerState",
        "$oplogQueryData",
        "$replData", "maxTimeMS", "maxTimeMSOpOnly",
    ])

    /// Those whose type is looked at, and how messages name them.
    private static let kinds: [BSONString: CommandField] = [
        "$db": CommandField("OP_MSG.$db", .string), "lsid": CommandField("OperationSessionInfo.lsid", .object),
        "$clusterTime": CommandField("$clusterTime", .object), "$configTime": CommandField("$configTime"),
        "$topologyTime": CommandField("$topologyTime"),
        "txnNumber": CommandField("OperationSessionInfo.txnNumber", .number),
        "autocommit": CommandField("OperationSessionInfo.autocommit", .bool),
        "startTransaction": CommandField("OperationSessionInfo.startTransaction", .bool),
        "readConcern": CommandField("readConcern"), "writeConcern": CommandField("writeConcern"),
        "apiVersion": CommandField("APIParametersFromClient.apiVersion", .string),
        "apiStrict": CommandField("APIParametersFromClient.apiStrict", .bool),
        "apiDeprecationErrors": CommandField("APIParametersFromClient.apiDeprecationErrors", .bool),
    ]

    private(set) var isStrict = false
    private(set) var wantsHelp = false
    private(set) var writeConcern: WriteConcern?

    /// - Throws: what MongoDB says to an argument of the wrong type or value.
    init(_ body: Document) throws(QueryError) {
        var apiVersion: String?
        var namesAPI = false
        var isFirst = true
        for element in body {
            if isFirst {
                isFirst = false
                continue
            }
            let name = element.name
            if let field = Self.kinds[name], !field.kind.accepts(element.type) {
                throw field.kind.refusal(of: element.type, in: field.name)
            }
            switch name {
            case "apiVersion": apiVersion = element.value.stringValue
            case "apiStrict":
                namesAPI = true
                isStrict = element.value.isTruthy
            case "apiDeprecationErrors": namesAPI = true
            case "help": wantsHelp = element.value.asBool == true
            case "readConcern": try Self.checkReadConcern(element.value)
            case "writeConcern": writeConcern = try WriteConcern(element.value)
            case "maxTimeMS", "maxTimeMSOpOnly": try Self.checkMilliseconds(element.value, name.string)
            default: break
            }
        }
        if namesAPI, apiVersion == nil {
            throw QueryError(
                ErrorCode(4_886_600), "Provided apiStrict and/or apiDeprecationErrors without passing apiVersion")
        }
        if let apiVersion, apiVersion != "1" { throw QueryError(.apiVersionError, "API version must be \"1\"") }
    }

    /// Refuses what the Stable API does not have, when the client wants nothing else.
    ///
    /// - Throws: code 323 (`APIStrictError`).
    func checkStability(of command: String, _ fields: CommandFields?) throws(QueryError) {
        guard isStrict, fields?.isStable != true else { return }
        throw QueryError(
            .apiStrictError,
            "Provided apiStrict:true, but the command \(command) is not in API Version 1. Information on supported commands and "
                + "migrations in API Version 1 can be found at https://dochub.mongodb.org/core/manual-versioned-api")
    }

    private static func checkReadConcern(_ value: Value) throws(QueryError) {
        if value.isNullish { return }
        guard case .document(let concern) = value else {
            throw QueryError(.failedToParse, "readConcern field should be an object")
        }
        for element in concern {
            switch element.name {
            case "level":
                guard case .string(let level) = element.value else {
                    throw QueryError(
                        .typeMismatch,
                        "\"level\" had the wrong type. Expected string, found \(element.value.type.alias)")
                }
                switch level.string {
                // Each read sees all that was acknowledged before, which is at least what any of these asks for.
                case "local", "available", "majority", "linearizable": break
                case "snapshot":
                    throw QueryError(
                        .invalidOptions,
                        "readConcern level 'snapshot' is not supported by this version of Cairn: it has no transactions, and "
                            + "reads at a time in the past are not kept")
                default:
                    throw QueryError(
                        .failedToParse,
                        "readConcern.level must be either 'local', 'majority', 'linearizable', 'available', or "
                            + "'snapshot'")
                }
            case "afterClusterTime":
                guard element.value.type == .timestamp else {
                    throw QueryError(
                        .typeMismatch,
                        "\"afterClusterTime\" had the wrong type. Expected timestamp, found \(element.value.type.alias)"
                    )
                }
            case "atClusterTime":
                throw QueryError(
                    .invalidOptions, "readConcern.atClusterTime is not supported by this version of Cairn")
            case "provenance": break
            case let name:
                throw QueryError(.invalidOptions, "Unrecognized option in readConcern: \(name)")
            }
        }
    }

    private static func checkMilliseconds(_ value: Value, _ name: String) throws(QueryError) {
        if value.isNullish { return }
        guard let number = value.numericDouble else { throw QueryError(.badValue, "\(name) must be a number") }
        guard number == number.rounded() else { throw QueryError(.badValue, "\(name) has non-integral value") }
        guard (0...Double(Int32.max)).contains(number) else {
            throw QueryError(
                .badValue, "\(value) value for \(name) is out of range [0, \(Int32.max)]")
        }
    }
}

/// How far a write is to have gone before it is acknowledged. Cairn acknowledges what a majority of the replicas has on disk,
/// so this only matters where it asks for what cannot be had.
struct WriteConcern: Sendable {
    private enum Wanted: Sendable {
        case nodes(Int64)
        case mode(String)
        case tags
    }
    private var wanted: Wanted?

    /// - Throws: what MongoDB says to a concern that cannot be read.
    init(_ value: Value) throws(QueryError) {
        if value.isNullish { return }
        guard case .document(let concern) = value else {
            throw QueryError(.failedToParse, "writeConcern field should be an object")
        }
        for element in concern {
            let name = element.name.string
            let path = "WriteConcernOptions.\(name)"
            switch name {
            case "w":
                switch element.value {
                case .null, .undefined: break
                case .string(let mode): wanted = .mode(mode.string)
                case .document: wanted = .tags
                case let number where number.isNumber:
                    guard let nodes = number.numericDouble, (0...50).contains(nodes) else {
                        throw QueryError(
                            .failedToParse,
                            "w has to be a non-negative number and not greater than 50; found: \(number)")
                    }
                    wanted = .nodes(Int64(nodes))
                case let other:
                    throw QueryError(
                        .failedToParse, "w has to be a number, string, or object; found: \(other.type.alias)")
                }
            case "j", "fsync":
                let kind = CommandField.Kind.flag
                guard kind.accepts(element.type) else { throw kind.refusal(of: element.type, in: path) }
            case "wtimeout", "getLastError", "wElectionId", "wOpTime", "provenance": break
            default: throw CommandFields.unknown(path)
            }
        }
    }

    /// What a write that was carried out has to add to its answer, because it was asked for more than there is.
    ///
    /// - Parameter replicas: how many copies each document has.
    func shortfall(replicas: Int) -> Document? {
        switch wanted {
        case .nodes(let nodes) where nodes > replicas:
            Self.shortfall(.unsatisfiableWriteConcern, "Not enough data-bearing nodes")
        case .mode(let mode) where mode != "majority":
            Self.shortfall(
                .unknownReplWriteConcern,
                "No write concern mode named '\(mode)' found in replica set configuration")
        case .tags:
            Self.shortfall(
                .unknownReplWriteConcern, "a write concern of tags cannot be satisfied: nodes have no tags")
        default: nil
        }
    }

    private static func shortfall(_ code: ErrorCode, _ reason: String) -> Document {
        [
            "code": .int32(code.rawValue), "codeName": .string(BSONString(code.codeName)),
            "errmsg": .string(BSONString(reason)),
        ]
    }
}
