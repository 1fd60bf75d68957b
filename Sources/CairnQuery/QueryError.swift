import CairnBSON

/// What a client is told when a command cannot be carried out: MongoDB's code, a sentence, and sometimes fields of
/// their own (`keyPattern` and `keyValue` of a duplicate key, `errInfo` of a failed validation).
///
/// It is the one error type from the query language up to the wire; modules below have their own and are wrapped
/// where they surface.
public struct QueryError: Error, Hashable, Sendable, CustomStringConvertible {
    public let code: ErrorCode
    public let message: String
    /// Fields that the reply carries beside `code`, `codeName` and `errmsg`.
    public let details: Document?

    public init(_ code: ErrorCode, _ message: String, details: Document? = nil) {
        self.code = code
        self.message = message
        self.details = details
    }

    public init(code: ErrorCode, message: String, details: Document? = nil) {
        self.init(code, message, details: details)
    }

    public var description: String { "\(code.codeName) (\(code.rawValue)): \(message)" }
}
