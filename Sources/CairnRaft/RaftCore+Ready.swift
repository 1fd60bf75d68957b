import CairnDefects

/// What comes out, and what the host says when it has dealt with it.
extension RaftCore {
    /// Whether ``takeReady()`` would give the host something to do.
    public var hasReady: Bool {
        needsReplication || hardStateChanged || owesAcknowledgement || !outbox.isEmpty || !released.isEmpty
            || !log.unstable.isEmpty || (log.hasCommittedToHandOut && installing == nil) || !newReads.isEmpty
            || !reads.isEmpty || !abandonedReads.isEmpty || !snapshotsToSend.isEmpty || snapshotToInstall != nil
            || configurationChanged || announcedRole != currentRole
    }

    private var currentRole: RoleChange { RoleChange(role: role, term: term, leader: leader) }

    /// Takes what has gathered since the last Ready.
    public mutating func takeReady() -> Ready {
        readyNumber += 1
        var ready = Ready(number: readyNumber)
        if role == .leader {
            if !newReads.isEmpty { startReadRound() }
            if needsReplication { replicate() }
            if options.announcesCommitsAtOnce { sendCommits() }
        } else {
            acknowledge()
        }
        if installing == nil {
            do throws(RaftLogError) {
                ready.committed = try log.takeCommitted(maxBytes: options.committedBytesMax)
            } catch {
                logFailure = error
            }
        }
        handOver(&ready)
        ready.messages = takeMessages()
        ready.reads = reads
        ready.abandonedReads = abandonedReads
        ready.snapshotsToSend = snapshotsToSend
        ready.snapshotToInstall = snapshotToInstall
        ready.logFailure = logFailure
        reads = []
        abandonedReads = []
        snapshotsToSend = []
        snapshotToInstall = nil
        logFailure = nil
        if announcedRole != currentRole {
            announcedRole = currentRole
            ready.role = announcedRole
        }
        if configurationChanged {
            configurationChanged = false
            ready.configuration = configurations[configurations.count - 1]
        }
        return ready
    }

    /// One acknowledgement stands for all appends since the last Ready.
    private mutating func acknowledge() {
        guard owesAcknowledgement else { return }
        owesAcknowledgement = false
        guard role == .follower, let leader else { return }
        send(.appendResponse(match: acknowledgeable), to: leader)
    }

    private mutating func handOver(_ ready: inout Ready) {
        ready.entries = log.takeUnstable()
        // The commit index alone is not worth a write; it travels with one.
        if hardStateChanged || (!ready.entries.isEmpty && handedCommit != log.committed) {
            // The hint must not run ahead of the entries on the same disk, even if this write is torn.
            let commit = ready.entries.first.map { min($0.index.previous, log.committed) } ?? log.committed
            handedCommit = commit
            hardStateChanged = false
            ready.hardState = HardState(term: term, vote: vote, commit: commit)
        }
        guard ready.hardState != nil || !ready.entries.isEmpty else { return }
        ready.receipt = PersistReceipt(
            number: ready.number, last: ready.entries.last?.position, hardState: ready.hardState)
        pipeline.begin(
            number: ready.number, last: ready.entries.last?.index ?? .zero, hardState: ready.hardState)
    }

    private mutating func takeMessages() -> [Message] {
        if !isHardStateDurable, !outbox.isEmpty {
            let early = options.defects.contains(.voteWithoutPersisting) ? outbox.filter(\.isGrantedVote) : []
            pipeline.hold(early.isEmpty ? outbox : outbox.filter { !$0.isGrantedVote })
            outbox = early
        }
        guard !released.isEmpty else {
            let messages = outbox
            outbox = []
            return messages
        }
        let messages = released + outbox
        released = []
        outbox = []
        return messages
    }

    /// Says that what the Ready with this receipt gave to the disk is durable. Receipts may come in any order.
    public mutating func persisted(_ receipt: PersistReceipt) {
        let stable = pipeline.stable
        pipeline.complete(number: receipt.number, released: &released)
        if role == .candidate, isHardStateDurable { record(vote: true, of: id) }
        guard pipeline.stable != stable else { return }
        if role == .leader { commitWhatAQuorumHas() } else { owesAcknowledgement = leader != nil }
    }

    /// Says that the state machine has applied everything up to `index`.
    public mutating func applied(to index: LogIndex) { log.applied(to: index) }

    public var commitIndex: LogIndex { log.committed }
    public var appliedIndex: LogIndex { log.applied }
    public var lastIndex: LogIndex { log.last.index }

    /// Everything at once, for operators and tests.
    public var status: RaftStatus {
        RaftStatus(
            id: id, role: role, term: term, vote: vote, leader: leader, commit: log.committed, applied: log.applied,
            stable: pipeline.stable, last: log.last, configuration: configuration,
            configurationIndex: latestConfigurationIndex, transferTarget: transferTarget,
            uncommittedBytes: uncommittedBytes, isRemoved: isRemoved, isQuiet: isQuiet,
            peers: peers.map { peer in
                RaftStatus.Peer(
                    node: peer.node, match: peer.match, next: peer.next, phase: peer.phase, isActive: isActive(peer),
                    declinesOffice: peer.declinesOffice, hasLostLog: peer.hasLostLog,
                    inflightMessages: peer.window.count, inflightBytes: peer.window.bytes)
            })
    }

    /// Traps unless the core's parts agree with each other. O(log tail); for tests.
    public func checkInvariants() {
        precondition(log.committed <= log.last.index, "committed \(log.committed) of \(log.last.index)")
        precondition(pipeline.stable <= log.last.index, "stable \(pipeline.stable) of \(log.last.index)")
        precondition(pipeline.durableTerm <= term, "durable term \(pipeline.durableTerm) of \(term)")
        precondition(log.last.term <= term, "an entry of term \(log.last.term) in term \(term)")
        precondition(configuration == configurations[configurations.count - 1].configuration, "configuration")
        for (left, right) in zip(configurations, configurations.dropFirst()) {
            precondition(left.index < right.index, "configurations \(left.index), \(right.index)")
        }
        for (left, right) in zip(log.unstable, log.unstable.dropFirst()) {
            precondition(left.index.next == right.index && left.term <= right.term, "unstable tail")
        }
        if isQuiet {
            precondition(role == .leader || (role == .follower && leader != nil), "a quiet \(role) that follows nobody")
            precondition(log.committed == log.last.index, "quiet at \(log.committed) of \(log.last.index)")
        }
        if role == .leader {
            precondition(leader == id, "a leader that follows")
            let isPurged = termStart < log.storage.firstIndex
            precondition(isPurged || log.term(at: termStart) == term, "leader's first entry \(termStart)")
            for peer in peers {
                precondition(peer.match < peer.next && peer.match <= log.last.index, "\(peer.node): \(peer.match)")
            }
            precondition(uncommittedBytes >= 0, "uncommitted bytes \(uncommittedBytes)")
        } else {
            precondition(peers.isEmpty && pendingReads.isEmpty, "a \(role) with a leader's state")
        }
    }
}

extension Message {
    fileprivate var isGrantedVote: Bool {
        if case .voteResponse(granted: true) = kind { true } else { false }
    }
}
