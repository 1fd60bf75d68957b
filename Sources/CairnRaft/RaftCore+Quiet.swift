/// Groups that nobody uses fall silent: no heartbeats, no timers, until somebody needs them.
///
/// The leader of a group whose replicas are all level, and that was not used for ``RaftOptions/quietAfter``, marks its
/// heartbeats as the last ones. A follower that holds exactly the leader's log, committed and on its disk, agrees and
/// stops its election timer; once all have agreed the leader stops as well. What ends the silence is a use at the leader,
/// any message of the leader that is not a last heartbeat, a question of a replica that misses the leader, or the host.
///
/// The host stands in for the timers. It knows which nodes are silent (``setAbsent(_:now:)``): followers of a leader on
/// such a node begin to look for another, and a leader that has lost sight of a majority begins to ask for it.
///
/// Nothing that others rely on depends on the silence. A quiet leader has no lease, so the first read after a silence
/// is confirmed by a round of messages. A quiet follower gives less than an awake one: it refuses its vote for as long
/// as its leader's node is there, and never shortens a promise that it gave before.
///
/// - Invariant: a replica that has started anew is awake, and so is one that has changed its role, its leader or its term.
extension RaftCore {
    // MARK: Falling silent

    /// Whether the replicas are level, as far as they are there, and nothing is under way that time could change.
    private var mayRest: Bool {
        guard role == .leader, quietNanoseconds > 0, !staysAwake, clock >= lastUse + quietNanoseconds,
            log.committed == log.last.index, log.committed >= termStart, log.applied == log.committed,
            pipeline.stable == log.last.index, isHardStateDurable,
            transferTarget == nil, revocations.isEmpty,
            postponedReads.isEmpty, newReads.isEmpty, pendingReads.isEmpty, pendingReleases.isEmpty,
            !configuration.isJoint, configuration.voters.contains(id)
        else { return false }
        return hasPresentQuorum && peers.allSatisfy { isAbsent($0.node) || isLevel($0) }
    }

    private func isLevel(_ peer: Progress) -> Bool { peer.phase == .replicate && peer.match == log.last.index }

    private func isAbsent(_ node: NodeID) -> Bool { absentNodes.contains(node) }

    private var hasPresentQuorum: Bool {
        configuration.quorumValue { node in node == id || !isAbsent(node) ? 1 : 0 } == 1
    }

    /// Whether the heartbeat that is about to go to `peer` is the last one.
    ///
    /// One that lags must not take the end of its own log for the end of the leader's.
    func isLastHeartbeat(to peer: Progress) -> Bool { restRound > 0 && !isAbsent(peer.node) && isLevel(peer) }

    /// Looks, when a heartbeat is due, whether it should be the last.
    mutating func considerRest() {
        guard mayRest else { return restRound = 0 }
        if restRound == 0 { restRound = heartbeatRound + 1 }
        restIfAgreed()
    }

    /// Falls silent once every follower that is there has.
    mutating func restIfAgreed() {
        guard restRound > 0, !isQuiet, mayRest else { return }
        guard peers.allSatisfy({ isAbsent($0.node) || $0.agreedRound >= restRound }) else { return }
        isQuiet = true
        scheduleQuietHeartbeat()
    }

    private mutating func scheduleQuietHeartbeat() {
        let interval = quietHeartbeatNanoseconds
        quietDeadline = now + interval / 4 * 3 + random.next(below: interval / 4 + 1)
    }

    /// The follower's side: a last heartbeat has arrived, and this replica has what it speaks of.
    mutating func agreeToRest(with commit: LogPosition) {
        guard quietNanoseconds > 0, installing == nil, !lacksState, commit == log.last, log.committed == commit.index,
            pipeline.stable == commit.index, log.applied == commit.index, isHardStateDurable
        else { return }
        isQuiet = true
        quietDeadline = now + 4 * quietHeartbeatNanoseconds
    }

    // MARK: While it is quiet

    /// A heartbeat now and then shows followers that the silence is meant, whatever became of messages before.
    mutating func tickQuiet() {
        guard now >= quietDeadline else { return }
        guard role == .leader else { return wake(now: now) }
        broadcastHeartbeat()
        scheduleQuietHeartbeat()
    }

