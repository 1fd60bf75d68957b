public import CairnRaft

/// What went wrong while hosting a group, and what the caller can do about it.
public struct ReplicationError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// The node has no replica of that group.
        case unknownGroup
        /// The group is hosted already.
        case groupExists
        /// The group's part of the log, or its tablet, contradicts itself; the replica neither votes nor campaigns.
        case damaged
        /// The tablet is behind the first entry that the log still has: an older disk, or a log purged too early.
        case logGap
        /// The state machine refused an entry, a checkpoint or an installation.
        case stateMachine
        /// The state machine found no room for an entry; what it applied before that stays, and the rest is tried again.
        case outOfSpace
        /// The log could not be synced. The node's process must end: nothing that relied on the sync was acknowledged.
        case logFailed
        /// A file of a snapshot could not be read or written.
        case snapshotIO
        /// The configuration given makes no sense.
        case invalidConfiguration
    }

    public let code: Code
    public let group: GroupID?
    public let message: String

    public init(_ code: Code, group: GroupID? = nil, _ message: String) {
        self.code = code
        self.group = group
        self.message = message
    }

    public var description: String {
        "\(code)\(group.map { " in group \($0)" } ?? ""): \(message)"
    }
}

/// Why a proposal was not taken. Nothing was appended, so it may be made again anywhere.
public enum GroupProposalError: Error, Hashable, Sendable {
    /// Ask `leader`, if one is known.
    case notLeader(leader: NodeID?)
    /// The entry could not be replicated; split it.
    case tooLarge(bytes: Int, limit: Int)
    /// Too much is proposed and not yet committed, or the office is being handed over; try again soon.
    case busy
    /// The node's disk is full; nothing is appended until there is room.
    case outOfSpace
    /// The node has no working replica of the group, its disk does not answer, or it is shutting down.
    case unavailable
}

/// Why a linearizable read could not be given its index. Nothing was read.
public enum GroupReadError: Error, Hashable, Sendable {
    /// This replica does not lead, or lost its office before a majority confirmed it.
    case notLeader(leader: NodeID?)
    /// No majority confirmed the leader in time.
    case timedOut
    /// The node has no working replica of the group, its disk does not answer, or it is shutting down.
    case unavailable
}
