import CairnRaft
import DequeModule

/// One group's log as its event loop sees it: terms, sizes and recent entries in memory, older entries read from the disk.
///
/// It always shows what was handed over, durable or not. Its methods change memory at once and put into a ``LogBatch``
/// what must be done to the disk; nothing is sure until the batch is reported durable.
///
/// Not thread-safe: it lives on the group's loop. What it shares with the log thread is inside ``SharedLog``.
///
/// - Invariant: every entry above ``persistedIndex`` is in memory, so reads never wait for a write in flight.
public final class GroupLog: RaftLogStorage {
    public let group: GroupID
    /// Which life of the group's number on this node this is, from 1.
    public let incarnation: UInt32
    /// The newest hard state that was handed over.
    public private(set) var hardState: HardState
    /// The position before the first entry: the purge or snapshot point.
    public private(set) var base: LogPosition
    public private(set) var lastIndex: LogIndex
    /// Entries up to here are durable. What was never taken back by a conflict, that is.
    public private(set) var persistedIndex: LogIndex
    /// What the log's recovery found wrong; nil again after ``reset(to:hardState:in:)``.
    public private(set) var damage: GroupDamage?
    /// Bytes of the entries from first to last, with ``Entry/chargedBytes``' measure.
    public private(set) var byteCount = 0

    private let log: SharedLog
    private let cacheBytesMax: Int

    /// Where each term begins, in order; the first one holds `firstIndex`.
    private var terms: Deque<(first: LogIndex, term: Term)> = []
    /// `chargedBytes` of entry `base.index + 1 + n`.
    private var sizes: Deque<Int32> = []
    /// The entries up to `lastIndex` without gaps, as many as fit.
    private var cache: Deque<Entry> = []
    private var cacheBytes = 0

    init(log: SharedLog, group: GroupID, records: GroupRecords, cacheBytesMax: Int) {
        self.log = log
        self.group = group
        self.cacheBytesMax = cacheBytesMax
        incarnation = records.incarnation
        hardState = records.hardState
        base = records.base
        lastIndex = records.last
        persistedIndex = records.last
        damage = records.damage
        var index = base.index
        for place in records.places {
            index = index.next
            note(index, place.term, Int(place.payloadBytes) + 32)
        }
    }

    public var firstIndex: LogIndex { base.index.next }

