/// Names a Raft group, the unit of replication; 0 is the meta group.
///
/// Numbers are given out by the meta group and are never used again, so that a late message or an old log record of a
/// destroyed group cannot be taken for one of its successor.
public struct GroupID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    @inlinable
    public init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Group 0, which holds membership, placement, the shard map and the catalog.
    public static let meta = GroupID(0)

    /// No group: what hosts say to each other about themselves travels under this number.
    public static let node = GroupID(UInt32.max)

    @inlinable
    public static func < (left: GroupID, right: GroupID) -> Bool {
        left.rawValue < right.rawValue
    }

    public var description: String { "g\(rawValue)" }
}
