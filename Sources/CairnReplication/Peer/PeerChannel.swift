/// The ordered streams between two nodes.
///
/// Each keeps its own order and none waits for another, so that a snapshot of gigabytes never delays a heartbeat.
public enum PeerChannel: UInt8, Hashable, Sendable, CaseIterable {
    /// Votes, appends, heartbeats and their answers: small, and late means an election.
    case raft = 0
    /// Snapshot chunks and their acknowledgements: large, and late means only late.
    case bulk = 1
}
