import CairnDefects

/// The leader's side of log replication.
extension RaftCore {
    // MARK: Proposals

    /// Appends one entry to the log; see ``propose(_:)-([ArraySlice<UInt8>])``.
    public mutating func propose(_ payload: ArraySlice<UInt8>) throws(ProposalError) -> LogPosition {
        try admit(largest: payload.count, total: payload.count + 32)
        let position = appendAsLeader(kind: .normal, payload: payload)
        account(through: position.index, bytes: payload.count + 32)
        return position
    }

    /// Appends entries to the log, all or none. They leave with the next ``Ready``.
    ///
    /// What becomes of them is known when an entry with the same index is applied: with the same term it is the
    /// proposal, with another one the proposal is lost. A leader that loses office does not know.
    ///
    /// - Throws: ``ProposalError``; nothing was appended then.
    public mutating func propose(
        _ payloads: [ArraySlice<UInt8>]
    ) throws(ProposalError) -> (term: Term, indexes: ClosedRange<LogIndex>) {
        precondition(!payloads.isEmpty, "a proposal without entries")
        var total = 0
        var largest = 0
        for payload in payloads {
            total += payload.count + 32
            largest = max(largest, payload.count)
        }
        try admit(largest: largest, total: total)
        let first = log.last.index.next
        for payload in payloads { appendAsLeader(kind: .normal, payload: payload) }
        account(through: log.last.index, bytes: total)
        return (term, first...log.last.index)
    }

    private mutating func admit(largest: Int, total: Int) throws(ProposalError) {
        guard role == .leader else { throw .notLeader(leader: leader) }
        if let transferTarget { throw .transferring(to: transferTarget) }
        guard largest <= options.entryBytesMax else {
            throw .entryTooLarge(bytes: largest, limit: options.entryBytesMax)
        }
        guard uncommittedBytes == 0 || uncommittedBytes + total <= options.uncommittedBytesMax else {
            throw .uncommittedTailFull(bytes: uncommittedBytes, limit: options.uncommittedBytesMax)
        }
        noteUse()
    }

    private mutating func account(through index: LogIndex, bytes: Int) {
        uncommittedBytes += bytes
        proposalSizes.append((index, bytes))
    }

    @discardableResult
    mutating func appendAsLeader(kind: Entry.Kind, payload: ArraySlice<UInt8>) -> LogPosition {
        let entry = Entry(term: term, index: log.last.index.next, kind: kind, payload: payload)
        log.append(entry)
        needsReplication = true
        return entry.position
    }

    // MARK: Sending

    /// Sends every follower what its state allows; called once a Ready, so that one append holds all that is new.
    mutating func replicate() {
        needsReplication = false
        for offset in peers.indices { replicate(toPeerAt: offset) }
    }

    private mutating func replicate(toPeerAt offset: Int) {
        while true {
            let last = log.last.index
            let next = peers[offset].next
            switch peers[offset].phase {
            case .snapshot: return
            case .probe: if peers[offset].isPaused { return }
            case .replicate: if peers[offset].window.isFull { return }
            }
            guard next <= last || peers[offset].owesAppend else { return }
            let previous = next.previous
            guard let previousTerm = log.term(at: previous) else { return askForSnapshot(toPeerAt: offset) }
            var entries: [Entry] = []
            if next <= last {
                do throws(RaftLogError) {
                    entries = try log.entries(from: next, through: last, maxBytes: options.appendBytesMax)
                } catch {
                    if error.code == .compacted { return askForSnapshot(toPeerAt: offset) }
                    logFailure = error
                    needsReplication = true
                    return
                }
            }
            send(
                .append(
                    previous: LogPosition(term: previousTerm, index: previous), commit: log.committed, entries: entries),
                to: peers[offset].node)
            let end = entries.last?.index ?? previous
            peers[offset].owesAppend = false
            peers[offset].sentRound = heartbeatRound
            peers[offset].sentCommit = max(peers[offset].sentCommit, min(log.committed, end))
            switch peers[offset].phase {
            case .probe:
                peers[offset].isPaused = true
                return
            case .replicate:
                guard !entries.isEmpty else { return }
                var bytes = 0
                for entry in entries { bytes += entry.chargedBytes }
                peers[offset].window.add(last: end, bytes: bytes)
                peers[offset].next = end.next
            case .snapshot: return
            }
        }
    }

