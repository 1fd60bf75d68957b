public struct RaftCore {
    public init(
        id: NodeID, configuration: Configuration, configurationIndex: LogIndex = .zero, hardState: HardState,
        storage: any RaftLogStorage, applied: LogIndex, options: RaftOptions, seed: UInt64, now: UInt64
    ) throws(RaftLogError) { fatalError() }
    public mutating func tick(now: UInt64) {}
    public mutating func step(_ message: Message, now: UInt64) {}
    public mutating func campaign(now: UInt64) {}
    public mutating func propose(_ payload: ArraySlice<UInt8>) throws(ProposalError) -> LogPosition { fatalError() }
    public mutating func propose(
        _ payloads: [ArraySlice<UInt8>]
    ) throws(ProposalError) -> (term: Term, indexes: ClosedRange<LogIndex>) { fatalError() }
    public mutating func changeMembership(
        voters: [NodeID], learners: [NodeID]
    ) throws(ProposalError) -> LogPosition { fatalError() }
    public mutating func requestRead(context: UInt64) throws(ReadError) {}
    public func leaseValid(now: UInt64) -> Bool { fatalError() }
    public func leaseReadIndex(now: UInt64) -> LogIndex? { fatalError() }
    public mutating func transferLeadership(to target: NodeID?) throws(TransferError) -> NodeID { fatalError() }
    public var hasReady: Bool { fatalError() }
    public mutating func takeReady() -> Ready { fatalError() }
    public mutating func persisted(_ receipt: PersistReceipt) {}
    public mutating func applied(to index: LogIndex) {}
    public mutating func snapshotInstalled(_ metadata: SnapshotMetadata) {}
    public mutating func snapshotRefused(_ metadata: SnapshotMetadata) {}
    public func snapshotMetadata(at index: LogIndex) -> SnapshotMetadata? { fatalError() }
    public func configuration(at index: LogIndex) -> ConfigurationInForce? { fatalError() }
    public mutating func compacted(through index: LogIndex) {}
    public mutating func reportUnreachable(_ peer: NodeID) {}
    public mutating func reportSnapshot(to peer: NodeID, result: SnapshotResult) {}
    public var status: RaftStatus { fatalError() }
    public var id: NodeID { fatalError() }
    public var role: RaftRole { fatalError() }
    public var term: Term { fatalError() }
    public var leader: NodeID? { fatalError() }
    public var commitIndex: LogIndex { fatalError() }
    public var lastIndex: LogIndex { fatalError() }
}
