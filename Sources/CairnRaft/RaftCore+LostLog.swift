/// A replica whose log is lost, in part or altogether, and how it gets back into its group.
///
/// What it had acknowledged and for whom it had voted may be gone, so it must count for nothing that it promised before. It stays
/// silent, but for asking to be taken out. The leader removes it by an ordinary change of membership, which a majority without
/// it commits, and tells it so. From then on it is a stranger: it forgets what is left, and joins as a learner like any new node.
///
/// Why that is safe though the node keeps its number: a candidate that still counts it as a voter does not have the entry
/// that removed it. Each majority of that candidate's configuration shares a node with the majority that committed the
/// removal, and that node, which is not the one that was removed, refuses its vote.
///
/// A leader that was deposed without knowing may still go by a configuration in which the node is no voter, while it is one
/// again. So the answer waits, as a read does, for a round that proves the leader to be in office after it was asked, and an answer
/// to an earlier request counts for nothing.
extension RaftCore {
    /// Whether this log has all that the leader of this term has an acknowledgement for.
    ///
    /// If not, the disk has lost what it had reported to be durable, and nothing else showed it: a damaged end of the log looks
    /// like a batch that never arrived. In one term no such entry is ever cut off in order, and late messages claim less.
    mutating func hasKept(_ acknowledged: LogIndex) -> Bool {
        guard installing == nil, acknowledged > log.last.index else { return true }
        lostThrough = acknowledged
        return false
    }

    /// A member, or a node that was one, says that its log is lost.
    mutating func handleLogLost(from node: NodeID, request: UInt64) {
        guard role == .leader else { return }
        pendingReleases.removeAll { $0.node == node }
        if let offset = peerOffset(node) {
            guard isStranger(node) else {
                // The host proposes the removal, see `RaftStatus.Peer.hasLostLog`.
                peers[offset].hasLostLog = true
                return
            }
            // A learner counts for nothing already. What was known of its log is known no more.
            peers[offset] = makeProgress(of: node)
        }
        guard isStranger(node) else { return }
        broadcastHeartbeat()
        pendingReleases.append((node, request, heartbeatRound))
        confirmReads()
    }

    /// Whether the group goes on without the node's vote, and has committed that.
    private func isStranger(_ node: NodeID) -> Bool {
        latestConfigurationIndex <= log.committed && !configuration.isJoint && !configuration.voters.contains(node)
    }

    /// Answers the requests whose rounds are confirmed.
    mutating func sendReleases(confirmed: UInt64) {
        for release in pendingReleases where release.round <= confirmed && isStranger(release.node) {
            send(.released(request: release.request), to: release.node)
        }
        pendingReleases.removeAll { $0.round <= confirmed }
    }
}
