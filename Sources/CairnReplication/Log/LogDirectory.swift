import CairnFiles
import CairnRaft
import DequeModule

/// Where an entry lies.
struct EntryPlace: Hashable, Sendable {
    var term: Term
    /// The segment's number; 0 where no record has been seen (only while a log is being recovered).
    var segment: UInt32
    /// The frame's offset in eighths of bytes.
    var eighths: UInt32
    var payloadBytes: UInt32
    /// The segment is encrypted, which makes its records longer.
    var isSealed: Bool

    init(term: Term, segment: UInt32, offset: UInt64, payloadBytes: Int, isSealed: Bool) {
        self.isSealed = isSealed
        self.term = term
        self.segment = segment
        eighths = UInt32(offset / 8)
        self.payloadBytes = UInt32(payloadBytes)
    }

    static let missing = EntryPlace(term: .zero, segment: 0, offset: 0, payloadBytes: 0, isSealed: false)

    var offset: UInt64 { UInt64(eighths) * 8 }
    var recordBytes: Int {
        RecordLogWriter.recordBytes(bodyBytes: Int(payloadBytes) + EntryRecord.headBytes, isSealed: isSealed)
    }
}

/// One file of the log.
struct LogSegment {
    let number: UInt32
    let path: String
    let fileID: UInt64
    /// What its records are sealed with, if they are.
    let cipher: FileCipher?
    var file: (any ReadableFile)?
    /// Bytes of records that some group still needs, by group.
    var live: [GroupID: Int] = [:]
    var liveBytes = 0
    /// Readers at work in it.
    var pins = 0
    var end: UInt64
}

/// What the log knows of one group.
struct GroupRecords {
    let incarnation: UInt32
    var isDestroyed = false
    var hardState = HardState()
    /// The position before the first entry.
    var base = LogPosition.zero
    /// Entry `base.index + 1 + n` lies at `places[n]`.
    var places: Deque<EntryPlace> = []
    /// The segment of the newest hard state, and of the newest base; 0 when none is on record.
    var hardStateSegment: UInt32 = 0
    var baseSegment: UInt32 = 0
    var recordedBase = LogPosition.zero
    var damage: GroupDamage?

    // Only while the log is recovered:
    /// `base` was on record.
    var baseIsKnown = false
    /// `base` is a guess: entries were seen whose predecessors may come later, copied forward.
    var baseIsProvisional = false
    /// The highest index that a damaged entry's record can have had.
    var damagedThrough: LogIndex?
    var damagedSinceLast = 0
    var hardStateIsDamaged = false
    var damagePlace: (file: String, offset: UInt64)?

    init(incarnation: UInt32) { self.incarnation = incarnation }

    var last: LogIndex { base.index + places.count }
}

/// The index over all segments: what the writer adds to, readers look up, and recovery rebuilds with the same methods.
struct LogDirectory {
    var groups: [GroupID: GroupRecords] = [:]
    /// The lives whose end was ordered; the record of it may still be on its way.
    var ended: [GroupID: UInt32] = [:]
    /// Oldest first, numbers without gaps.
    var segments: Deque<LogSegment> = []

    func segmentIndex(_ number: UInt32) -> Int? {
        guard let first = segments.first, number >= first.number, number - first.number < segments.count else {
            return nil
        }
        return Int(number - first.number)
    }

    /// Whether records of this incarnation count; makes room for a new one.
    mutating func admit(_ group: GroupID, _ incarnation: UInt32) -> Bool {
        if let known = groups[group] {
            guard incarnation >= known.incarnation else { return false }
            if incarnation == known.incarnation { return !known.isDestroyed }
            drop(group)
        }
        groups[group] = GroupRecords(incarnation: incarnation)
        return true
    }

    private mutating func charge(_ group: GroupID, _ segment: UInt32, _ bytes: Int) {
        guard bytes != 0, let index = segmentIndex(segment) else { return }
        segments[index].liveBytes += bytes
        segments[index].live[group, default: 0] += bytes
        if segments[index].live[group] == 0 { segments[index].live[group] = nil }
    }

    private mutating func release(_ group: GroupID, _ places: some Sequence<EntryPlace>) {
        tally(group, places, sign: -1)
    }

    /// Charges the bytes of `places` to their segments, or takes them off, a run of neighbours at a time.
    private mutating func tally(_ group: GroupID, _ places: some Sequence<EntryPlace>, sign: Int) {
        var segment: UInt32 = 0
        var bytes = 0
        for place in places {
            if place.segment != segment {
                charge(group, segment, sign * bytes)
                segment = place.segment
                bytes = 0
            }
            if place.segment != 0 { bytes += place.recordBytes }
        }
        charge(group, segment, sign * bytes)
    }

    /// Forgets everything about the entries of `group`.
    private mutating func drop(_ group: GroupID) {
        guard let places = groups[group]?.places else { return }
        groups[group]!.places = []
        release(group, places)
    }