    /// A follower has lost its state and not its log: it gets a snapshot beside the entries, which it acknowledges as before.
    mutating func handleSnapshotRequest(from node: NodeID) {
        guard role == .leader, let offset = peerOffset(node) else { return }
        peers[offset].lastActive = clock
        if !snapshotsToSend.contains(node) { snapshotsToSend.append(node) }
    }

    private mutating func askForSnapshot(toPeerAt offset: Int) {
        // A snapshot is dear: not for a node that does not answer. Its next answer brings us back here.
        guard isActive(peers[offset]) else {
            peers[offset].isPaused = true
            peers[offset].phase = .probe
            return
        }
        peers[offset].becomeSnapshot()
        snapshotsToSend.append(peers[offset].node)
    }

    /// Tells followers of commits that no append has told them of.
    mutating func sendCommits() {
        for offset in peers.indices where peers[offset].phase == .replicate {
            let index = min(peers[offset].match, log.committed)
            guard index > peers[offset].sentCommit, let term = log.term(at: index) else { continue }
            peers[offset].sentCommit = index
            send(.commit(LogPosition(term: term, index: index)), to: peers[offset].node)
        }
    }

    /// Begins a heartbeat round with every member.
    mutating func broadcastHeartbeat() {
        nextHeartbeat = clock + heartbeatNanoseconds
        heartbeatRound += 1
        for offset in peers.indices {
            let peer = peers[offset]
            let commit = min(peer.match, log.committed)
            let position = log.term(at: commit).map { LogPosition(term: $0, index: commit) } ?? .zero
            // Lost with the heartbeat, it is repeated by the next one.
            peers[offset].sentCommit = max(peers[offset].sentCommit, position.index)
            let revoked = revocations.first { $0.node == peer.node }?.token ?? 0
            send(
                .heartbeat(
                    Message.Heartbeat(
                        round: heartbeatRound, sentAt: now, commit: position, acknowledged: peer.match,
                        revokedToken: revoked, isLast: isLastHeartbeat(to: peer))),
                to: peer.node)
        }
    }

    // MARK: Answers

    func peerOffset(_ node: NodeID) -> Int? { peers.firstIndex { $0.node == node } }

    func isActive(_ peer: Progress) -> Bool { peer.lastActive + electionNanoseconds >= clock }

    /// Whether a quorum has answered within the last election timeout.
    var hasActiveQuorum: Bool {
        let latest = configuration.quorumValue { node in
            // One more than the clock, so that 0 means never.
            if node == id { return clock + 1 }
            guard let offset = peerOffset(node) else { return 0 }
            return peers[offset].lastActive + 1
        }
        return latest > 0 && latest - 1 + electionNanoseconds > clock
    }

    mutating func handleAppendResponse(from node: NodeID, match: LogIndex) {
        guard role == .leader, let offset = peerOffset(node), match <= log.last.index else { return }
        peers[offset].lastActive = clock
        peers[offset].hasLostLog = false
        let isNews = match > peers[offset].match
        if isNews {
            peers[offset].match = match
            peers[offset].next = max(peers[offset].next, match.next)
        }
        switch peers[offset].phase {
        case .probe:
            if isNews || match == peers[offset].match { peers[offset].becomeReplicate() }
        case .replicate:
            peers[offset].window.free(through: match)
        case .snapshot:
            // It has caught up with the log by itself, or has installed the snapshot.
            if peers[offset].match >= log.storage.firstIndex.previous { peers[offset].becomeReplicate() }
        }
        needsReplication = true
        if isNews {
            commitWhatAQuorumHas()
            if role == .leader { continueTransfer(with: node) }
        }
    }

    mutating func handleAppendRejection(from node: NodeID, rejected: LogIndex, hint: LogPosition) {
        guard role == .leader, let offset = peerOffset(node) else { return }
        peers[offset].lastActive = clock
        let match = peers[offset].match
        switch peers[offset].phase {
        case .snapshot: return
        case .replicate:
            guard rejected > match else { return }  // Overtaken by an acknowledgement.
        case .probe:
            guard peers[offset].next.previous == rejected else { return }  // Of an earlier probe.
        }
        // Whole terms are skipped: the follower's entries above the hint have terms that this log's cannot match.
        let fit = log.lastPosition(atOrBelow: min(hint.index, rejected.previous), termAtMost: hint.term)
        peers[offset].becomeProbe(next: hint.term == .zero ? hint.index.next : fit.index.next)
        needsReplication = true
    }

