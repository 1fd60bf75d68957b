/// What went wrong at the door to the disk, and where.
///
/// Every error of this module is one of these: it names the file and, where one is known, the first bad byte, so that an
/// operator can look at the place with `cairn inspect`.
public struct FileError: Error, Hashable, Sendable {
    /// What the caller can do about it, which is all that a `switch` should ask.
    public enum Code: String, Hashable, Sendable {
        /// The file or directory does not exist.
        case notFound
        /// The name is taken.
        case exists
        /// The device or quota is full; the same call may succeed later.
        case outOfSpace
        /// The device failed, or the system refused. After a failed sync nothing that was unsynced can be trusted.
        case io
        /// The bytes are not what was written: damage, or a good block in the wrong place.
        case corruption
        /// Another process, or another part of this one, holds the lock.
        case locked
        /// The file ends before the bytes that were asked for.
        case truncated
        /// A format, version or codec that this program does not know.
        case unsupported
        /// The bytes are locked with a key that is not at hand: no master key, another one, or a data key that is missing.
        case wrongKey
        /// A length or size over the limit that the caller gave, found before any memory was taken for it.
        case tooLarge
    }

    /// The operation that failed.
    public enum Operation: String, Hashable, Sendable, CaseIterable {
        case create, open, read, write, synchronize, truncate, close, rename, link, remove, list, size
        case createDirectory, synchronizeDirectory, lock, freeSpace, decode
    }

    public var code: Code
    public var operation: Operation
    public var path: String
    /// The first bad byte, counted from the start of the file, when one is known.
    public var offset: UInt64?
    /// The system's error number, when the system gave one.
    public var errno: Int32?
    /// What was expected or found, in words.
    public var reason: String

    public init(
        _ code: Code, _ operation: Operation, path: String, offset: UInt64? = nil, errno: Int32? = nil,
        reason: String = ""
    ) {
        self.code = code
        self.operation = operation
        self.path = path
        self.offset = offset
        self.errno = errno
        self.reason = reason
    }
}

extension FileError: CustomStringConvertible {
    public var description: String {
        var text = "\(operation.rawValue) \(path)"
        if let offset { text += " at offset \(offset)" }
        text += ": \(code.rawValue)"
        if !reason.isEmpty { text += " (\(reason))" }
        return text
    }
}
