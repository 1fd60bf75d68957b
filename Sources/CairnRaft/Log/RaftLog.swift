/// The log as the core sees it: what the storage was given, and behind it the tail that is not yet handed over.
///
/// - Invariant: `handedOut <= committed` except after a restart on a log that lost an unsynced tail which other disks
///   made committed and the state machine had applied; then nothing is handed out until the log has caught up.
/// - Invariant: an entry at or below `committed` never gives way to another.
struct RaftLog {
    let storage: any RaftLogStorage
    /// The tail that the next ``Ready`` hands over. What the storage has at or above its first index is void.
    private(set) var unstable: [Entry] = []
    private var unstableBytes = 0
    private(set) var last: LogPosition
    private(set) var committed: LogIndex
    /// The last entry given out for applying.
    private(set) var handedOut: LogIndex
    /// Nothing is handed out, because there is no state to apply it to.
    private(set) var withholds = false
    /// The last entry that the host said is applied.
    private(set) var applied: LogIndex

    init(storage: any RaftLogStorage, committed: LogIndex, applied: LogIndex) throws(RaftLogError) {
        self.storage = storage
        let lastIndex = storage.lastIndex
        guard let lastTerm = storage.term(at: lastIndex) else {
            throw RaftLogError(code: .corruption, index: lastIndex, message: "the last entry has no term")
        }
        guard committed <= lastIndex else {
            throw RaftLogError(
                code: .corruption, index: committed,
                message: "entries up to \(committed) are known as committed, but the log ends at \(lastIndex)")
        }
        last = LogPosition(term: lastTerm, index: lastIndex)
        // What was applied was committed; what came before the log's first entry as well.
        self.committed = max(committed, min(applied, lastIndex), storage.firstIndex.previous)
        self.applied = applied
        handedOut = applied
    }

    /// The term of the entry at `index`, or nil when it was purged or is not there.
    func term(at index: LogIndex) -> Term? {
        if index >= last.index { return index == last.index ? last.term : nil }
        if let first = unstable.first, index >= first.index { return unstable[index - first.index].term }
        return storage.term(at: index)
    }

    /// Entries `from ... through`, cut off before `maxBytes` are exceeded, but at least one.
    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) throws(RaftLogError) -> [Entry] {
        precondition(from <= through && through <= last.index, "entries \(from) to \(through) of \(last.index)")
        guard let first = unstable.first else {
            return try stored(from: from, through: through, maxBytes: maxBytes)
        }
        if from == first.index, through == last.index, unstableBytes <= maxBytes { return unstable }
        var result: [Entry] = []
        var bytes = 0
        if from < first.index {
            let end = min(through, first.index.previous)
            result = try stored(from: from, through: end, maxBytes: maxBytes)
            guard result.last?.index == end, end < through else { return result }
            for entry in result { bytes += entry.chargedBytes }
        }
        var offset = max(from, first.index) - first.index
        let end = through - first.index
        while offset <= end {
            bytes += unstable[offset].chargedBytes
            if bytes > maxBytes, !result.isEmpty { break }
            result.append(unstable[offset])
            offset += 1
        }
        return result
    }

    private func stored(from: LogIndex, through: LogIndex, maxBytes: Int) throws(RaftLogError) -> [Entry] {
        guard from >= storage.firstIndex else {
            throw RaftLogError(code: .compacted, index: from, message: "entry \(from) was purged")
        }
        let result = try storage.entries(from: from, through: through, maxBytes: maxBytes)
        guard result.first?.index == from else {
            throw RaftLogError(code: .corruption, index: from, message: "the log lacks entry \(from)")
        }
        return result
    }

    mutating func append(_ entry: Entry) {
        precondition(entry.index == last.index.next && entry.term >= last.term, "\(entry.position) after \(last)")
        unstable.append(entry)
        unstableBytes += entry.chargedBytes
        last = entry.position
    }

    /// Drops the entries from `index` on; appending must follow before the next ``takeUnstable()``.
    mutating func truncate(from index: LogIndex) {
        precondition(index > committed, "entry \(index) would give way, but \(committed) is committed")
        guard index <= last.index else { return }
        let previous = index.previous
        let previousTerm = term(at: previous) ?? .zero
        if let first = unstable.first, index > first.index {
            for entry in unstable[(index - first.index)...] { unstableBytes -= entry.chargedBytes }
            unstable.removeSubrange((index - first.index)...)
        } else {
            unstable.removeAll()
            unstableBytes = 0
        }
        last = LogPosition(term: previousTerm, index: previous)
    }

    /// The last position at or below `index` whose term is not above `term`: below it two logs may agree again.
    func lastPosition(atOrBelow index: LogIndex, termAtMost term: Term) -> LogPosition {
        var candidate = min(index, last.index)
        while candidate > .zero {
            // A purged entry was committed, so it agrees with any leader's log.
            guard let found = self.term(at: candidate) else { return LogPosition(term: .zero, index: candidate) }
            if found <= term { return LogPosition(term: found, index: candidate) }
            candidate = candidate.previous
        }
        return .zero
    }

    mutating func commit(through index: LogIndex) {
        precondition(index <= last.index, "commit of \(index) beyond the last entry \(last.index)")
        if index > committed { committed = index }
    }

    var hasCommittedToHandOut: Bool { committed > handedOut && !withholds }

    /// The committed entries that were not handed out yet, up to `maxBytes`.
    mutating func takeCommitted(maxBytes: Int) throws(RaftLogError) -> [Entry] {
        guard hasCommittedToHandOut else { return [] }
        let result = try entries(from: handedOut.next, through: committed, maxBytes: maxBytes)
        handedOut = result[result.count - 1].index
        return result
    }

    mutating func applied(to index: LogIndex) {
        precondition(index <= handedOut, "applied \(index), but entries were given out to \(handedOut)")
        applied = max(applied, index)
    }

    mutating func takeUnstable() -> [Entry] {
        unstableBytes = 0
        let result = unstable
        unstable = []
        return result
    }

    /// The state machine is lost, and with it what was applied.
    mutating func withhold() { withholds = true }

    /// The state machine is as of `index`, an entry of this log or the position before it, and goes on from there.
    mutating func restore(at index: LogIndex) {
        committed = max(committed, index)
        handedOut = index
        applied = index
        withholds = false
    }

    /// The log after a snapshot took its place.
    mutating func reset(to position: LogPosition) {
        unstable = []
        unstableBytes = 0
        last = position
        committed = position.index
        handedOut = position.index
        applied = position.index
        withholds = false
    }
}