    mutating func handleHeartbeatResponse(_ response: Message.HeartbeatResponse, from node: NodeID) {
        guard role == .leader, let offset = peerOffset(node), response.round <= heartbeatRound else { return }
        peers[offset].lastActive = clock
        peers[offset].hasLostLog = false
        guard response.round > 0 else { return }
        revocations.removeAll {
            $0.node == node && $0.token != response.transferToken && response.round > $0.afterRound
        }
        if response.round > peers[offset].ackedRound {
            peers[offset].ackedRound = response.round
            note(token: response.transferToken, ofPeerAt: offset)
            peers[offset].isShortOfSpace = response.isShortOfSpace
            peers[offset].agreedRound = response.isQuiet ? response.round : 0
        }
        if response.sentAt > peers[offset].ackedSentAt {
            peers[offset].ackedSentAt = options.defects.contains(.leaseFromAnswer) ? now : response.sentAt
        }
        peers[offset].clock.observe(
            sentAt: response.sentAt, receivedAt: now, clock: response.clock,
            driftPermille: UInt64(options.clockDriftPermille))
        confirmReads()
        continueTransfer(with: node)
        restIfAgreed()
        // It lives: whatever was lost on the way to it may be sent again.
        guard response.round > peers[offset].sentRound else { return }
        peers[offset].isPaused = false
        // A probe goes on until it is answered, also when the follower lacks nothing: only that makes it one that is up to date.
        if peers[offset].match < log.last.index || peers[offset].phase == .probe {
            if peers[offset].window.isFull { peers[offset].window.freeFirst() }
            peers[offset].owesAppend = true
            needsReplication = true
        }
    }

    // MARK: Commit

    mutating func commitWhatAQuorumHas() {
        guard role == .leader else { return }
        let own = options.defects.contains(.countUnsyncedOwnCopy) ? log.last.index : pipeline.stable
        var index = LogIndex(
            configuration.quorumValue { node in
                if node == id { return own.rawValue }
                guard let offset = peerOffset(node) else { return 0 }
                return peers[offset].match.rawValue
            })
        if options.defects.contains(.countLearners) {
            let all = ([own] + peers.map(\.match)).sorted(by: >)
            index = max(index, all[min(configuration.voters.count / 2, all.count - 1)])
        }
        // Entries of the leader's own term are exactly those from the empty entry on.
        guard index >= termStart || options.defects.contains(.commitOlderTermByCount), index > log.committed else {
            return
        }
        let isFirst = log.committed < termStart
        log.commit(through: index)
        while let first = proposalSizes.first, first.last <= index {
            uncommittedBytes -= first.bytes
            proposalSizes.removeFirst()
        }
        if isFirst { releasePostponedReads() }
        continueMembershipChange()
        if role == .leader, options.announcesCommitsAtOnce { needsReplication = true }
    }

    // MARK: Reports of the host

    /// Says that messages to `peer` got lost (its connection broke): the leader probes it before it sends ahead again.
    public mutating func reportUnreachable(_ peer: NodeID) {
        // To those who agreed to a silence nothing was on its way.
        guard role == .leader, !isQuiet, let offset = peerOffset(peer), peers[offset].phase == .replicate else {
            return
        }
        peers[offset].becomeProbe(next: peers[offset].match.next)
        needsReplication = true
    }

    /// Says how the sending of a snapshot asked for in ``Ready/snapshotsToSend`` has ended. Must follow each such request.
    public mutating func reportSnapshot(to peer: NodeID, result: SnapshotResult) {
        guard role == .leader, let offset = peerOffset(peer), peers[offset].phase == .snapshot else { return }
        switch result {
        case .installed(let index):
            peers[offset].becomeProbe(next: min(index.next, log.last.index.next))
            peers[offset].owesAppend = true
        case .failed:
            peers[offset].becomeProbe(next: peers[offset].match.next)
            peers[offset].isPaused = true
        }
        needsReplication = true
    }
}
