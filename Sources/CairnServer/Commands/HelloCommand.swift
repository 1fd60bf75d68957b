import CairnBSON
import CairnQuery
import CairnWire

/// `hello` and its older names: how a driver learns what it talks to. Every node answers as a router does, so a
/// driver treats all of them alike and losing one loses nothing.
///
/// With `topologyVersion` and `maxAwaitTimeMS` the answer waits until there is something new to say. That is once in a node's
/// life: when it begins to shut down, `hello` fails, and drivers send nothing more.
enum HelloCommand {
    static var all: [Command] {
        [
            .local("hello", "describes this node") { try await hello($0, $1, primaryField: "isWritablePrimary") },
            .local("isMaster", "describes this node (the name that drivers open with)") {
                try await hello($0, $1, primaryField: "ismaster")
            },
        ]
    }

    private static func hello(
        _ invocation: Invocation, _ node: isolated NodeLoop, primaryField: String
    ) async throws -> Document {
        let connection = invocation.connection
        if case .document(let client)? = invocation.body["client"], connection.clientMetadata == nil {
            guard client.byteCount <= 512 else {
                throw QueryError(
                    code: .badValue,
                    message: "The client metadata document must be less than or equal to 512 bytes")
            }
            connection.clientMetadata = client
        }
        if case .array(let offered)? = invocation.body["compression"] {
            connection.compressors = offered.compactMap {
                if case .string(let name) = $0 { Compressor(name: name.string) } else { nil }
            }
        }
        let topology = node.shared.topology
        if let awaited = try AwaitedTopology(invocation.body), awaited.known.processID == topology.version.processID {
            let counter = topology.version.counter
            guard awaited.known.counter <= counter else {
                throw QueryError(
                    ErrorCode(51_764),
                    "Received a topology version with counter: \(awaited.known.counter) which is greater than the mongos "
                        + "topology version counter: \(counter)")
            }
            await node.awaitTopologyChange(
                from: awaited.known, milliseconds: awaited.milliseconds, on: connection)
        }
        guard !topology.isShuttingDown else {
            throw QueryError(
                .shutdownInProgress, "The server is in quiesce mode and will shut down",
                details: ["topologyVersion": topology.version.value])
        }
        var reply = DocumentBuilder()
        reply.append(primaryField, .bool(true))
        if invocation.body["helloOk"]?.isTruthy == true { reply.append("helloOk", .bool(true)) }
        reply.append("msg", "isdbgrid")
        reply.append("topologyVersion", topology.version.value)
        reply.append("maxBsonObjectSize", .int32(Int32(WireLimits.documentBytesMax)))
        reply.append("maxMessageSizeBytes", .int32(Int32(WireLimits.messageBytesMax)))
        reply.append("maxWriteBatchSize", .int32(Int32(WireLimits.writeBatchCountMax)))
        reply.append("localTime", .date(milliseconds: node.clock.wallMilliseconds))
        reply.append("logicalSessionTimeoutMinutes", .int32(30))
        reply.append("connectionId", .int32(Int32(truncatingIfNeeded: connection.id.rawValue)))
        reply.append("maxWireVersion", .int32(WireLimits.wireVersions.upperBound))
        reply.append("minWireVersion", .int32(WireLimits.wireVersions.lowerBound))
        if !connection.compressors.isEmpty {
            reply.append("compression", .array(BSONArray(connection.compressors.map { .string(BSONString($0.name)) })))
        }
        reply.append("ok", .double(1))
        return reply.finish()
    }
}
