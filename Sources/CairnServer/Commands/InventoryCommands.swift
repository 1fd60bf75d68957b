import CairnBSON
import CairnQuery

/// What monitors and shells ask about users, logs and the use of collections.
enum InventoryCommands {
    static var all: [Command] {
        [
            .local("usersInfo", "lists users, of which there are none", usersInfo),
            .local("getLog", "the last lines of the node's log", getLog),
            .local("logRotate", "begins a new log file, where the node writes one") { _, _ in
                // The node writes to standard error, and whoever collects that decides about files.
                ["ok": .double(1)]
            },
            .local("top", "how often, and for how long, collections were used over this node", top),
        ]
    }

    private static func usersInfo(_ invocation: Invocation, _ node: isolated NodeLoop) throws -> Document {
        func isName(_ value: Value) -> Bool {
            switch value {
            case .string: true
            case .document(let name):
                name["forAllDBs"] != nil || (name["user"]?.stringValue != nil && name["db"]?.stringValue != nil)
            default: false
            }
        }
        let isKnown =
            switch invocation.argument {
            case .array(let names)?: names.allSatisfy(isName)
            case let value?: value.isNumber || isName(value)
            case nil: false
            }
        guard isKnown else { throw QueryError(.badValue, "UserName must be either a string or an object") }
        return ["users": [], "ok": .double(1)]
    }

    private static func getLog(_ invocation: Invocation, _ node: isolated NodeLoop) throws -> Document {
        try requireAdmin(invocation)
        let log = NodeLog.current.lines
        switch invocation.argument?.stringValue {
        case "*"?: return ["names": ["global", "startupWarnings"], "ok": .double(1)]
        case "global"?:
            return [
                "totalLinesWritten": .int32(Int32(clamping: log.written)),
                "log": .array(BSONArray(log.last.map { .string(BSONString($0)) })), "ok": .double(1),
            ]
        case "startupWarnings"?: return ["totalLinesWritten": .int32(0), "log": [], "ok": .double(1)]
        case let name: throw QueryError(.operationFailed, "No log named '\(name ?? "")'")
        }
    }

    private static func top(_ invocation: Invocation, _ node: isolated NodeLoop) async throws -> Document {
        try requireAdmin(invocation)
        var uses = CollectionUses()
        for loop in node.siblings { uses.add(await loop.collectionUses) }
        var totals: Document = ["note": "all times in microseconds"]
        for (namespace, use) in uses.sorted { totals.append(namespace, .document(use.document)) }
        return ["totals": .document(totals), "ok": .double(1)]
    }

    private static func requireAdmin(_ invocation: Invocation) throws(QueryError) {
        guard invocation.database == "admin" else {
            throw QueryError(.unauthorized, "\(invocation.name) may only be run against the admin database.")
        }
    }
}
