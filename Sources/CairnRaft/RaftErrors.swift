/// Why the core did not take a proposal. Nothing was appended.
public enum ProposalError: Error, Hashable, Sendable {
    /// Ask `leader`, if one is known.
    case notLeader(leader: NodeID?)
    /// Leadership is being handed to another node; the next leader will take it.
    case transferring(to: NodeID)
    /// The entry could not be replicated; split it.
    case entryTooLarge(bytes: Int, limit: Int)
    /// Too much is proposed and not yet committed; try again when some of it is.
    case uncommittedTailFull(bytes: Int, limit: Int)
    /// The leader has not yet committed an entry of its own term.
    case termNotEstablished
    /// A change of configuration, at `index`, is not finished.
    case configurationPending(index: LogIndex)
    /// The configuration asked for makes no sense.
    case invalidConfiguration(reason: String)
    /// A node is too far behind to be made a voter; let it catch up as a learner first.
    case notCaughtUp(node: NodeID, match: LogIndex, needed: LogIndex)
}

/// Why the core did not take a request to read.
public enum ReadError: Error, Hashable, Sendable {
    /// Ask `leader`, if one is known.
    case notLeader(leader: NodeID?)
}

/// Why leadership is not being handed over.
public enum TransferError: Error, Hashable, Sendable {
    case notLeader(leader: NodeID?)
    /// The target is this node, or no voter of this group.
    case notEligible(NodeID)
    /// The target (or, without one, every other voter) has been silent for an election timeout.
    case unreachable(NodeID?)
    /// The target (or, without one, every other voter that answers) would rather not lead.
    case unwilling(NodeID?)
}
