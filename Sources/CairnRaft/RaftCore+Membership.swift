import CairnDefects

/// Changes of membership (Ongaro's thesis, chapter 4; the bug in single-server changes that the rule about the term's
/// first commit mends: raft-dev, July 2015).
extension RaftCore {
    /// Begins a change to exactly these voters and learners.
    ///
    /// When more than one voter differs the group passes through a joint configuration, which its leader, whoever that
    /// is by then, leaves by itself. The change is done when ``configuration`` is the one asked for and its entry is
    /// committed. A leader that is no longer a voter then hands over and steps down.
    ///
    /// - Returns: the position of the first configuration entry.
    /// - Throws: ``ProposalError`` `termNotEstablished`, `configurationPending`, `notCaughtUp`, `invalidConfiguration`,
    ///   and those of ``propose(_:)-(ArraySlice<UInt8>)``.
    public mutating func changeMembership(
        voters: [NodeID], learners: [NodeID]
    ) throws(ProposalError) -> LogPosition {
        guard role == .leader else { throw .notLeader(leader: leader) }
        noteUse()
        if let transferTarget { throw .transferring(to: transferTarget) }
        guard log.committed >= termStart else { throw .termNotEstablished }
        guard latestConfigurationIndex <= log.committed, !configuration.isJoint else {
            throw .configurationPending(index: latestConfigurationIndex)
        }
        guard !voters.isEmpty else { throw .invalidConfiguration(reason: "a group needs a voter") }
        guard voters.count <= 64, learners.count <= 64 else {
            throw .invalidConfiguration(reason: "at most 64 voters and 64 learners")
        }
        guard Set(voters).isDisjoint(with: learners) else {
            throw .invalidConfiguration(reason: "a node is either voter or learner")
        }
        let target = Configuration(voters: voters, learners: learners)
        guard target != configuration else { throw .invalidConfiguration(reason: "it is in force already") }
        for node in target.voters where !configuration.voters.contains(node) {
            let match = peerOffset(node).map { peers[$0].match } ?? .zero
            guard match + options.promotionLagMax >= log.committed else {
                throw .notCaughtUp(node: node, match: match, needed: log.committed)
            }
        }
        return appendConfiguration(
            options.defects.contains(.skipJointConfiguration) ? target : configuration.step(towards: target))
    }

    private mutating func appendConfiguration(_ configuration: Configuration) -> LogPosition {
        let position = appendAsLeader(kind: .configuration, payload: configuration.encoded()[...])
        configurations.append(ConfigurationInForce(index: position.index, configuration: configuration))
        configurationDidChange()
        return position
    }

    var latestConfigurationIndex: LogIndex { configurations[configurations.count - 1].index }

    mutating func adoptConfiguration(of entry: Entry) {
        guard let found = Configuration(decoding: entry.payload) else {
            preconditionFailure("entry \(entry.index) of the leader holds no configuration")
        }
        configurations.append(ConfigurationInForce(index: entry.index, configuration: found))
        configurationDidChange()
    }

    mutating func undoConfigurations(from index: LogIndex) {
        guard latestConfigurationIndex >= index else { return }
        configurations.removeAll { $0.index >= index }
        precondition(!configurations.isEmpty, "a committed configuration at or above \(index) would be undone")
        configurationDidChange()
    }

    mutating func configurationDidChange() {
        configuration = configurations[configurations.count - 1].configuration
        configurationChanged = true
        if role == .leader { updatePeers() }
    }

    /// Brings the peers in line with the configuration; who stays keeps its progress.
    mutating func updatePeers() {
        var updated: [Progress] = []
        for node in configuration.members where node != id {
            if let offset = peerOffset(node) {
                updated.append(peers[offset])
            } else {
                updated.append(makeProgress(of: node))
            }
        }
        peers = updated
        needsReplication = true
        if let transferTarget, !configuration.voters.contains(transferTarget) { abandonTransfer() }
    }

    /// Of a member that nothing is known of.
    func makeProgress(of node: NodeID) -> Progress {
        var peer = Progress(node: node, next: max(termStart, log.last.index), clock: clock, options: options)
        peer.owesAppend = true
        return peer
    }

    /// After a commit: leaves a joint configuration, or the office if this node is a voter no more.
    mutating func continueMembershipChange() {
        guard latestConfigurationIndex <= log.committed else { return }
        if configuration.isJoint {
            _ = appendConfiguration(configuration.leavingJoint())
            return
        }
        guard !configuration.voters.contains(id) else { return }
        sendCommits()
        // Spare the others an election timeout.
        let heir = peers.filter { configuration.voters.contains($0.node) && $0.transferToken != 0 }
            .max { $0.match < $1.match }
        if let heir { send(.timeoutNow(token: heir.transferToken), to: heir.node) }
        becomeFollower(term: term, leader: nil)
    }

    /// The configuration in force after the entry at `index`, or nil when that was forgotten; to be kept by the host
    /// when it purges its log and given back to the initializer.
    public func configuration(at index: LogIndex) -> ConfigurationInForce? {
        configurations.last { $0.index <= index }
    }

    /// Says that the log below and at `index` was purged, so that older configurations may be forgotten.
    public mutating func compacted(through index: LogIndex) {
        guard let keep = configurations.lastIndex(where: { $0.index <= index }), keep > 0 else { return }
        configurations.removeFirst(keep)
    }
}
