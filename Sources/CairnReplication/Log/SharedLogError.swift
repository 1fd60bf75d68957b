import CairnFiles

/// What went wrong in the log that all groups of a node share.
public struct SharedLogError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// A sync failed. What the disk holds since the last one is unknown for good: end the process.
        case syncFailed
        /// A write failed for another reason than lack of room: end the process.
        case writeFailed
        /// There is no room. Nothing is wrong yet: the same append may be repeated once there is.
        case outOfSpace
        /// The log cannot be opened because a part of it that belongs to no single group is damaged or missing.
        case damaged
        /// A record of one group could not be read back.
        case unreadable
        /// Another process has the log open.
        case locked
        /// The disk refused something else.
        case io
        /// The log, or its writer, was closed.
        case closed
    }

    public let code: Code
    /// The file and the place in it, when there is one.
    public let cause: FileError?

    public init(_ code: Code, _ cause: FileError? = nil) {
        self.code = code
        self.cause = cause
    }

    public var description: String {
        let text =
            switch code {
            case .syncFailed: "the shared log could not be synced"
            case .writeFailed: "the shared log could not be written"
            case .outOfSpace: "no room for the shared log"
            case .damaged: "the shared log is damaged"
            case .unreadable: "an entry of the shared log cannot be read"
            case .locked: "the shared log is in use"
            case .io: "the shared log's files"
            case .closed: "the shared log is closed"
            }
        return cause.map { "\(text): \($0)" } ?? text
    }
}

/// What is wrong with one group's part of the log; the other groups are unharmed.
///
/// The replica must not campaign or vote with what is left. ``GroupLog/reset(to:hardState:in:)`` (after a snapshot from
/// a peer) or ``GroupLog/destroy(in:)`` ends it; until then the log remembers it over restarts.
public struct GroupDamage: Hashable, Sendable {
    /// The segment and the first bad byte, as far as they are known.
    public var file: String
    public var offset: UInt64?
    /// Whether the term or the vote may be lost too.
    public var hardStateIsLost: Bool
    public var reason: String
}
