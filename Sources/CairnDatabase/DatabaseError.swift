import CairnStorage

/// What keeps a replica's database from doing its work, as opposed to what is wrong with a request.
///
/// A request that cannot be carried out gets a ``GroupFailure``. This error means that the replica itself is in trouble:
/// its tablet cannot be read or written, or the bytes that it was given to apply are not what a leader writes.
public struct DatabaseError: Error, Sendable, CustomStringConvertible {
    /// What the caller can do about it.
    public enum Code: Hashable, Sendable {
        /// The tablet failed; ``DatabaseError/storage`` says how. The replica must stop applying.
        case storage
        /// Bytes that were committed or stored do not decode. The replica must stop applying.
        case corruption
        /// Bytes from a peer or a caller do not decode. Nothing was changed.
        case malformed
    }

    public let code: Code
    public let message: String
    /// What the engine said, when it was the engine.
    public let storage: StorageError?

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
        self.storage = nil
    }

    public init(_ storage: StorageError) {
        self.code = .storage
        self.message = "\(storage)"
        self.storage = storage
    }

    public var description: String { "\(code): \(message)" }
}
