/// One record of a group's log.
public struct Entry: Hashable, Sendable {
    /// What an entry means to those who apply it.
    public enum Kind: UInt8, Hashable, Sendable {
        /// Bytes for the state machine.
        case normal = 0
        /// A new leader's first entry, without bytes: its commit makes the tail before it committed.
        case empty = 1
        /// A ``Configuration``, which acts from the moment the entry is in a log.
        case configuration = 2
    }

    public let term: Term
    public let index: LogIndex
    public let kind: Kind
    /// Shared, never changed. A slice keeps the whole array it was cut from alive.
    public let payload: ArraySlice<UInt8>

    @inlinable public init(term: Term, index: LogIndex, kind: Kind, payload: ArraySlice<UInt8>) {
        self.term = term
        self.index = index
        self.kind = kind
        self.payload = payload
    }

    @inlinable public var position: LogPosition { LogPosition(term: term, index: index) }

    /// Bytes that this entry counts for in windows and limits: its payload and a flat charge for the rest.
    @inlinable public var chargedBytes: Int { payload.count + 32 }
}

/// What a replica must remember over a crash beside its log.
///
/// `term` and `vote` bind: no message that rests on them leaves before they are durable. `commit` is a hint that
/// saves work after a restart; it may lag behind the truth but never runs ahead of the log on the same disk.
public struct HardState: Hashable, Sendable {
    public var term: Term
    /// Whom this node voted for in `term`.
    public var vote: NodeID?
    public var commit: LogIndex

    public init(term: Term = .zero, vote: NodeID? = nil, commit: LogIndex = .zero) {
        self.term = term
        self.vote = vote
        self.commit = commit
    }
}

/// What a snapshot stands for: the state after every entry up to and including `position`.
public struct SnapshotMetadata: Hashable, Sendable {
    public let position: LogPosition
    /// The configuration in force at `position`.
    public let configuration: Configuration

    public init(position: LogPosition, configuration: Configuration) {
        self.position = position
        self.configuration = configuration
    }
}
