import CairnBSON

/// How much a capped collection may hold.
public struct CappedLimits: Hashable, Sendable {
    /// Bytes of its documents.
    public var bytes: Int64
    /// How many documents; nil for any number.
    public var documents: Int64?

    public init(bytes: Int64, documents: Int64? = nil) {
        self.bytes = bytes
        self.documents = documents
    }

    /// Nil when the options are not those of a capped collection.
    init?(options: Document) {
        guard options["capped"]?.isTruthy ?? false, let bytes = options["size"]?.int64Exactly else { return nil }
        self.init(bytes: bytes, documents: options["max"]?.int64Exactly)
    }
}

extension CollectionDescriptor {
    /// The limits of a capped collection; nil for any other.
    public var cappedLimits: CappedLimits? { CappedLimits(options: options) }
}
