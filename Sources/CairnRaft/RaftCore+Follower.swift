/// The follower's side of log replication.
extension RaftCore {
    mutating func handleAppend(from node: NodeID, previous: LogPosition, commit: LogIndex, entries: [Entry]) {
        guard installing == nil else { return }
        guard Self.areWellFormed(entries, after: previous) else { return }
        let end = previous.index + entries.count
        // What is committed here is in every leader's log: skip it, and say so when that is all (also when `previous`
        // was purged long ago).
        if end <= log.committed {
            owesAcknowledgement = true
            return
        }
        let isKnown = previous.index < log.committed || log.term(at: previous.index) == previous.term
        guard isKnown else {
            let hint = log.lastPosition(atOrBelow: previous.index, termAtMost: previous.term)
            return send(.appendRejection(rejected: previous.index, hint: hint), to: node)
        }
        for (offset, entry) in entries.enumerated() where entry.index > log.committed {
            if entry.index <= log.last.index {
                if log.term(at: entry.index) == entry.term { continue }
                pipeline.overwritten(from: entry.index)
                log.truncate(from: entry.index)
                undoConfigurations(from: entry.index)
            }
            for new in entries[offset...] {
                log.append(new)
                if new.kind == .configuration { adoptConfiguration(of: new) }
            }
            break
        }
        if end > verified { verified = end }
        // Not beyond what this message has verified: behind it there may be a dead leader's tail.
        log.commit(through: min(commit, end))
        // What is not on the disk yet is acknowledged when it is; see `persisted`.
        if end <= pipeline.stable { owesAcknowledgement = true }
    }

    /// Whether `entries` follow on `previous` without gaps, and can be understood.
    private static func areWellFormed(_ entries: [Entry], after previous: LogPosition) -> Bool {
        var last = previous
        for entry in entries {
            guard entry.index == last.index.next, entry.term >= last.term else { return false }
            if entry.kind == .configuration, Configuration(decoding: entry.payload) == nil { return false }
            last = entry.position
        }
        return true
    }

    mutating func handleHeartbeat(_ heartbeat: Message.Heartbeat, from node: NodeID) {
        if heartbeat.revokedToken != 0, heartbeat.revokedToken == transferToken { renewTransferToken() }
        commit(verifiedBy: heartbeat.commit)
        send(
            .heartbeatResponse(
                Message.HeartbeatResponse(
                    round: heartbeat.round, sentAt: heartbeat.sentAt, clock: now, transferToken: transferToken,
                    isShortOfSpace: isShortOfSpace)),
            to: node)
    }

    /// Commits up to `position` if this log has that very entry, so that all before it are the leader's too.
    mutating func commit(verifiedBy position: LogPosition) {
        guard installing == nil, position.index > log.committed, log.term(at: position.index) == position.term else {
            return
        }
        if position.index > verified { verified = position.index }
        log.commit(through: position.index)
    }

    /// Everything up to the result is the leader's log and is on the disk here.
    var acknowledgeable: LogIndex { min(pipeline.stable, max(verified, log.committed)) }

    // MARK: Snapshots

    mutating func handleSnapshot(_ metadata: SnapshotMetadata) {
        guard installing == nil else { return }
        let position = metadata.position
        // (The state machine may be ahead of a log that lost its unsynced tail; it never goes back.)
        if position.index <= max(log.committed, log.handedOut) {
            owesAcknowledgement = true
            return
        }
        if log.term(at: position.index) == position.term {
            // The log reaches it by itself.
            verified = max(verified, position.index)
            log.commit(through: position.index)
            owesAcknowledgement = true
            return
        }
        installing = metadata
        snapshotToInstall = metadata
    }

    /// Says that the host has replaced state machine and log by the snapshot, durably and at once.
    ///
    /// The log storage then begins behind `metadata.position`, is empty, and knows that position's term.
    public mutating func snapshotInstalled(_ metadata: SnapshotMetadata) {
        guard installing == metadata else { return }
        installing = nil
        snapshotToInstall = nil
        let index = metadata.position.index
        pipeline.reset(stable: index)
        log.reset(to: metadata.position)
        verified = index
        configurations = [ConfigurationInForce(index: index, configuration: metadata.configuration)]
        configurationDidChange()
        resetElectionDeadline()
        owesAcknowledgement = true
    }

    /// Says that the snapshot could not be installed; the log stays as it was.
    public mutating func snapshotRefused(_ metadata: SnapshotMetadata) {
        guard installing == metadata else { return }
        installing = nil
        snapshotToInstall = nil
    }

    /// What describes a snapshot of the state after the entry at `index`, which must be committed and not below the
    /// log's purge point; nil otherwise.
    public func snapshotMetadata(at index: LogIndex) -> SnapshotMetadata? {
        guard index <= log.committed, let term = log.term(at: index), let found = configuration(at: index) else {
            return nil
        }
        return SnapshotMetadata(
            position: LogPosition(term: term, index: index), configuration: found.configuration)
    }
}
