public import CairnRaft

/// Hosts all groups of one event loop.
public final class GroupHost {
    public let node: NodeID
    public var failure: ReplicationError? { fatalError() }
    public var isDrained: Bool { fatalError() }

    init(node: NodeID) {
        self.node = node
    }

    public func add(
        group: GroupID, voters: [NodeID], preferredLeader: NodeID? = nil, stateMachine: any ReplicatedStateMachine
    ) throws(ReplicationError) { fatalError() }
    public func tick(now: UInt64) { fatalError() }
    public func receive(frame: ArraySlice<UInt8>, from sender: NodeID, over channel: PeerChannel, now: UInt64) {
        fatalError()
    }
    public func receive(_ message: PeerMessage, now: UInt64) { fatalError() }
    public func flush() { fatalError() }
    public func propose(_ payload: [UInt8], in group: GroupID) throws(GroupProposalError) -> LogPosition {
        fatalError()
    }
    public func leaseReadIndex(_ group: GroupID, now: UInt64) -> LogIndex? { fatalError() }
    public func readIndex(
        _ group: GroupID, completion: @escaping (Result<LogIndex, GroupReadError>) -> Void
    ) { fatalError() }
    public func leader(of group: GroupID) -> NodeID? { fatalError() }
    public func role(of group: GroupID) -> ReplicaRole? { fatalError() }
    public func appliedIndex(of group: GroupID) -> LogIndex? { fatalError() }
    public func status(of group: GroupID) -> ReplicaStatus? { fatalError() }
    public var groups: [GroupID] { fatalError() }
    public func transferLeadership(_ group: GroupID, to target: NodeID?) throws(ReplicationError) { fatalError() }
    public func beginShutdown() { fatalError() }
}
