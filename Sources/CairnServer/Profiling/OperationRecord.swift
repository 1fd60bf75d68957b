import CairnBSON
import CairnSharding
import CairnWire

/// An operation as `system.profile` and the log of slow operations show it, with MongoDB's names for its parts.
enum OperationRecord {
    /// Bytes of a command that are shown; of a longer one the beginning.
    static let commandBytesMax = 32 << 10

    /// - Parameters:
    ///   - command: the command's own name, whatever spelling the client used.
    ///   - planSummary: how the documents were found, where that is known.
    static func make(
        _ request: ClientRequest, command: String, reply: Document, on connection: ClientConnection,
        milliseconds: Int64,
        endedAt: Int64, planSummary: String?
    ) -> Document {
        var record = DocumentBuilder()
        record.append("op", kind(of: command))
        record.append("ns", request.recordedNamespace(command))
        record.append("command", shown(request, command))
        let cursor = reply["cursor"]?.asDocument
        if let id = cursor?["id"]?.int64Exactly, id != 0 { record.append("cursorid", id) }
        appendCounts(command, reply, cursor, to: &record)
        record.append("numYield", Int32(0))
        record.append("responseLength", Int32(clamping: reply.byteCount))
        record.append("protocol", "op_msg")
        record.append("millis", Value(milliseconds))
        if let planSummary { record.append("planSummary", planSummary) }
        if reply["ok"]?.isTruthy != true {
            record.append("ok", Int32(0))
            record.append("errMsg", reply["errmsg"] ?? .null)
            record.append("errName", reply["codeName"] ?? .null)
            record.append("errCode", reply["code"] ?? .null)
        }
        record.append("ts", .date(milliseconds: endedAt))
        record.append("client", String(connection.remote.prefix { $0 != ":" }))
        if let name = connection.applicationName { record.append("appName", name) }
        record.append("allUsers", BSONArray())
        record.append("user", "")
        return record.finish()
    }

    /// What the profiler calls the command.
    static func kind(of command: String) -> String {
        switch command {
        case "find": "query"
        case "insert", "update": command
        case "delete": "remove"
        case "getMore": "getmore"
        default: "command"
        }
    }

    private static func appendCounts(
        _ command: String, _ reply: Document, _ cursor: Document?, to record: inout DocumentBuilder
    ) {
        if let batch = (cursor?["firstBatch"] ?? cursor?["nextBatch"])?.asArray {
            record.append("nreturned", Int32(clamping: batch.reduce(0) { count, _ in count + 1 }))
        }
        guard let count = reply["n"] else { return }
        switch command {
        case "insert": record.append("ninserted", count)
        case "delete": record.append("ndeleted", count)
        case "update":
            record.append("nMatched", count)
            record.append("nModified", reply["nModified"] ?? 0)
            if let upserted = reply["upserted"]?.asArray {
                record.append("nUpsert", Int32(clamping: upserted.reduce(0) { count, _ in count + 1 }))
            }
        default: break
        }
    }

    /// The command without what would fill a profile. A write of one statement is shown as that statement, as MongoDB does.
    private static func shown(_ request: ClientRequest, _ command: String) -> Document {
        var body = request.body
        for sequence in request.sequences {
            let bytes = sequence.documents.reduce(0) { $0 + $1.byteCount }
            guard bytes + body.byteCount <= commandBytesMax else { continue }
            body.append(sequence.name, .array(BSONArray(sequence.documents.map { .document($0) })))
        }
        if command == "update" || command == "delete",
            let statements = body[command + "s"]?.asArray, let only = statements[0]?.asDocument, statements[1] == nil
        {
            body = only
        }
        guard body.byteCount > commandBytesMax else { return body }
        var shown: Document = ["$truncated": .string(BSONString(String("\(body)".prefix(1_000))))]
        if let comment = body["comment"], comment.encodedBytes.count < 1_000 { shown.append("comment", comment) }
        return shown
    }
}

extension ClientRequest {
    /// `database.collection`, or `database.$cmd` for a command that is about no collection.
    func recordedNamespace(_ command: String) -> String {
        if command == "getMore", let collection = body["collection"]?.stringValue { return "\(database).\(collection)" }
        if command == "explain", let inner = body.first?.value.asDocument?.first?.value.stringValue {
            return "\(database).\(inner)"
        }
        return namespace ?? "\(database).$cmd"
    }
}

/// The short form in which logs and profiles say how documents were found: `COLLSCAN`, `IXSCAN { a: 1 }`.
enum PlanSummary {
    /// The accesses of an answer of `explain`, each once; nil when it has none.
    static func text(of explanation: Document) -> String? {
        guard let planner = explanation["queryPlanner"]?.asDocument else { return nil }
        var found: [String] = []
        collect(planner, into: &found, depth: 0)
        return found.isEmpty ? nil : found.joined(separator: ", ")
    }

    /// Plans are as deep as their stages; what is deeper is not one of ours.
    private static let depthMax = 32

    private static func collect(_ document: Document, into found: inout [String], depth: Int) {
        guard depth < depthMax else { return }
        switch document["stage"]?.stringValue {
        case let stage? where ["COLLSCAN", "IDHACK", "EOF"].contains(stage): add(stage, to: &found)
        case "IXSCAN"?:
            let key = document["keyPattern"]?.asDocument ?? Document()
            let parts = key.map { element -> String in
                "\(element.name): \(element.value.stringValue.map { "\"\($0)\"" } ?? number(element.value))"
            }
            add("IXSCAN { \(parts.joined(separator: ", ")) }", to: &found)
        default: break
        }
        for name in ["winningPlan", "inputStage"] {
            if let inner = document[name]?.asDocument { collect(inner, into: &found, depth: depth + 1) }
        }
        for name in ["inputStages", "shards"] {
            for case .document(let inner) in document[name]?.asArray ?? [] {
                collect(inner, into: &found, depth: depth + 1)
            }
        }
    }

    private static func number(_ value: Value) -> String { value.int64Exactly.map { "\($0)" } ?? "\(value)" }

    private static func add(_ text: String, to found: inout [String]) {
        if !found.contains(text) { found.append(text) }
    }
}
