import CairnRaft

/// Sees everything that all nodes do and says when a promise of Raft is broken.
struct SafetyChecker {
    private struct NodeTerm: Hashable {
        let node: NodeID
        let term: Term
    }
    private struct Known: Hashable {
        let entry: Entry
        let previousTerm: Term
    }

    private struct Request: Hashable {
        let voter: NodeID
        let candidate: NodeID
        let term: Term
        let isPreVote: Bool
    }

    private var leaders: [Term: NodeID] = [:]
    /// Votes and pre-votes that may be granted, because the candidate's log was good enough when it asked.
    private var grantable: Set<Request> = []
    private var votes: [NodeTerm: NodeID] = [:]
    private var shownTerms: [NodeID: Term] = [:]
    private var entries: [LogPosition: Known] = [:]
    /// All committed entries, from index 1, with the term of the node that first showed it.
    private(set) var committed: [(entry: Entry, shownIn: Term)] = []
    /// The last entry whose commit a client was told.
    private(set) var acknowledged = LogIndex.zero
    private(set) var violation: String?
    private var steps = 0

    var lastCommitted: LogIndex { LogIndex(UInt64(committed.count)) }

    mutating func fail(_ message: String) {
        if violation == nil { violation = message }
    }

    /// Election safety, and leader completeness at the start of each reign.
    mutating func observe(_ core: RaftCore, _ storage: MemoryLogStorage) {
        // The dearest check, on a part of all steps.
        steps += 1
        if steps % 8 == 0 { core.checkInvariants() }
        if let through = core.lostThrough { fail("durability: \(core.id) had acknowledged entries up to \(through)") }
        guard core.role == .leader else { return }
        guard let known = leaders[core.term] else {
            leaders[core.term] = core.id
            checkCompleteness(of: core, storage)
            return
        }
        if known != core.id { fail("election safety: \(known) and \(core.id) lead term \(core.term)") }
    }

    private mutating func checkCompleteness(of core: RaftCore, _ storage: MemoryLogStorage) {
        for (entry, shownIn) in committed.reversed() where shownIn < core.term {
            if entry.index <= storage.log.base.index { break }
            // The tail of the log that is not handed over yet is the leader's own.
            if storage.term(at: entry.index) != entry.term {
                return fail("leader completeness: \(core.id) leads \(core.term) without \(entry.position)")
            }
        }
    }

    /// Log matching: an entry's position determines the entry and, by induction, all before it.
    mutating func observe(appended new: [Entry], on node: NodeID, _ storage: MemoryLogStorage) {
        for entry in new {
            guard let previousTerm = storage.term(at: entry.index.previous) else {
                return fail("\(node) appended \(entry.position) behind a gap")
            }
            let known = Known(entry: entry, previousTerm: previousTerm)
            if let other = entries.updateValue(known, forKey: entry.position), other != known {
                fail("log matching: two entries \(entry.position), the second on \(node)")
            }
        }
    }

    /// What a message promises must be on its sender's disk.
    mutating func observe(_ message: Message, _ durable: SimulatedDisk.Durable) {
        let node = message.from
        shownTerms[node] = max(shownTerms[node] ?? .zero, message.term)
        // A term that the log shows is known after a restart too.
        let durableTerm = max(durable.hardState.term, durable.log.term(at: durable.log.lastIndex) ?? .zero)
        if message.term > durableTerm {
            fail("\(node) showed term \(message.term), its disk knows \(durableTerm)")
        }
        switch message.kind {
        case .voteResponse(granted: true):
            note(voteOf: node, for: message.to, in: message.term, durable)
            checkGrant(Request(voter: node, candidate: message.to, term: message.term, isPreVote: false))
        case .voteRequest: note(voteOf: node, for: node, in: message.term, durable)
        case .preVoteResponse(let proposedTerm, granted: true):
            checkGrant(Request(voter: node, candidate: message.to, term: proposedTerm, isPreVote: true))
        case .appendResponse(let match):
            if durable.log.lastIndex < match {
                fail("\(node) acknowledged \(match), its disk ends at \(durable.log.lastIndex)")
            }
        default: break
        }
    }

