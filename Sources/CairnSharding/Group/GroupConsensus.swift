import CairnRaft
import CairnReplication

/// What a ``DataGroup`` needs of the host of its replica; ``GroupHost`` has it.
public protocol GroupConsensus: AnyObject {
    /// Appends an entry to the group's log. What becomes of it is known when it is applied, or when the role is lost.
    func propose(_ payload: [UInt8], in group: GroupID) throws(GroupProposalError) -> LogPosition

    /// Batches of the node's log, of all groups, that are on their way to the disk.
    var logBatchesInFlight: Int { get }

    /// Which writes may be taken, as far as the nodes' disk space goes.
    func room(for group: GroupID) -> WriteRoom

    /// The index that a read must see, when this node leads under a valid lease; nil otherwise.
    func leaseReadIndex(_ group: GroupID, now: UInt64) -> LogIndex?

    /// Confirms by a round of messages that this node leads, and gives the index that a read must see.
    func readIndex(_ group: GroupID, completion: @escaping (Result<LogIndex, GroupReadError>) -> Void)

    /// Who takes part in the group, as its newest configuration here says; nil when the group is not here.
    func configuration(of group: GroupID) -> Configuration?

    /// Whom this replica believes to lead.
    func leader(of group: GroupID) -> NodeID?

    /// Notes that a request for the group has come here, where it is not led.
    func seekLeader(of group: GroupID)
}

extension GroupConsensus {
    /// Where groups do not fall silent there is nothing to do.
    public func seekLeader(of group: GroupID) {}
}

extension GroupHost: GroupConsensus {}
