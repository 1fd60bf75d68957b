import CairnBSON
import CairnQuery

/// When a fail point acts: how many of the commands that it could meet it lets pass, and how many it then hits.
struct FailPointMode: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case off, alwaysOn
        /// The next so many, then never again.
        case times(Int64)
        /// All but the next so many.
        case skip(Int64)
        case probability(Double)
    }
    private(set) var kind: Kind

    init(_ kind: Kind) { self.kind = kind }

    /// Reads `mode` of `configureFailPoint`.
    init(parsing value: Value?) throws(QueryError) {
        switch value {
        case .string(let name)?:
            switch name.string {
            case "off": kind = .off
            case "alwaysOn": kind = .alwaysOn
            case let other: throw QueryError(.badValue, "unknown mode: \(other)")
            }
        case .document(let document)?:
            guard let element = document.first, document.count == 1 else {
                throw QueryError(
                    .badValue, "'mode' must be one of 'off', 'alwaysOn', 'times', 'skip' and 'activationProbability'")
            }
            switch element.name {
            case "times": kind = .times(try Self.count(element))
            case "skip": kind = .skip(try Self.count(element))
            case "activationProbability":
                guard let share = element.value.numericDouble, (0...1).contains(share) else {
                    throw QueryError(.badValue, "activationProbability must be between 0.0 and 1.0")
                }
                kind = .probability(share)
            case let other: throw QueryError(.badValue, "unknown mode: \(other)")
            }
        case nil: throw QueryError(.badValue, "When setting a failpoint, you must supply a 'mode'")
        default: throw QueryError(.typeMismatch, "'mode' must be a string or JSON object")
        }
    }

    private static func count(_ element: Document.Element) throws(QueryError) -> Int64 {
        guard let count = element.value.int64Exactly else {
            throw QueryError(.typeMismatch, "'mode.\(element.name)' must be a whole number")
        }
        guard (0...Int64(Int32.max)).contains(count) else {
            throw QueryError(.badValue, "'mode.\(element.name)' option must be between 0 and \(Int32.max)")
        }
        return count
    }

    /// Counts one command that the fail point could hit.
    ///
    /// - Parameter random: between 0 and 1.
    /// - Returns: whether it does.
    mutating func hits(random: @autoclosure () -> Double) -> Bool {
        switch kind {
        case .off: return false
        case .alwaysOn: return true
        case .times(let left):
            kind = left > 1 ? .times(left - 1) : .off
            return left > 0
        case .skip(let left):
            guard left > 0 else { return true }
            kind = .skip(left - 1)
            return false
        case .probability(let share): return random() < share
        }
    }
}

/// `failCommand`: what is to happen to commands of certain names, so that a driver's or an application's tests see how they take it.
///
/// The shape is that of MongoDB's fail point of this name, which the drivers' specification tests set.
struct CommandFailurePlan: Sendable, Hashable {
    private let commands: Set<String>
    private let applicationName: String?
    private let namespace: String?
    /// How long the command waits before anything else happens to it.
    let blockMilliseconds: Int64
    /// Whether the connection is closed instead of an answer.
    let closesConnection: Bool
    private let errorCode: Int32?
    /// Labels that stand in for those that the server would give; nil leaves them to the server.
    private let errorLabels: [String]?
    /// Added to the answer of a command that was carried out.
    let writeConcernError: Document?

    private static let known: Set<String> = [
        "failCommands", "errorCode", "errorLabels", "closeConnection", "blockConnection", "blockTimeMS", "appName",
        "failInternalCommands", "failLocalClients", "failAllCommands", "writeConcernError", "namespace", "threadName",
        "errorExtraInfo",
    ]