    /// A vote is about to be asked for.
    mutating func observe(delivered message: Message, to core: RaftCore) {
        let (voter, candidate) = (core.id, message.from)
        switch message.kind {
        case .preVoteRequest(let term, let last) where last >= core.status.last:
            grantable.insert(Request(voter: voter, candidate: candidate, term: term, isPreVote: true))
        case .voteRequest(let last, _) where last >= core.status.last:
            grantable.insert(Request(voter: voter, candidate: candidate, term: message.term, isPreVote: false))
        default: break
        }
    }

    private mutating func checkGrant(_ request: Request) {
        guard !grantable.contains(request) else { return }
        let vote = request.isPreVote ? "pre-vote" : "vote"
        fail("\(request.voter) gives \(request.candidate) a \(vote) for \(request.term), whose log is behind its own")
    }

    /// Nobody else may serve reads by the lease of an earlier term when a leader takes office.
    mutating func observe(lease holder: RaftCore, while leader: RaftCore, now: UInt64) {
        guard holder.id != leader.id, holder.role == .leader, holder.term < leader.term, holder.leaseValid(now: now)
        else {
            return
        }
        fail("\(holder.id) holds the lease of \(holder.term) when \(leader.id) takes office in \(leader.term)")
    }

    /// Whether this leader is seen as one for the first time.
    func isNew(_ core: RaftCore) -> Bool { core.role == .leader && leaders[core.term] == nil }

    private mutating func note(
        voteOf node: NodeID, for candidate: NodeID, in term: Term, _ durable: SimulatedDisk.Durable
    ) {
        let known = votes.updateValue(candidate, forKey: NodeTerm(node: node, term: term))
        if let known, known != candidate { fail("\(node) voted for \(known) and \(candidate) in \(term)") }
        // The vote may be of an earlier term than the disk's by now, never of a later one.
        if durable.hardState.term == term, durable.hardState.vote != candidate {
            fail(
                "\(node) voted for \(candidate) in \(term), its disk says \(String(describing: durable.hardState.vote))"
            )
        }
    }

    mutating func observe(restarted core: RaftCore) {
        if core.term < shownTerms[core.id] ?? .zero {
            fail("\(core.id) restarted in term \(core.term) after it had shown \(shownTerms[core.id]!)")
        }
    }

    /// State-machine safety.
    ///
    /// - Returns: whether this node was the first to show one of the entries as committed.
    mutating func observe(applied new: [Entry], on core: RaftCore) -> Bool {
        var isFirst = false
        for entry in new {
            let offset = Int(entry.index.rawValue) - 1
            if offset < committed.count {
                if committed[offset].entry != entry {
                    fail(
                        "state machine safety: \(core.id) applies \(entry.position), others \(committed[offset].entry.position)"
                    )
                }
            } else if offset == committed.count {
                committed.append((entry, core.term))
                isFirst = true
            } else {
                fail("\(core.id) applies \(entry.index), but \(committed.count + 1) was never committed")
            }
        }
        return isFirst
    }

    /// A committed entry is on the disks of a quorum.
    mutating func checkDurability(
        of position: LogPosition, on disks: [SimulatedDisk], _ configuration: Configuration
    ) {
        func isShort(_ voters: [NodeID]) -> Bool {
            let holders = voters.filter { voter in
                let log = disks[Int(voter.rawValue) - 1].durable.log
                return log.base.index >= position.index || log.term(at: position.index) == position.term
            }
            return holders.count < voters.count / 2 + 1
        }
        if isShort(configuration.voters) || (configuration.isJoint && isShort(configuration.outgoing)) {
            fail("\(position) is committed without a quorum of disks in \(configuration)")
        }
    }

    mutating func observe(acknowledged index: LogIndex) { acknowledged = max(acknowledged, index) }

    mutating func observe(read index: LogIndex, askedAfter acknowledged: LogIndex, by core: RaftCore, _ kind: String) {
        if index < acknowledged {
            fail("\(kind) read on \(core.id)@\(core.term) sees \(index), but \(acknowledged) was acknowledged before")
        }
    }
}
