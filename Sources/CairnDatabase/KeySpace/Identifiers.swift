/// The number that a collection's keys start with, given out once by the catalog and never again.
///
/// Zero is the system's own space (``SystemKey``), so a user's collection starts at 1.
public struct CollectionID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    @inlinable
    public init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// The space of the group's own bookkeeping; no request may name it.
    public static let system = CollectionID(0)

    @inlinable
    public static func < (left: CollectionID, right: CollectionID) -> Bool {
        left.rawValue < right.rawValue
    }

    public var description: String { "\(rawValue)" }
}

/// The number of an index within its collection.
///
/// Zero is the place of the documents themselves, filed under slot and `_id`. Numbers are never used twice in the life of
/// a collection: entries of a dropped index may still be read by a cursor of an older version, and must not pass for
/// entries of a younger index.
public struct IndexID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    @inlinable
    public init(_ rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// The documents themselves.
    public static let records = IndexID(0)

    @inlinable
    public static func < (left: IndexID, right: IndexID) -> Bool {
        left.rawValue < right.rawValue
    }

    public var description: String { "\(rawValue)" }
}
