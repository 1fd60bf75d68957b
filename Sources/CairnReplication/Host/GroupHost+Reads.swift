public import CairnRaft

/// Linearizable reads.
extension GroupHost {
    /// The index that a linearizable read may be answered at, given at once under a leader's lease.
    ///
    /// The read is linearizable once ``appliedIndex(of:)`` has reached it, which it has after a ``flush()``.
    ///
    /// - Parameter now: read from the clock for this call, never remembered: the process may have stood still since.
    /// - Returns: nil when this replica does not lead, or cannot be sure that it still does; use
    ///   ``readIndex(_:completion:)`` then.
    public func leaseReadIndex(_ group: GroupID, now: UInt64) -> LogIndex? {
        guard failure == nil, let replica = index[group], replica.failure == nil else { return nil }
        return replica.leaseReadIndex(now: now)
    }

    /// Confirms with a majority that this replica leads, and completes once what was committed when the call was made is
    /// applied here.
    ///
    /// Reads that come while a round is under way share the next one. The completion is called exactly once, from a later
    /// ``flush()`` or ``tick(now:)`` or, when the answer is known, at once.
    public func readIndex(
        _ group: GroupID, completion: @escaping (Result<LogIndex, GroupReadError>) -> Void
    ) {
        guard failure == nil, !isLogStalled, let replica = index[group], replica.failure == nil else {
            completion(.failure(.unavailable))
            return
        }
        guard replica.core.role == .leader else {
            completion(.failure(.notLeader(leader: replica.core.leader)))
            return
        }
        replica.reads.append(PendingRead(askedAt: now, completion: completion))
        markDirty(replica)
    }

    func beginReadRound(_ replica: Replica) {
        guard replica.round == nil, !replica.reads.isEmpty else { return }
        let reads = replica.reads
        replica.reads = []
        let context = nextReadContext
        nextReadContext += 1
        do {
            try replica.core.requestRead(context: context)
            replica.round = ReadRound(context: context, reads: reads)
        } catch {
            switch error {
            case .notLeader(let leader):
                for read in reads { read.completion(.failure(.notLeader(leader: leader))) }
            }
        }
    }

    func answerReads(of replica: Replica) {
        let applied = replica.stateMachine.appliedIndex
        var answered: [(index: LogIndex, reads: [PendingRead])] = []
        replica.confirmedReads.removeAll { confirmed in
            guard confirmed.index <= applied else { return false }
            answered.append(confirmed)
            return true
        }
        for (index, reads) in answered {
            for read in reads { read.completion(.success(index)) }
        }
    }

    /// Ends reads that waited too long: a majority that does not answer must not hold clients for ever.
    func expireReads(of replica: Replica) {
        func isOld(_ read: PendingRead) -> Bool {
            now > read.askedAt && now - read.askedAt > options.readTimeoutNanoseconds
        }
        if let round = replica.round, round.reads.contains(where: isOld) {
            replica.round = nil
            for read in round.reads { read.completion(.failure(.timedOut)) }
            markDirty(replica)
        }
        if let first = replica.reads.first, isOld(first) {
            let reads = replica.reads
            replica.reads = []
            for read in reads { read.completion(.failure(.timedOut)) }
        }
    }

    func abandonReads(of replica: Replica, _ error: GroupReadError) {
        let reads = replica.reads + (replica.round?.reads ?? []) + replica.confirmedReads.flatMap(\.reads)
        replica.reads = []
        replica.round = nil
        replica.confirmedReads = []
        for read in reads { read.completion(.failure(error)) }
    }
}