    public func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        guard index > base.index, index <= lastIndex, let newest = terms.last else { return nil }
        if index >= newest.first { return newest.term }
        var low = 0
        var high = terms.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if terms[middle].first <= index { low = middle } else { high = middle - 1 }
        }
        return terms[low].term
    }

    public func entries(from: LogIndex, through: LogIndex, maxBytes: Int) throws(RaftLogError) -> [Entry] {
        guard from > base.index else {
            throw RaftLogError(code: .compacted, index: from, message: "purged through \(base)")
        }
        let through = min(through, lastIndex)
        guard from <= through else { return [] }
        var found: [Entry] = []
        var bytes = 0
        var next = from
        let cacheFirst = lastIndex.next.rawValue - UInt64(cache.count)
        if next.rawValue < cacheFirst {
            let end = LogIndex(min(through.rawValue, cacheFirst - 1))
            do throws(SharedLogError) {
                found = try log.read(group, incarnation, from: next, through: end, maxBytes: maxBytes)
            } catch {
                throw RaftLogError(
                    code: error.code == .unreadable ? .corruption : .io, index: from, message: "\(error)")
            }
            guard let last = found.last, last.index == end else { return found }
            for entry in found { bytes += entry.chargedBytes }
            next = end.next
        }
        while next <= through {
            let entry = cache[Int(next.rawValue - cacheFirst)]
            bytes += entry.chargedBytes
            if bytes > maxBytes, !found.isEmpty { break }
            found.append(entry)
            next = next.next
        }
        return found
    }

    /// Puts `entries` at the end, or over what is there at and above the first one's index, and the hard state with them.
    ///
    /// - Precondition: The entries are consecutive and the first one's place is between ``firstIndex`` and the one after
    ///   ``lastIndex``.
    public func append(_ entries: [Entry], hardState: HardState? = nil, to batch: inout LogBatch) {
        if let hardState {
            self.hardState = hardState
            batch.add(.hardState(hardState), group, incarnation)
        }
        guard let first = entries.first else { return }
        precondition(
            first.index > base.index && first.index <= lastIndex.next,
            "\(group): entry \(first.index) into a log of \(firstIndex)...\(lastIndex)")
        truncate(from: first.index)
        for entry in entries {
            precondition(entry.index == lastIndex.next, "\(group): entry \(entry.index) after \(lastIndex)")
            lastIndex = entry.index
            note(entry.index, entry.term, entry.chargedBytes)
            cache.append(entry)
            cacheBytes += entry.chargedBytes
        }
        batch.add(.entries(entries), group, incarnation)
    }

    /// The entry at `position`, and all before it, are durable. Late and reordered reports do no harm: one about an entry
    /// that has given way meanwhile says nothing about its successor.
    public func persisted(through position: LogPosition) {
        guard position.index > persistedIndex, term(at: position.index) == position.term else { return }
        persistedIndex = position.index
        evict()
    }

    /// Forgets the entries up to `index`; the disk space follows when whole segments are free.
    ///
    /// - Precondition: What they say survives a power cut elsewhere.
    public func purge(through index: LogIndex, in batch: inout LogBatch) {
        let index = min(index, lastIndex)
        guard index > base.index, let term = term(at: index) else { return }
        for _ in 0..<(index - base.index) { byteCount -= Int(sizes.removeFirst()) }
        base = LogPosition(term: term, index: index)
        while terms.count > 1, terms[1].first <= index.next { terms.removeFirst() }
        if lastIndex == index { terms.removeAll() }
        while let oldest = cache.first, oldest.index <= index {
            cacheBytes -= oldest.chargedBytes
            cache.removeFirst()
        }
        persistedIndex = max(persistedIndex, index)
        batch.add(.purge(base), group, incarnation)
    }

    /// Drops all entries: a snapshot as of `position` takes their place, in one record.
    ///
    /// - Parameter hardState: What to go on with; the present one if nil.
    public func reset(to position: LogPosition, hardState: HardState? = nil, in batch: inout LogBatch) {
        if let hardState { self.hardState = hardState }
        base = position
        lastIndex = position.index
        persistedIndex = position.index
        damage = nil
        terms.removeAll()
        sizes.removeAll()
        cache.removeAll()
        cacheBytes = 0
        byteCount = 0
        batch.add(.reset(position, self.hardState), group, incarnation)
    }

    /// Ends this life of the group on this node. The log must not be used any more.
    public func destroy(in batch: inout LogBatch) {
        log.markEnded(group, incarnation)
        batch.add(.destroy, group, incarnation)
    }

    private func note(_ index: LogIndex, _ term: Term, _ bytes: Int) {
        if terms.last?.term != term { terms.append((index, term)) }
        sizes.append(Int32(bytes))
        byteCount += bytes
    }

    private func truncate(from index: LogIndex) {
        guard index <= lastIndex else { return }
        for _ in 0..<(lastIndex - index + 1) {
            byteCount -= Int(sizes.removeLast())
            if let newest = cache.popLast() { cacheBytes -= newest.chargedBytes }
        }
        while let newest = terms.last, newest.first >= index { terms.removeLast() }
        lastIndex = index.previous
        persistedIndex = min(persistedIndex, lastIndex)
    }

    /// Gives up the oldest entries in memory, as far as the disk has them, until the rest fits.
    private func evict() {
        while cacheBytes > cacheBytesMax, let oldest = cache.first, oldest.index <= persistedIndex {
            cacheBytes -= oldest.chargedBytes
            cache.removeFirst()
        }
    }
}
