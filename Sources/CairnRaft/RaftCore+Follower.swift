import CairnDefects

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
        if options.defects.contains(.truncateAtDuplicateAppend), end < log.last.index, end >= log.committed {
            pipeline.overwritten(from: end.next)
            log.truncate(from: end.next)
            undoConfigurations(from: end.next)
        }
        // What is not on the disk yet is acknowledged when it is; see `persisted`.
        if end <= pipeline.stable || options.defects.contains(.acknowledgeUnsyncedAppend) { owesAcknowledgement = true }
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
        guard hasKept(heartbeat.acknowledged) else { return }
        if heartbeat.revokedToken != 0, heartbeat.revokedToken == transferToken { renewTransferToken() }
        commit(verifiedBy: heartbeat.commit)
        if heartbeat.isLast { agreeToRest(with: heartbeat.commit) }
        if lacksState, installing == nil { send(.snapshotRequest, to: node) }
        send(
            .heartbeatResponse(
                Message.HeartbeatResponse(
                    round: heartbeat.round, sentAt: heartbeat.sentAt, clock: now, transferToken: transferToken,
                    isShortOfSpace: isShortOfSpace, isQuiet: isQuiet)),
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
    var acknowledgeable: LogIndex {
        if options.defects.contains(.acknowledgeUnsyncedAppend) { return max(verified, log.committed) }
        return min(pipeline.stable, max(verified, log.committed))
    }

    // MARK: Snapshots

    mutating func handleSnapshot(_ metadata: SnapshotMetadata) {
        guard installing == nil else { return }
        let position = metadata.position
        if lacksState {
            guard wants(metadata) else { return }
            installing = metadata
            snapshotToInstall = metadata
            return
        }
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
    ///
    /// Where ``keepsLog(under:)`` said so before, the storage is what it was.
    public mutating func snapshotInstalled(_ metadata: SnapshotMetadata) {
        guard installing == metadata else { return }
        let keepsLog = keepsLog(under: metadata)
        installing = nil
        snapshotToInstall = nil
        let index = metadata.position.index
        if lacksState {
            lacksState = false
            renewTransferToken()
        }
        guard !keepsLog else {
            log.restore(at: index)
            let later = configurations.filter { $0.index > index }
            configurations = [ConfigurationInForce(index: index, configuration: metadata.configuration)] + later
            configurationDidChange()
            return
        }
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

    /// Whether a snapshot would bring this replica forward, or back from the loss of its state.
    public func wants(_ metadata: SnapshotMetadata) -> Bool {
        // From the log's beginning on, what the snapshot lacks is in the log.
        if lacksState { return metadata.position.index >= log.storage.firstIndex.previous }
        return metadata.position.index > log.committed
    }

    /// Whether the log goes on behind a snapshot, because it holds the very entry that the snapshot ends with.
    ///
    /// What this replica has acknowledged behind it is there then, and must stay: others may have counted it.
    public func keepsLog(under metadata: SnapshotMetadata) -> Bool {
        lacksState && log.term(at: metadata.position.index) == metadata.position.term
    }

    /// Says that the state machine is lost while log and hard state are sound.
    ///
    /// The replica goes on voting and acknowledging, which rests on its log alone, and on its state only up to the log's first
    /// entry: those who count on it for older entries can only elect someone whose log is as long, or nobody. It does not lead,
    /// hands nothing out, and asks the leader for a snapshot at each heartbeat until one is installed.
    public mutating func loseState(now: UInt64) {
        observe(now)
        guard !lacksState else { return }
        lacksState = true
        log.withhold()
        renewTransferToken()
        disturbLeader()
        if isQuiet { wake(now: now) }
        if role != .follower { becomeFollower(term: term, leader: nil) }
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
