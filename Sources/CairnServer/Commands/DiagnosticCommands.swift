import CairnBSON
import CairnQuery
import CairnWire
import SystemPackage

/// What drivers, shells and monitors ask about a server.
enum DiagnosticCommands {
    /// The MongoDB release whose behaviour is followed; it goes with the announced wire version.
    static let compatibleVersion: (major: Int32, minor: Int32, patch: Int32) = (8, 0, 0)
    static var compatibleVersionText: String {
        "\(compatibleVersion.major).\(compatibleVersion.minor).\(compatibleVersion.patch)"
    }

    static var all: [Command] {
        [
            .local("ping", "answers") { _, _ in ["ok": .double(1)] },
            .local("buildInfo", "describes this build") { _, _ in buildInfo },
            .local("getCmdLineOpts", "how the node was started") { _, node in
                let configuration = node.shared.configuration
                let client = configuration.address.client
                return [
                    "argv": .array(BSONArray(node.shared.arguments.map { .string(BSONString($0)) })),
                    "parsed": [
                        "net": ["bindIp": .string(BSONString(client.host)), "port": .int32(Int32(client.port))],
                        "storage": ["dbPath": .string(BSONString(configuration.dataDirectory))],
                        "setParameter": ["enableTestCommands": .bool(configuration.testCommandsEnabled)],
                    ],
                    "ok": .double(1),
                ]
            },
            .local("connectionStatus", "who is logged in on this connection") { invocation, _ in
                var information: Document = ["authenticatedUsers": [], "authenticatedUserRoles": []]
                if invocation.body["showPrivileges"]?.isTruthy == true {
                    information.append("authenticatedUserPrivileges", [])
                }
                return ["authInfo": .document(information), "ok": .double(1)]
            },
            .local("whatsmyuri", "the client's address as the node sees it") { invocation, _ in
                ["you": .string(BSONString(invocation.connection.remote)), "ok": .double(1)]
            },
            .local("hostInfo", "the machine under the node", hostInfo),
            .local("serverStatus", "counters of the node", serverStatus),
            .local("listCommands", "lists the commands", listCommands),
            .local("getLastError", "the outcome of the last write on this connection") { invocation, _ in
                [
                    "n": .int32(invocation.connection.lastWriteCount), "err": .null, "ok": .double(1),
                    "connectionId": .int32(Int32(truncatingIfNeeded: invocation.connection.id.rawValue)),
                ]
            },
            .local("fsync", "begins to write to tables what this node holds in memory") { invocation, node in
                guard invocation.body["lock"]?.isTruthy != true else {
                    throw QueryError(.commandNotSupported, "fsync with lock: writes cannot be held up")
                }
                for loop in node.siblings { await loop.requestFlush() }
                return ["numFiles": .int32(Int32(node.siblings.count)), "ok": .double(1)]
            },
        ]
    }

    private static var buildInfo: Document {
        [
            "version": .string(BSONString(compatibleVersionText)),
            "versionArray": [
                .int32(compatibleVersion.major), .int32(compatibleVersion.minor), .int32(compatibleVersion.patch),
                .int32(0),
            ],
            "modules": ["cairn"], "cairnVersion": .string(BSONString(CairnVersion.current)),
            "gitVersion": "", "javascriptEngine": "none", "bits": .int32(64),
            "debug": .bool(_isDebugAssertConfiguration()),
            "maxBsonObjectSize": .int32(Int32(WireLimits.documentBytesMax)),
            "storageEngines": ["cairn"], "ok": .double(1),
        ]
    }

    private static func hostInfo(_ invocation: Invocation, _ node: isolated NodeLoop) -> Document {
        let machine = MachineFacts.current
        return [
            "system": [
                "currentTime": .date(milliseconds: node.clock.wallMilliseconds),
                "hostname": .string(BSONString(machine.hostName)), "cpuAddrSize": .int32(64),
                "memSizeMB": .int64(Int64(machine.memoryBytes >> 20)), "numCores": .int32(Int32(machine.cores)),
                "cpuArch": .string(BSONString(machine.architecture)), "numaEnabled": .bool(false),
            ],
            "os": [
                "type": "Linux", "name": .string(BSONString(machine.system)),
                "version": .string(BSONString(machine.release)),
            ],
            "extra": [:], "ok": .double(1),
        ]
    }

    private static func serverStatus(_ invocation: Invocation, _ node: isolated NodeLoop) -> Document {
        let configuration = node.shared.configuration
        let memory = MachineFacts.residentBytes()
        let connections = node.shared.connectionCount
        let uptime = node.clock.nanoseconds - node.shared.startedAtNanoseconds
        return [
            "host": .string(BSONString(configuration.address.client.description)),
            "version": .string(BSONString(compatibleVersionText)), "process": "cairn",
            "pid": .int64(Int64(MachineFacts.processID)), "uptime": .double(Double(uptime / 1_000_000_000)),
            "uptimeMillis": .int64(Int64(uptime / 1_000_000)),
            "localTime": .date(milliseconds: node.clock.wallMilliseconds),
            "connections": [
                "current": .int32(Int32(connections.open)),
                "available": .int32(Int32(max(configuration.connectionsMax - connections.open, 0))),
                "totalCreated": .int64(Int64(connections.everOpened)),
            ],
            "opcounters": .document(node.shared.counters.document),
            "mem": ["bits": .int32(64), "resident": .int64(Int64(memory >> 20)), "supported": .bool(true)],
            "ok": .double(1),
        ]
    }

    private static func listCommands(_ invocation: Invocation, _ node: isolated NodeLoop) -> Document {
        var commands = DocumentBuilder()
        for command in node.shared.commands.commands.sorted(by: { $0.name < $1.name }) {
            commands.append(command.name, ["help": .string(BSONString(command.help))])
        }
        return ["commands": .document(commands.finish()), "ok": .double(1)]
    }
}

/// The release of Cairn itself.
public enum CairnVersion {
    public static let current = "0.1.0"
}
