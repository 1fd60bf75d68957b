/// The number of a node (a process with a data directory), the same in every group it takes part in.
public struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
    public var description: String { "n\(rawValue)" }
}

/// A reign: at most one node leads a group in a term, and terms only grow. 0 is before the first election.
public struct Term: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (left: Term, right: Term) -> Bool { left.rawValue < right.rawValue }
    /// The term before the first election.
    @inlinable public static var zero: Term { Term(0) }
    @inlinable public var next: Term { Term(rawValue + 1) }
    public var description: String { "\(rawValue)" }
}

/// A position in a group's log; 0 is the empty place before the first entry.
public struct LogIndex: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (left: LogIndex, right: LogIndex) -> Bool { left.rawValue < right.rawValue }
    /// The place before the first entry.
    @inlinable public static var zero: LogIndex { LogIndex(0) }
    @inlinable public var next: LogIndex { LogIndex(rawValue + 1) }
    /// The place before this one; the place before ``zero`` is ``zero``.
    @inlinable public var previous: LogIndex { LogIndex(rawValue == 0 ? 0 : rawValue - 1) }
    @inlinable public static func + (left: LogIndex, right: Int) -> LogIndex {
        LogIndex(left.rawValue + UInt64(right))
    }
    /// Entries from `right` (exclusive) to `left` (inclusive); negative when `left` comes first.
    @inlinable public static func - (left: LogIndex, right: LogIndex) -> Int {
        Int(Int64(bitPattern: left.rawValue &- right.rawValue))
    }
    public var description: String { "\(rawValue)" }
}

/// The identity of an entry: two entries with the same index and term are the same entry (log matching).
///
/// The order is that of Raft's vote check: the later term is ahead, and within a term the longer log.
public struct LogPosition: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let term: Term
    public let index: LogIndex
    @inlinable public init(term: Term, index: LogIndex) {
        self.term = term
        self.index = index
    }
    /// The place before the first entry.
    @inlinable public static var zero: LogPosition { LogPosition(term: .zero, index: .zero) }
    @inlinable public static func < (left: LogPosition, right: LogPosition) -> Bool {
        left.term == right.term ? left.index < right.index : left.term < right.term
    }
    public var description: String { "\(term)/\(index)" }
}
