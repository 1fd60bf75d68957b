import CairnFiles
import CairnRaft

/// Snapshots on their way, in and out.
///
/// The order of an installation, and why each cut is safe:
///
/// 1. All files are received, synced, and their directory is synced. *Cut here:* the directory is removed at the next start.
/// 2. The state machine switches to them atomically; that is the commit point. *Cut behind it:* at the next start
///    the tablet's position is not in the log, so the log is reset to it (``add(group:voters:preferredLeader:stateMachine:)``).
/// 3. The log is reset to the position: entries below are covered, entries above are of no known history.
/// 4. Only then the leader hears of it, and appends what follows.
extension GroupHost {
    private static let incomingPrefix = "incoming-"
    private static let outgoingPrefix = "outgoing-"
    private static let failurePause: UInt64 = 1_000_000_000

    func groupDirectory(_ group: GroupID) -> String {
        "\(directory)/\(group.rawValue)"
    }

    /// Whether a folder in a group's goes away at the next start.
    static func isUnfinishedSnapshot(_ name: String) -> Bool {
        name.hasPrefix(incomingPrefix) || name.hasPrefix(outgoingPrefix)
    }

    func removeUnfinishedSnapshots(of group: GroupID) {
        let parent = groupDirectory(group)
        guard let names = try? fileSystem.list(parent) else { return }
        for name in names where Self.isUnfinishedSnapshot(name) {
            try? fileSystem.removeTree(parent + "/" + name)
        }
    }

    func tickSnapshots(elapsed: UInt64) {
        // A tenth of a second's worth may be saved up, so that a late tick does not slow the stream down.
        let seconds = Double(min(elapsed, 1_000_000_000)) / 1_000_000_000
        let bytes = UInt64(Double(options.snapshotBytesPerSecond) * seconds)
        snapshotBudget = min(
            snapshotBudget + bytes, max(options.snapshotBytesPerSecond / 10, UInt64(options.snapshotChunkBytes)))
        for replica in active where replica.failure == nil {
            if !replica.senders.isEmpty { tickSenders(of: replica) }
            if !replica.failedSnapshots.isEmpty { reportFailedSnapshots(of: replica) }
            if let receiver = replica.receiver {
                if receiver.transfer.term < replica.core.term
                    || now > receiver.lastHeard + options.snapshotTimeoutNanoseconds
                {
                    receiver.removeFiles()
                    replica.receiver = nil
                }
            }
        }
    }

    func endSnapshots(of replica: Replica) {
        endSnapshotSenders(of: replica)
        replica.receiver?.removeFiles()
        replica.receiver = nil
    }

    // MARK: Sending

    func beginSnapshot(to peer: NodeID, of replica: Replica) {
        guard !replica.senders.contains(where: { $0.peer == peer }),
            !replica.failedSnapshots.contains(where: { $0.peer == peer })
        else { return }
        let parent = groupDirectory(replica.group)
        let transfer = SnapshotTransfer(term: replica.core.term, number: nextTransfer)
        nextTransfer &+= 1
        let path = "\(parent)/\(Self.outgoingPrefix)\(peer.rawValue)-\(transfer.number)"
        do {
            try fileSystem.createDirectory(parent)
            let index = try replica.stateMachine.checkpoint(into: path)
            guard let metadata = replica.core.snapshotMetadata(at: index) else {
                throw ReplicationError(.stateMachine, group: replica.group, "no entry \(index) to take a snapshot at")
            }
            let sender = try SnapshotSender(
                peer: peer, transfer: transfer, metadata: metadata, directory: path, fileSystem: fileSystem,
                options: options, now: now)
            replica.senders.append(sender)
            pump(sender, of: replica)
        } catch {
            try? fileSystem.removeTree(path)
            onGroupFailure?(
                ReplicationError(.snapshotIO, group: replica.group, "no snapshot for node \(peer): \(error)"))
            replica.failedSnapshots.append((peer, now + Self.failurePause))
        }
    }

    private func tickSenders(of replica: Replica) {
        for sender in replica.senders {
            if sender.isTimedOut(now: now) {
                send(.cancel(sender.transfer), to: sender.peer, of: replica.group)
                end(sender, of: replica, failed: true)
                markDirty(replica)
            } else {
                pump(sender, of: replica)
            }
        }
    }

    private func pump(_ sender: SnapshotSender, of replica: Replica) {
        do {
            try sender.pump(now: now, budget: &snapshotBudget) { message in
                send(message, to: sender.peer, of: replica.group)
            }
        } catch {
            onGroupFailure?(
                ReplicationError(.snapshotIO, group: replica.group, "a snapshot's file cannot be read: \(error)"))
            send(.cancel(sender.transfer), to: sender.peer, of: replica.group)
            end(sender, of: replica, failed: true)
        }
    }