    /// Entries from `first` on now lie at `new`; what was there at and above `first` is gone.
    mutating func noteEntries(_ group: GroupID, _ incarnation: UInt32, first: LogIndex, _ new: [EntryPlace]) {
        guard admit(group, incarnation) else { return }
        var first = first
        var new = new[...]
        if groups[group]!.baseIsProvisional, first <= groups[group]!.base.index {
            // A conflict below everything seen so far: nothing of that is left.
            drop(group)
            groups[group]!.base = LogPosition(term: .zero, index: first.previous)
            // Nothing comes before the first entry of all.
            groups[group]!.baseIsProvisional = first.previous > .zero
        }
        let base = groups[group]!.base.index
        if first <= base {
            // Behind the purge point already: a record that outlived its purge.
            let stale = min(base - first + 1, new.count)
            new = new.dropFirst(stale)
            first = first + stale
            if new.isEmpty { return }
        }
        if groups[group]!.places.isEmpty, first > base.next, !groups[group]!.baseIsKnown {
            groups[group]!.base = LogPosition(term: .zero, index: first.previous)
            groups[group]!.baseIsProvisional = true
        }
        let offset = first - groups[group]!.base.index - 1
        let count = groups[group]!.places.count
        if offset < count {
            let removed = Array(groups[group]!.places[offset...])
            groups[group]!.places.removeLast(count - offset)
            release(group, removed)
        }
        for _ in 0..<max(0, offset - count) { groups[group]!.places.append(.missing) }
        groups[group]!.places.append(contentsOf: new)
        groups[group]!.damagedSinceLast = 0
        tally(group, new, sign: 1)
    }

    /// An entry was copied forward to `place`.
    mutating func noteRelocated(_ group: GroupID, _ incarnation: UInt32, _ index: LogIndex, _ place: EntryPlace) {
        guard admit(group, incarnation) else { return }
        // In place throughout: a copy of the records would make each of many such calls copy all places.
        let base = groups[group]!.base.index
        if groups[group]!.places.isEmpty, index > base.next, !groups[group]!.baseIsKnown {
            groups[group]!.base = LogPosition(term: .zero, index: index.previous)
            groups[group]!.baseIsProvisional = true
        } else if groups[group]!.baseIsProvisional, index <= base {
            for _ in 0..<(base - index.previous) { groups[group]!.places.prepend(.missing) }
            groups[group]!.base = LogPosition(term: .zero, index: index.previous)
            groups[group]!.baseIsProvisional = index.previous > .zero
        }
        let offset = index - groups[group]!.base.index - 1
        guard offset >= 0 else { return }
        // Where it lay before may be gone already. It was part of the log when it was copied, so it is.
        while groups[group]!.places.count <= offset { groups[group]!.places.append(.missing) }
        let old = groups[group]!.places[offset]
        guard old.segment == 0 || old.term == place.term else { return }
        groups[group]!.places[offset] = place
        release(group, CollectionOfOne(old))
        charge(group, place.segment, place.recordBytes)
    }

    mutating func noteHardState(
        _ group: GroupID, _ incarnation: UInt32, _ hardState: HardState, segment: UInt32
    ) {
        guard admit(group, incarnation) else { return }
        groups[group]!.hardState = hardState
        groups[group]!.hardStateSegment = segment
        groups[group]!.hardStateIsDamaged = false
    }

    mutating func noteState(_ group: GroupID, _ incarnation: UInt32, _ state: StateRecord, segment: UInt32) {
        noteHardState(group, incarnation, state.hardState, segment: segment)
        guard let records = groups[group], records.incarnation == incarnation, !records.isDestroyed else { return }
        if records.baseIsProvisional, state.base.index < records.base.index {
            // The entries between will follow, copied forward.
            let missing = records.base.index - state.base.index
            for _ in 0..<missing { groups[group]!.places.prepend(.missing) }
            groups[group]!.base = state.base
        } else {
            notePurge(group, incarnation, state.base)
            if groups[group]!.base.index == state.base.index { groups[group]!.base = state.base }
        }
        groups[group]!.baseIsProvisional = false
        groups[group]!.baseIsKnown = true
        groups[group]!.baseSegment = segment
        groups[group]!.recordedBase = state.base
        if state.isDamaged, groups[group]!.damage == nil {
            groups[group]!.damage = GroupDamage(
                file: "", offset: nil, hardStateIsLost: state.hardStateIsLost, reason: "found at an earlier start")
        }
    }

    mutating func notePurge(_ group: GroupID, _ incarnation: UInt32, _ base: LogPosition) {
        guard admit(group, incarnation), base.index > groups[group]!.base.index else { return }
        let count = min(base.index - groups[group]!.base.index, groups[group]!.places.count)
        let removed = Array(groups[group]!.places.prefix(count))
        groups[group]!.places.removeFirst(count)
        groups[group]!.base = base
        groups[group]!.baseIsProvisional = false
        release(group, removed)
    }

    mutating func noteReset(_ group: GroupID, _ incarnation: UInt32, _ state: StateRecord, segment: UInt32) {
        guard admit(group, incarnation) else { return }
        drop(group)
        var records = GroupRecords(incarnation: incarnation)
        records.base = state.base
        records.baseIsKnown = true
        records.recordedBase = state.base
        records.baseSegment = segment
        records.hardState = state.hardState
        records.hardStateSegment = segment
        groups[group] = records
    }

    mutating func noteDestroyed(_ group: GroupID, _ incarnation: UInt32) {
        guard admit(group, incarnation) else { return }
        drop(group)
        var records = GroupRecords(incarnation: incarnation)
        records.isDestroyed = true
        groups[group] = records
    }
}