    init(parsing data: Document) throws(QueryError) {
        for element in data where !Self.known.contains(element.name.string) {
            throw QueryError(.badValue, "failCommand does not know '\(element.name)'")
        }
        func value<T>(_ name: String, _ kind: String, _ read: (Value) -> T?) throws(QueryError) -> T? {
            guard let value = data[name] else { return nil }
            guard let read = read(value) else {
                throw QueryError(
                    .typeMismatch,
                    "BSON field 'failCommand.\(name)' is the wrong type '\(value.type.alias)', expected type '\(kind)'")
            }
            return read
        }
        func strings(_ value: Value) -> [String]? {
            guard case .array(let array) = value else { return nil }
            let strings = array.compactMap(\.stringValue)
            return strings.count == array.reduce(0) { count, _ in count + 1 } ? strings : nil
        }
        commands = Set(try value("failCommands", "array", strings) ?? [])
        applicationName = try value("appName", "string", \.stringValue)
        namespace = try value("namespace", "string", \.stringValue)
        errorCode = try value("errorCode", "int") { $0.int64Exactly.flatMap(Int32.init(exactly:)) }
        errorLabels = try value("errorLabels", "array", strings)
        closesConnection = try value("closeConnection", "bool", \.asBool) ?? false
        writeConcernError = try value("writeConcernError", "object", \.asDocument)
        let blocks = try value("blockConnection", "bool", \.asBool) ?? false
        let milliseconds = try value("blockTimeMS", "long", \.int64Exactly)
        guard blocks else {
            blockMilliseconds = 0
            return
        }
        guard let milliseconds, (0...Self.blockMillisecondsMax).contains(milliseconds) else {
            throw QueryError(
                .invalidOptions,
                "must specify 'blockTimeMS' between 0 and \(Self.blockMillisecondsMax) when 'blockConnection' is true")
        }
        blockMilliseconds = milliseconds
    }

    /// The longest that a command may be held up.
    static let blockMillisecondsMax: Int64 = 600_000

    /// - Parameters:
    ///   - names: the command's own name and the one that the client used.
    ///   - namespace: `database.collection`, when the command is about a collection.
    func concerns(_ names: [String], applicationName: String?, namespace: String?) -> Bool {
        guard names.contains(where: commands.contains) else { return false }
        if let wanted = self.applicationName, wanted != applicationName { return false }
        if let wanted = self.namespace, wanted != namespace { return false }
        return true
    }

    /// The error with which the command fails; nil when it is carried out.
    func error(isRetryableWrite: Bool) -> Document? {
        guard let errorCode else { return nil }
        let code = ErrorCode(errorCode)
        var reply: Document = [
            "ok": .double(0), "errmsg": "Failing command via 'failCommand' failpoint", "code": .int32(errorCode),
            "codeName": .string(BSONString(code.codeName)),
        ]
        reply = ErrorLabels.label(reply, isRetryableWrite: isRetryableWrite, instead: errorLabels)
        return reply
    }

    /// The answer of a command that was carried out, with the write concern error that the plan adds.
    func amend(_ reply: Document, isRetryableWrite: Bool) -> Document {
        guard let writeConcernError else { return reply }
        var reply = reply
        reply.set("writeConcernError", .document(writeConcernError))
        return ErrorLabels.label(reply, isRetryableWrite: isRetryableWrite, instead: errorLabels)
    }
}

/// The labels by which drivers know what they may send again.
enum ErrorLabels {
    /// Codes that say that the cluster, and not the write, was at fault.
    private static let retryable: Set<Int32> = [
        6, 7, 89, 91, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
    ]

    /// Gives a failed command's answer the labels that it lacks.
    ///
    /// - Parameter given: labels to set whatever the code; an empty list for none at all.
    static func label(_ reply: Document, isRetryableWrite: Bool, instead given: [String]? = nil) -> Document {
        if let given {
            return given.isEmpty
                ? reply.removing("errorLabels") : reply.replacing("errorLabels", with: .array(list(given)))
        }
        guard isRetryableWrite, reply["errorLabels"] == nil else { return reply }
        let code = reply["code"] ?? reply["writeConcernError"]?.asDocument?["code"]
        guard let code = code?.int64Exactly.flatMap(Int32.init(exactly:)), retryable.contains(code) else {
            return reply
        }
        return reply.appending("errorLabels", .array(list(["RetryableWriteError"])))
    }

    private static func list(_ labels: [String]) -> BSONArray {
        BSONArray(labels.map { .string(BSONString($0)) })
    }
}