    /// Forgets a sender and its files; a failure is reported after a pause.
    private func end(_ sender: SnapshotSender, of replica: Replica, failed: Bool) {
        sender.removeFiles()
        replica.senders.removeAll { $0 === sender }
        if failed { replica.failedSnapshots.append((sender.peer, now + Self.failurePause)) }
    }

    private func reportFailedSnapshots(of replica: Replica) {
        for failed in replica.failedSnapshots where failed.reportAt <= now {
            replica.core.reportSnapshot(to: failed.peer, result: .failed)
            markDirty(replica)
        }
        replica.failedSnapshots.removeAll { $0.reportAt <= now }
    }

    /// The office is lost, and with it the right to overwrite other replicas.
    func endSnapshotSenders(of replica: Replica) {
        for sender in replica.senders {
            send(.cancel(sender.transfer), to: sender.peer, of: replica.group)
            sender.removeFiles()
        }
        replica.senders = []
        replica.failedSnapshots = []
    }

    // MARK: Messages

    func take(_ message: SnapshotMessage, from peer: NodeID, in replica: Replica) {
        switch message {
        case .begin(let transfer, let metadata, let files, let keys):
            begin(transfer, metadata, files, keys, from: peer, in: replica)
        case .chunk(let transfer, let file, let offset, let position, let checksum, let bytes):
            guard let receiver = replica.receiver, receiver.transfer == transfer, receiver.sender == peer else {
                answerUnknown(transfer, to: peer, in: replica)
                return
            }
            do {
                try receiver.accept(
                    file: file, offset: offset, position: position, checksum: checksum, bytes, now: now)
            } catch {
                giveUp(receiver, of: replica, error)
                return
            }
            acknowledge(receiver, of: replica)
        case .cancel(let transfer):
            if let receiver = replica.receiver, receiver.transfer == transfer, receiver.sender == peer {
                receiver.removeFiles()
                replica.receiver = nil
            }
        case .progress(let transfer, let position):
            guard let sender = replica.senders.first(where: { $0.transfer == transfer && $0.peer == peer }) else {
                return
            }
            sender.acknowledge(position, now: now)
            pump(sender, of: replica)
            markDirty(replica)
        case .finished(let transfer, let outcome):
            guard let sender = replica.senders.first(where: { $0.transfer == transfer && $0.peer == peer }) else {
                return
            }
            finished(sender, outcome, of: replica)
        }
    }

    private func finished(_ sender: SnapshotSender, _ outcome: SnapshotMessage.Outcome, of replica: Replica) {
        switch outcome {
        case .installed:
            end(sender, of: replica, failed: false)
            statistics.snapshotsSent += 1
            replica.core.reportSnapshot(to: sender.peer, result: .installed(sender.metadata.position.index))
        case .obsolete:
            // It has as much already: probing finds where to go on.
            end(sender, of: replica, failed: false)
            replica.core.reportSnapshot(to: sender.peer, result: .failed)
        case .failed:
            end(sender, of: replica, failed: true)
        case .unknown:
            sender.startOver()
            pump(sender, of: replica)
        }
        markDirty(replica)
    }

    // MARK: Receiving

