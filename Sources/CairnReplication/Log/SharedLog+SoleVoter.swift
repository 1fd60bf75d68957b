public import CairnRaft

/// Going on with one replica of a group, because most of the others are lost for good.
extension SharedLog {
    /// Ends the log of `group` with a configuration of which `node` is the only voter, in a term of its own.
    ///
    /// All that the log holds stays, also what was never known to be committed: some of it was acknowledged by those who are
    /// lost. It becomes committed as soon as the node leads. The change is durable when this returns, and may be repeated.
    ///
    /// - Parameters:
    ///   - applied: what the group's tablet has. A log that ends before it, or tells of another history, begins anew behind
    ///     it.
    ///   - mayBeginEmpty: whether a tablet that is older than what the log still has is no reason to refuse: the group then
    ///     begins with nothing.
    /// - Throws: ``ReplicationError`` with code `damaged` or `logGap` when this replica is not whole; nothing has changed then.
    ///   With code `logFailed` when the disk refused.
    public func makeSoleVoter(
        _ node: NodeID, of group: GroupID, applied: LogPosition, mayBeginEmpty: Bool = false
    ) throws(ReplicationError) {
        var log = open(group)
        var batch = LogBatch(id: 0)
        if mayBeginEmpty, applied.index < log.base.index {
            log.destroy(in: &batch)
            log = open(group)
        }
        if let damage = log.damage {
            throw ReplicationError(.damaged, group: group, "\(damage.file): \(damage.reason)")
        }
        guard applied.index >= log.base.index else {
            throw ReplicationError(
                .logGap, group: group,
                "the tablet ends at entry \(applied.index), the log begins at \(log.firstIndex): the tablet is older")
        }
        var hardState = log.hardState
        if log.term(at: applied.index) != applied.term {
            hardState.commit = applied.index
            log.reset(to: applied, hardState: hardState, in: &batch)
        }
        let lastTerm = log.term(at: log.lastIndex) ?? .zero
        hardState.term = max(hardState.term, lastTerm, applied.term).next
        hardState.vote = nil
        let entry = Entry(
            term: hardState.term, index: log.lastIndex.next, kind: .configuration,
            payload: Configuration(voters: [node]).encoded()[...])
        log.append([entry], hardState: hardState, to: &batch)
        do throws(SharedLogError) {
            try append(batch)
            try synchronize()
        } catch {
            throw ReplicationError(.logFailed, group: group, "\(error)")
        }
    }
}

/// How far the log of one group goes on this node, read without changing anything.
public struct GroupLogSummary: Hashable, Sendable {
    public let group: GroupID
    /// The last entry.
    public let last: LogPosition
    /// The highest index that was known to be committed when the log last said so: more may be.
    public let committed: LogIndex
    /// What is wrong with it; nil when it is whole.
    public let damage: String?
}
