/// A replica whose log is lost, in part or altogether, and how it gets back into its group.
///
/// What it had acknowledged and for whom it had voted may be gone, so it must count for nothing that it promised before. It stays
/// silent, but for asking to be taken out. The leader removes it by an ordinary change of membership, which a majority without
/// it commits, and tells it so. From then on it is a stranger: it forgets what is left, and joins as a learner like any new node.
///
/// Why that is safe though the node keeps its number: a candidate that still counts it as a voter does not have the entry
/// that removed it. Each majority of that candidate's configuration shares a node with the majority that committed the
/// removal, and that node, which is not the one that was removed, refuses its vote.
extension RaftCore {
    /// A member, or a node that was one, says that its log is lost.
    mutating func handleLogLost(from node: NodeID) {
        guard role == .leader else { return }
        let isSettled = latestConfigurationIndex <= log.committed && !configuration.isJoint
        if let offset = peerOffset(node) {
            if !isSettled || configuration.voters.contains(node) {
                // The host proposes the removal, see `RaftStatus.Peer.hasLostLog`.
                peers[offset].hasLostLog = true
                return
            }
            // A learner counts for nothing already. What was known of its log is known no more.
            peers[offset] = makeProgress(of: node)
        }
        if isSettled { send(.removed(configurationIndex: latestConfigurationIndex), to: node) }
    }
}