    private func begin(
        _ transfer: SnapshotTransfer, _ metadata: SnapshotMetadata, _ files: [SnapshotFile],
        _ keys: [Keyring.DataKey], from peer: NodeID, in replica: Replica
    ) {
        if let last = replica.lastReceived, last.transfer == transfer {
            send(.finished(transfer, last.outcome), to: peer, of: replica.group)
            return
        }
        if let receiver = replica.receiver {
            if receiver.transfer == transfer, receiver.sender == peer {
                acknowledge(receiver, of: replica)
                return
            }
            // Of two transfers the one of the later term wins, and within a term the later one.
            let isNewer =
                transfer.term > receiver.transfer.term
                || (transfer.term == receiver.transfer.term && receiver.metadata.position < metadata.position)
                || (transfer.term == receiver.transfer.term && receiver.sender == peer
                    && receiver.metadata.position == metadata.position)
            guard isNewer else {
                send(.finished(transfer, .failed), to: peer, of: replica.group)
                return
            }
            receiver.removeFiles()
            replica.receiver = nil
        }
        let isNews = replica.core.lacksState || metadata.position.index > replica.stateMachine.appliedIndex
        guard transfer.term >= replica.core.term, replica.core.wants(metadata), isNews else {
            // A replica without state will want another one, after a pause.
            let outcome = replica.core.lacksState ? SnapshotMessage.Outcome.failed : .obsolete
            send(.finished(transfer, outcome), to: peer, of: replica.group)
            return
        }
        var total: UInt64 = 0
        for file in files {
            let (sum, overflows) = total.addingReportingOverflow(file.byteCount)
            guard !overflows, sum <= options.snapshotBytesMax else {
                send(.finished(transfer, .failed), to: peer, of: replica.group)
                return
            }
            total = sum
        }
        do {
            let parent = groupDirectory(replica.group)
            try fileSystem.createDirectory(parent)
            let free = try fileSystem.freeSpace(at: parent)
            guard free > total, free - total > options.spaceReserveBytes else {
                throw FileError(.outOfSpace, .create, path: parent, reason: "\(total) bytes to come, \(free) are free")
            }
            let path = "\(parent)/\(Self.incomingPrefix)\(peer.rawValue)-\(transfer.number)"
            try fileSystem.removeTree(path)
            if !keys.isEmpty {
                guard let keyring = fileSystem.keyring else {
                    throw FileError(
                        .wrongKey, .create, path: path,
                        reason: "node \(peer.rawValue) sends encrypted files, and this node has no master key")
                }
                // Before the first of their files is here, so that none ever stands without its key.
                try keyring.adopt(keys)
            }
            let receiver = try SnapshotReceiver(
                sender: peer, transfer: transfer, metadata: metadata, files: files, directory: path,
                fileSystem: fileSystem, syncBytes: options.snapshotSyncBytes, now: now)
            replica.receiver = receiver
            acknowledge(receiver, of: replica)
        } catch {
            onGroupFailure?(
                ReplicationError(.snapshotIO, group: replica.group, "a snapshot cannot be received: \(error)"))
            send(.finished(transfer, .failed), to: peer, of: replica.group)
        }
    }

    private func answerUnknown(_ transfer: SnapshotTransfer, to peer: NodeID, in replica: Replica) {
        let outcome = replica.lastReceived.flatMap { $0.transfer == transfer ? $0.outcome : nil } ?? .unknown
        send(.finished(transfer, outcome), to: peer, of: replica.group)
        markDirty(replica)
    }

    /// Tells the sender how far the files are, and offers them to the core once they are complete.
    private func acknowledge(_ receiver: SnapshotReceiver, of replica: Replica) {
        send(.progress(receiver.transfer, position: receiver.received), to: receiver.sender, of: replica.group)
        markDirty(replica)
        guard receiver.isComplete else { return }
        do {
            try receiver.finish()
        } catch {
            giveUp(receiver, of: replica, error)
            return
        }
        replica.core.step(
            Message(
                from: receiver.sender, to: node, term: receiver.transfer.term, kind: .snapshot(receiver.metadata)),
            now: now)
        drain(replica)
        // The core asks for the installation from within `drain`; what it did not ask for it does not need.
        if replica.receiver === receiver { end(receiver, of: replica, .obsolete) }
    }

    private func giveUp(_ receiver: SnapshotReceiver, of replica: Replica, _ error: FileError) {
        onGroupFailure?(
            ReplicationError(.snapshotIO, group: replica.group, "a snapshot cannot be received: \(error)"))
        end(receiver, of: replica, .failed)
    }

    private func end(_ receiver: SnapshotReceiver, of replica: Replica, _ outcome: SnapshotMessage.Outcome) {
        receiver.removeFiles()
        replica.receiver = nil
        replica.lastReceived = (receiver.transfer, outcome)
        send(.finished(receiver.transfer, outcome), to: receiver.sender, of: replica.group)
        markDirty(replica)
    }

    /// Replaces tablet and log by the snapshot that is complete.
    func install(_ metadata: SnapshotMetadata, in replica: Replica) {
        guard let receiver = replica.receiver, receiver.metadata == metadata, receiver.isComplete else {
            replica.core.snapshotRefused(metadata)
            return
        }
        do {
            try replica.stateMachine.install(from: receiver.directory)
        } catch {
            fail(
                replica,
                ReplicationError(.stateMachine, group: replica.group, "a snapshot could not be installed: \(error)"))
            return
        }
        precondition(
            replica.stateMachine.appliedIndex == metadata.position.index,
            "\(replica.group) installed \(replica.stateMachine.appliedIndex) for \(metadata.position)")
        if !replica.core.keepsLog(under: metadata) {
            let status = replica.core.status
            reset(
                replica.log, to: metadata.position,
                hardState: HardState(term: status.term, vote: status.vote, commit: metadata.position.index))
        }
        replica.unapplied = []
        replica.damage = nil
        replica.core.snapshotInstalled(metadata)
        statistics.snapshotsInstalled += 1
        end(receiver, of: replica, .installed)
    }
}