    /// Says which nodes were not heard of for an election timeout, by any sign of life of theirs.
    ///
    /// A leader does not wait for them before it falls silent; it wakes when one of them is back that had not agreed,
    /// or when it has lost sight of a majority. A follower wakes when its leader's node is among them.
    public mutating func setAbsent(_ nodes: [NodeID], now: UInt64) {
        observe(now)
        absentNodes = nodes
        guard isQuiet else { return }
        if role == .leader {
            let isLevel = peers.allSatisfy { isAbsent($0.node) || $0.agreedRound >= restRound }
            if !isLevel || !hasPresentQuorum { resume() }
        } else if let leader, isAbsent(leader) {
            wake(now: now)
        }
    }

    /// Notes that the group is in use, which keeps it from falling silent for a while, and ends a silence.
    mutating func noteUse() {
        lastUse = clock
        restRound = 0
        if isQuiet { resume() }
    }

    /// Says that a read was answered under the lease: a group that is read stays awake, so that its lease is renewed.
    public mutating func noteLeaseRead() {
        lastUse = clock
        restRound = 0
    }

    // MARK: Waking

    /// Ends the silence. A leader goes on with its heartbeats; a follower asks the leader for a sign of life and begins
    /// to wait for one, less long than usual, because the silence that made the host call this was part of the wait.
    public mutating func wake(now: UInt64) {
        observe(now)
        guard isQuiet else { return }
        guard role != .leader else { return resume() }
        isQuiet = false
        // Not before the other followers have noticed it too, or they would refuse their votes.
        electionDeadline = clock + heartbeatNanoseconds + random.next(below: electionNanoseconds - heartbeatNanoseconds)
        if let leader { send(.heartbeatResponse(signOfUnrest), to: leader) }
    }

    /// The leader speaks again. Its patience with its followers begins anew, and the lease with their answers.
    private mutating func resume() {
        isQuiet = false
        restRound = 0
        lastUse = clock
        for offset in peers.indices where !isAbsent(peers[offset].node) { peers[offset].lastActive = clock }
        if !hasActiveQuorum { for offset in peers.indices { peers[offset].lastActive = clock } }
        broadcastHeartbeat()
    }

    /// An answer to no heartbeat, which tells a quiet leader that somebody here needs one.
    private var signOfUnrest: Message.HeartbeatResponse {
        Message.HeartbeatResponse(
            round: 0, sentAt: 0, clock: now, transferToken: transferToken, isShortOfSpace: isShortOfSpace)
    }

    /// Says that somebody takes this replica for the leader. A quiet follower asks its leader for a sign of life and waits for
    /// one from then on, so that the group finds another if there is none.
    public mutating func seekLeader(now: UInt64) {
        observe(now)
        disturbLeader()
    }

    /// Tells the leader that there is something it should hear of with the next answer to a heartbeat.
    mutating func disturbLeader() {
        guard isQuiet, role != .leader, let leader else { return }
        isQuiet = false
        resetElectionDeadline()
        send(.heartbeatResponse(signOfUnrest), to: leader)
    }

    /// Looks whether a message means that the silence has to end, before it is dealt with as any other.
    mutating func heed(_ message: Message) {
        guard configuration.isMember(message.from) else { return }
        switch message.kind {
        case .preVoteRequest, .voteRequest:
            if role == .leader {
                resume()
            } else if message.from == leader {
                // Whoever asks for votes does not lead. What was promised to it in office still holds.
                becomeFollower(term: term, leader: nil)
            } else {
                // Its node's signs of life stood for the leader until now, so it is given time to answer.
                let grace = electionNanoseconds - 2 * heartbeatNanoseconds
                lastLeaderContact = max(lastLeaderContact ?? 0, now > grace ? now - grace : 0)
                disturbLeader()
            }
        case .heartbeatResponse(let response): if role == .leader, !response.isQuiet { resume() }
        case .snapshotRequest, .appendRejection, .logLost: if role == .leader { resume() }
        default: break
        }
    }
}
