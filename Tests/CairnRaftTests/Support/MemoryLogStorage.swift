import CairnRaft

/// A log in memory: entries behind a purge point.
struct MemoryLog: Hashable {
    var base = LogPosition.zero
    var entries: [Entry] = []

    var lastIndex: LogIndex { base.index + entries.count }

    func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        guard index > base.index, index <= lastIndex else { return nil }
        return entries[index - base.index - 1].term
    }

    subscript(index: LogIndex) -> Entry { entries[index - base.index - 1] }

    /// Appends; what stands at or above the first new index gives way.
    mutating func append(_ new: some Collection<Entry>) {
        guard let first = new.first else { return }
        precondition(first.index > base.index && first.index <= lastIndex.next, "a gap before \(first.index)")
        entries.removeSubrange((first.index - base.index - 1)...)
        entries += new
    }

    mutating func purge(through index: LogIndex) {
        guard index > base.index, let term = term(at: index) else { return }
        entries.removeFirst(index - base.index)
        base = LogPosition(term: term, index: index)
    }
}

/// The ``RaftLogStorage`` of the tests: what was handed over, durable or not.
final class MemoryLogStorage: RaftLogStorage {
    var log: MemoryLog

    init(_ log: MemoryLog = MemoryLog()) { self.log = log }

    var firstIndex: LogIndex { log.base.index.next }
    var lastIndex: LogIndex { log.lastIndex }
    func term(at index: LogIndex) -> Term? { log.term(at: index) }

    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) throws(RaftLogError) -> [Entry] {
        guard from >= firstIndex else { throw RaftLogError(code: .compacted, index: from, message: "purged") }
        var result: [Entry] = []
        var bytes = 0
        var index = from
        while index <= through {
            let entry = log[index]
            bytes += entry.chargedBytes
            if bytes > maxBytes, !result.isEmpty { break }
            result.append(entry)
            index = index.next
        }
        return result
    }
}
