import CairnBSON
import CairnQuery
import CairnWire

/// A setting of the node that clients may read by name, and some of them change while it runs.
struct ServerParameter: Sendable {
    let name: String
    let read: @Sendable (isolated NodeLoop) -> Value
    /// Nil for what is fixed when the node starts.
    let write: (@Sendable (Value, isolated NodeLoop) async throws -> Void)?
    /// Whether it can be given when the node starts, in its configuration.
    var isSetAtStartup = true
}

/// `getParameter` and `setParameter`.
enum ServerParameters {
    static let all: [ServerParameter] = [
        ServerParameter(name: "authenticationMechanisms", read: { _ in [] }, write: nil),
        ServerParameter(name: "cursorTimeoutMillis", read: { .int64($0.cursorTimeoutMilliseconds) }) { value, node in
            let milliseconds = try whole(value, "cursorTimeoutMillis", 1...Int64(Int32.max) * 1_000)
            for loop in node.siblings { await loop.setCursorTimeout(milliseconds: milliseconds) }
        },
        ServerParameter(
            name: "enableTestCommands", read: { .bool($0.shared.configuration.testCommandsEnabled) }, write: nil),
        ServerParameter(
            name: "featureCompatibilityVersion",
            read: { _ in
                let version = DiagnosticCommands.compatibleVersion
                return ["version": .string(BSONString("\(version.major).\(version.minor)"))]
            }, write: nil, isSetAtStartup: false),
        stageMemory("internalDocumentSourceGroupMaxMemoryBytes", \.groupBytesMax),
        stageMemory("internalQueryMaxBlockingSortMemoryUsageBytes", \.sortBytesMax),
        ServerParameter(name: "logLevel", read: { _ in .int32(NodeLog.current.verbosity) }) { value, _ in
            NodeLog.current.verbosity = Int32(try whole(value, "logLevel", 0...5))
        },
        ServerParameter(
            name: "maxBsonObjectSize", read: { _ in .int32(Int32(WireLimits.documentBytesMax)) }, write: nil,
            isSetAtStartup: false),
        ServerParameter(
            name: "ttlMonitorSleepSecs", read: { .int32(Int32(clamping: $0.shared.configuration.expirySleepSeconds)) },
            write: nil),
    ]

    /// With much less, what does not fit would go to the disk in more files than can be open.
    private static let stageBytes: ClosedRange<Int64> = 1 << 20...1 << 40

    private static func stageMemory(
        _ name: String, _ limit: any ReferenceWritableKeyPath<StageMemory, Int> & Sendable
    ) -> ServerParameter {
        ServerParameter(
            name: name, read: { .int64(Int64($0.shared.stageMemory[keyPath: limit])) },
            write: { value, node in
                node.shared.stageMemory[keyPath: limit] = Int(try whole(value, name, stageBytes))
            }, isSetAtStartup: false)
    }

    static var commands: [Command] {
        [
            .local("getParameter", "reads parameters of the node", get),
            .local("setParameter", "changes a parameter of the node while it runs", set),
        ]
    }

    private static func get(_ invocation: Invocation, _ node: isolated NodeLoop) throws -> Document {
        try requireAdmin(invocation)
        var wantsAll = invocation.argument?.stringValue == "*"
        var showsDetails = false
        if case .document(let options)? = invocation.argument {
            for element in options {
                let flag = CommandField.Kind.flag
                guard flag.accepts(element.type) else {
                    throw flag.refusal(of: element.type, in: "getParameter.\(element.name)")
                }
                switch element.name {
                case "allParameters": wantsAll = element.value.isTruthy
                case "showDetails": showsDetails = element.value.isTruthy
                default: throw CommandFields.unknown("getParameter.\(element.name)")
                }
            }
        }
        var reply = DocumentBuilder()
        for parameter in all where wantsAll || invocation.body[parameter.name] != nil {
            let value = parameter.read(node)
            if showsDetails {
                reply.append(
                    parameter.name,
                    [
                        "value": value, "settableAtRuntime": .bool(parameter.write != nil),
                        "settableAtStartup": .bool(parameter.isSetAtStartup),
                    ])
            } else {
                reply.append(parameter.name, value)
            }
        }
        guard !reply.isEmpty else { throw QueryError(.invalidOptions, "no option found to get") }
        reply.append("ok", .double(1))
        return reply.finish()
    }

    private static func set(_ invocation: Invocation, _ node: isolated NodeLoop) async throws -> Document {
        try requireAdmin(invocation)
        let given = invocation.body.dropFirst().filter { !GenericArguments.names.contains($0.name) }
        guard !given.isEmpty else {
            throw QueryError(.invalidOptions, "no option found to set, use help:true to see options ")
        }
        // All of them are looked at before any is changed.
        var changes: [(parameter: ServerParameter, value: Value)] = []
        for element in given {
            guard let parameter = all.first(where: { element.isNamed($0.name) }) else {
                throw QueryError(
                    .invalidOptions,
                    "attempted to set unrecognized parameter [\(element.name)], use help:true to see options ")
            }
            guard parameter.write != nil else {
                throw QueryError(.illegalOperation, "not allowed to change [\(element.name)] at runtime")
            }
            changes.append((parameter, element.value))
        }
        let was = changes[0].parameter.read(node)
        for change in changes { try await change.parameter.write?(change.value, node) }
        return ["was": was, "ok": .double(1)]
    }

    private static func requireAdmin(_ invocation: Invocation) throws(QueryError) {
        guard invocation.database == "admin" else {
            throw QueryError(.unauthorized, "\(invocation.name) may only be run against the admin database.")
        }
    }

    private static func whole(
        _ value: Value, _ name: String, _ range: ClosedRange<Int64>
    ) throws(QueryError) -> Int64 {
        guard let number = value.int64Exactly, range.contains(number) else {
            throw QueryError(
                .badValue,
                "Invalid value for parameter \(name): \(value) is not a whole number of \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
        return number
    }
}

extension NodeLoop {
    fileprivate var cursorTimeoutMilliseconds: Int64 {
        Int64(clamping: (router?.options.cursorIdleNanoseconds ?? 0) / 1_000_000)
    }

    fileprivate func setCursorTimeout(milliseconds: Int64) {
        router?.setCursorTimeout(nanoseconds: UInt64(milliseconds) * 1_000_000)
    }
}
