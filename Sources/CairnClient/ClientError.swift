public import CairnBSON

/// What went wrong with a command, as far as a caller can act on it.
public struct ClientError: Error, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// The address cannot be read.
        case badAddress
        /// No node could be reached.
        case unreachable
        /// The cluster answered with an error; ``ClientError/serverCode`` says which.
        case server
        /// An answer was not what the protocol says.
        case malformedAnswer
        /// A value could not be encoded, or a document not decoded.
        case coding
        /// The client was closed.
        case closed
    }

    public let code: Code
    public let message: String
    /// MongoDB's number for the error (11000 for a duplicate key), when the cluster gave one.
    public let serverCode: Int32?
    /// The whole reply with the error in it.
    public let reply: Document?

    public init(_ code: Code, _ message: String, serverCode: Int32? = nil, reply: Document? = nil) {
        self.code = code
        self.message = message
        self.serverCode = serverCode
        self.reply = reply
    }

    public var description: String { serverCode.map { "\(message) (\($0))" } ?? message }

    /// The error in a reply, if there is one: of the command, or the first of its statements.
    static func inside(_ reply: Document) -> ClientError? {
        if reply["ok"]?.numericDouble == 1 {
            guard case .array(let errors)? = reply["writeErrors"], case .document(let first)? = errors[0] else {
                return nil
            }
            return ClientError(
                .server, first["errmsg"]?.stringValue ?? "a write failed",
                serverCode: first["code"]?.int64Exactly.map { Int32(truncatingIfNeeded: $0) },
                reply: reply)
        }
        return ClientError(
            .server, reply["errmsg"]?.stringValue ?? "the command failed",
            serverCode: reply["code"]?.int64Exactly.map { Int32(truncatingIfNeeded: $0) }, reply: reply)
    }
}
