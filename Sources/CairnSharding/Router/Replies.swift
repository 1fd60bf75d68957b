import CairnBSON
import CairnQuery

extension Router {
    /// `ok: 0` with what went wrong, as drivers expect it.
    ///
    /// - Parameter retryable: whether a driver may send the write again; it then carries the label that drivers look for.
    public static func errorReply(_ error: QueryError, retryable: Bool = false) -> Document {
        var builder = DocumentBuilder()
        builder.append("ok", .double(0))
        builder.append("errmsg", .string(BSONString(error.message)))
        builder.append("code", .int32(error.code.rawValue))
        builder.append("codeName", .string(BSONString(error.code.codeName)))
        if let details = error.details {
            for element in details { builder.append(element: element) }
        }
        if retryable { builder.append("errorLabels", .array(["RetryableWriteError"])) }
        return builder.finish()
    }

    /// Whether an error says that the cluster, not the request, was at fault, so that a numbered write may be sent again.
    static func isRetryable(_ error: QueryError) -> Bool {
        switch error.code {
        case .hostUnreachable, .networkTimeout, .shutdownInProgress, .primarySteppedDown, .notWritablePrimary: true
        default: false
        }
    }

    /// A `writeErrors` element for one statement.
    static func writeError(_ index: Int, _ error: QueryError) -> Document {
        var builder = DocumentBuilder()
        builder.append("index", .int32(Int32(index)))
        builder.append("code", .int32(error.code.rawValue))
        if let details = error.details {
            for element in details { builder.append(element: element) }
        }
        builder.append("errmsg", .string(BSONString(error.message)))
        return builder.finish()
    }

    /// The same error under the index that the client knows the statement by.
    static func writeError(_ error: Document, at index: Int) -> Document {
        var builder = DocumentBuilder()
        builder.append("index", .int32(Int32(index)))
        for element in error where element.name != "index" { builder.append(element: element) }
        return builder.finish()
    }

    /// A cursor's first or next batch.
    static func cursorReply(id: Int64, namespace: String, batch: [Document], isFirst: Bool) -> Document {
        var builder = DocumentBuilder()
        builder.reserve(batch.reduce(256) { $0 + $1.byteCount + 8 })
        builder.appendDocument("cursor") { cursor in
            cursor.appendArray(isFirst ? "firstBatch" : "nextBatch") { array in
                for document in batch { array.append(document) }
            }
            cursor.append("id", .int64(id))
            cursor.append("ns", .string(BSONString(namespace)))
        }
        builder.append("ok", .double(1))
        return builder.finish()
    }

    static func number(_ count: Int64) -> Value {
        Int32(exactly: count).map(Value.int32) ?? .int64(count)
    }

    static let done: Document = ["ok": 1.0]
}
