import CairnFiles
import CairnRaft

/// What a disk that fills up does to the groups.
///
/// Raft needs no help to stay right: what is not on the disk is not acknowledged. What is done here keeps the disk from filling
/// up altogether, keeps what waits for room bounded, and moves the offices to where there is room:
///
/// - *low*: leaders hand over to a voter that is not short of space, and ``room(for:)`` says that only deletions are welcome.
///   A leader goes on when there is no such voter, so that reads are answered. Followers append as ever.
/// - *exhausted*: nothing is proposed; appends of leaders are not taken in, as if the network had lost them; nobody here campaigns.
///   Batches on their way to the log wait for room (``LogWriter`` tries again), entries on their way to a tablet likewise.
extension GroupHost {
    /// Looks at the disk, once a second, and at what found no room.
    func watchSpace() {
        if now >= nextSpaceReading {
            nextSpaceReading = now + options.spaceReadingNanoseconds
            // A disk that cannot be asked is not full for that.
            if let free = try? fileSystem.freeSpace(at: log.directoryPath) { space.note(freeBytes: free) }
        }
        let isBlocked = log.isOutOfSpace || active.contains { !$0.unapplied.isEmpty }
        guard space.update(isBlocked: isBlocked) else { return }
        for replica in replicas {
            replica.core.setShortOfSpace(space.state != .ample)
            replica.nextTransferAttempt = 0
            markDirty(replica)
        }
        onSpaceChange?(space)
        if space.state != .ample { evacuate() }
    }

    /// Offers the offices of a node that is short of space to nodes that are not.
    func evacuate() {
        for replica in replicas where replica.failure == nil && replica.role.isLeader && replica.hasPeers {
            guard now >= replica.nextTransferAttempt, replica.core.transferTarget == nil else { continue }
            // Proposals are refused while a handover is under way, so one that fails must not be repeated at once.
            replica.nextTransferAttempt = now + 8 * options.raft.electionTimeout.nanoseconds
            if (try? replica.core.transferLeadership(to: nil)) != nil { markDirty(replica) }
        }
    }

    /// Whether a message would only add to what waits for room, and is better lost.
    func isUnwelcome(_ message: Message, to replica: Replica) -> Bool {
        guard space.state == .exhausted else { return false }
        if case .append(_, _, let entries) = message.kind, !entries.isEmpty { return true }
        // Until its vote or term is on the disk the replica can answer nobody, and answers would gather.
        return log.isOutOfSpace && !replica.core.isHardStateDurable
    }

    /// Which writes the group can take here; a replica that does not lead says ``WriteRoom/ample``, because that is not for it
    /// to say.
    ///
    /// - Complexity: O(1) while there is room everywhere, so that it may be asked for each request.
    public func room(for group: GroupID) -> WriteRoom {
        guard let replica = index[group] else { return .ample }
        guard space.state != .ample || replica.isQuorumShortOfSpace, replica.role.isLeader else { return .ample }
        if replica.core.transferTarget != nil { return .moving }
        switch space.state {
        case .exhausted: return .none(spaceReport)
        case .low: return .deletesOnly(spaceReport)
        case .ample:
            return .deletesOnly(
                "the disks of most nodes that hold group \(group) are nearly full; free some space there, or enlarge them"
            )
        }
    }

    private var spaceReport: String {
        let free = space.freeBytes == .max ? "too little space is" : "\(space.freeBytes >> 20) MiB are"
        return
            "the disk of node \(node) is nearly full: \(free) free at \(log.directoryPath), and \(space.reserveBytes >> 20) MiB are kept in reserve (storage.reserve-bytes); free some space, or enlarge the volume"
    }
}
