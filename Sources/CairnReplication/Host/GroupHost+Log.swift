import CairnRaft

/// What the groups give to the shared log.
extension GroupHost {
    func openLog(of group: GroupID) throws(ReplicationError) -> GroupLog {
        let opened = log.open(group)
        if let damage = opened.damage {
            throw ReplicationError(.damaged, group: group, "\(damage.file): \(damage.reason)")
        }
        return opened
    }

    func append(_ ready: Ready, of replica: Replica) {
        let formerly = replica.log.hardState
        let changesTerm = ready.hardState.map { $0.term != formerly.term || $0.vote != formerly.vote } ?? false
        withBatch(isUrgent: changesTerm || !mayDefer(replica, through: ready.entries.last?.index)) { batch in
            replica.log.append(ready.entries, hardState: ready.hardState, to: &batch)
        }
    }

    /// Whether nobody waits for this replica's disk: it leads, and its followers' disks make the quorum.
    ///
    /// Where one entry is on its way alone, the own vote may be the second one and so is worth a sync; in a crowd syncs are
    /// what is short.
    private func mayDefer(_ replica: Replica, through last: LogIndex?) -> Bool {
        guard !isShuttingDown, now >= eagerUntil, replica.commitsWithoutOwnDisk, let last else { return false }
        return last - replica.commitIndex > 1 || !receipts.isEmpty || !inFlight.isEmpty
    }

    /// The log begins anew behind `position`, which the tablet holds durably.
    func reset(_ log: GroupLog, to position: LogPosition, hardState: HardState) {
        withBatch(isUrgent: true) { batch in
            log.reset(to: position, hardState: hardState, in: &batch)
        }
    }

    func purge(_ log: GroupLog, through index: LogIndex) {
        withBatch(isUrgent: false) { batch in
            log.purge(through: index, in: &batch)
        }
    }

    @inline(__always)
    private func withBatch(isUrgent: Bool, _ body: (inout LogBatch) -> Void) {
        var current = batch ?? LogBatch(id: nextBatch())
        batch = nil
        body(&current)
        batch = current
        if isUrgent { batchIsUrgent = true }
    }

    // MARK: Submitting

    /// Gives the log what has gathered, unless all of it may wait for something urgent to share a sync with.
    ///
    /// A leader's own disk is one vote among several. While its followers' disks make the quorum nobody waits for it, so its
    /// entries go with the next write that somebody does wait for, which spares up to a third of all syncs. They wait
    /// ``GroupHostOptions/leaderLogDelayNanoseconds`` at most, or longer when all are committed by then. When the oldest is
    /// not, the followers are slower than the own disk would have been, and for a while leaders here write at once again.
    func submitBatch() {
        guard let batch, !batch.isEmpty else { return }
        if !batchIsUrgent, batch.payloadBytes < options.leaderLogBytesDeferred, !isShuttingDown {
            guard let deadline = batchDeadline else {
                batchDeadline = now + options.leaderLogDelayNanoseconds
                return
            }
            guard now >= deadline else { return }
            if receipts.allSatisfy(isCommitted) {
                if !batchIsCommitted {
                    // Only this replica's own copy is missing: there is time.
                    batchIsCommitted = true
                    batchDeadline = now + options.committedLogDelayNanoseconds
                    return
                }
            } else if let oldest = receipts.first, !isCommitted(oldest) {
                eagerUntil = now + options.eagerNanoseconds
            }
        }
        self.batch = nil
        batchIsUrgent = false
        batchDeadline = nil
        batchIsCommitted = false
        submit(batch)
    }

    private func isCommitted(_ ticket: PersistTicket) -> Bool {
        guard ticket.replica.failure == nil, let last = ticket.receipt.last else { return true }
        return ticket.replica.commitIndex >= last.index
    }
}
