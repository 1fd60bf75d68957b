import CairnRaft
import CairnReplication
import CairnSimulator
import CairnTestSupport
import Testing

/// What a group's log must hold: the truth that the shared log is compared to.
struct ModelGroup: Hashable {
    var hardState = HardState()
    /// Where the log began when it was last empty: 0 or a snapshot.
    var start = LogPosition.zero
    /// Up to where it may have been forgotten.
    var purged = LogIndex.zero
    /// Entries from `start.index + 1` on, purged ones too.
    var entries: [Entry] = []

    var last: LogIndex { start.index + entries.count }
    var first: LogIndex { max(purged, start.index).next }

    mutating func append(_ new: Entry) {
        entries.removeLast(entries.count - (new.index - start.index - 1))
        entries.append(new)
    }

    mutating func forget(through index: LogIndex) { purged = max(purged, index) }

    func term(at index: LogIndex) -> Term {
        index == start.index ? start.term : entries[index - start.index - 1].term
    }
}

/// All groups, and what each record in the order of the log made of them.
struct LogModel {
    private(set) var groups: [GroupID: ModelGroup] = [:]
    /// `states[n]` is what `n` records leave.
    private(set) var states: [[GroupID: ModelGroup]] = [[:]]

    mutating func record(_ change: (inout [GroupID: ModelGroup]) -> Void) {
        change(&groups)
        states.append(groups)
    }

    /// A change that no record stands for.
    mutating func note(_ change: (inout [GroupID: ModelGroup]) -> Void) {
        change(&groups)
        states[states.count - 1] = groups
    }

    var count: Int { states.count - 1 }
}

/// A random user of a shared log that keeps a model beside it.
struct LogWorkload {
    var random: SeededGenerator
    var model = LogModel()
    /// Records that were reported durable.
    var durable = 0
    private var logs: [GroupID: GroupLog] = [:]
    private var nextBatch: UInt64 = 1
    private var term: UInt64 = 1
    let log: SharedLog
    static let groups = (1...4).map { GroupID($0) }

    init(seed: UInt64, log: SharedLog) {
        random = SeededGenerator(seed: seed)
        self.log = log
    }

    static func options() -> SharedLogOptions {
        var options = SharedLogOptions()
        options.segmentBytes = 2048
        options.segmentsBeforeCopying = 2
        options.copiedPartDivisor = 2
        options.cacheBytesPerGroup = 200
        return options
    }

    /// One batch for a few groups, made durable.
    mutating func step() throws {
        var batch = LogBatch(id: nextBatch)
        nextBatch += 1
        var ends: [(GroupLog, LogPosition)] = []
        for group in Self.groups where random.oneIn(2) {
            let groupLog = logs[group] ?? log.open(group)
            logs[group] = groupLog
            change(group, groupLog, &batch)
            if let groupLog = logs[group], let end = groupLog.term(at: groupLog.lastIndex) {
                ends.append((groupLog, LogPosition(term: end, index: groupLog.lastIndex)))
            }
        }
        try log.append(batch)
        if random.oneIn(4) { return }
        try log.synchronize()
        durable = model.count
        for (groupLog, end) in ends { groupLog.persisted(through: end) }
        if random.oneIn(3) { _ = log.prepareSpare() }
        // As a log does that has nothing to write for a while.
        if nextBatch % 3 == 0 { try log.markSynced() }
    }

    private mutating func change(_ group: GroupID, _ groupLog: GroupLog, _ batch: inout LogBatch) {
        switch random.next() % 32 {
        case 0:
            groupLog.destroy(in: &batch)
            model.record { $0[group] = nil }
            logs[group] = nil
        case 1:
            let base = LogPosition(term: Term(term), index: groupLog.lastIndex + Int(random.next() % 5))
            guard base.index > .zero else { return }
            let hardState = hardState()
            groupLog.reset(to: base, hardState: hardState, in: &batch)
            model.record {
                $0[group] = ModelGroup(hardState: hardState, start: base, purged: base.index)
            }
        case 2...8:
            // Not to the end every time: an idle group leaves something behind.
            let known = groupLog.lastIndex - groupLog.base.index
            guard known > 0 else { return }
            let through = groupLog.base.index + Int(random.next() % UInt64(known + 1))
            groupLog.purge(through: through, in: &batch)
            model.note { groups in groups[group]?.forget(through: through) }
        case 9...12:
            let hardState = hardState()
            groupLog.append([], hardState: hardState, to: &batch)
            model.record { $0[group, default: ModelGroup()].hardState = hardState }
        default:
            var index = groupLog.lastIndex.next
            if random.oneIn(5), groupLog.lastIndex > groupLog.base.index {
                // A conflict: a newer term takes the place of a tail.
                term += 1
                index =
                    groupLog.base.index + 1
                    + Int(random.next() % UInt64(groupLog.lastIndex - groupLog.base.index))
            }
            let first = index
            let entries = (0..<1 + Int(random.next() % 4)).map { offset in
                Entry(
                    term: Term(term), index: first + offset, kind: .normal,
                    payload: random.bytes(Int(random.next() % 200))[...])
            }
            let hardState = random.oneIn(3) ? hardState() : nil
            groupLog.append(entries, hardState: hardState, to: &batch)
            if let hardState { model.record { $0[group, default: ModelGroup()].hardState = hardState } }
            for entry in entries { model.record { $0[group, default: ModelGroup()].append(entry) } }
        }
    }

    private mutating func hardState() -> HardState {
        term += random.next() % 2
        return HardState(
            term: Term(term), vote: random.oneIn(2) ? NodeID(random.next() % 3) : nil,
            commit: LogIndex(random.next() % 100))
    }

    /// The views of the loops show the model.
    func checkLoops(_ comment: String) throws {
        for (group, groupLog) in logs {
            try #require(try Self.difference(groupLog, model.groups[group]) == nil, "\(group): \(comment)")
        }
    }

    /// Why `groupLog` is not what `expected` says; nil if it is.
    static func difference(_ groupLog: GroupLog, _ expected: ModelGroup?) throws -> String? {
        let expected = expected ?? ModelGroup()
        if let damage = groupLog.damage { return "damaged: \(damage)" }
        if groupLog.hardState != expected.hardState {
            return "hard state \(groupLog.hardState), not \(expected.hardState)"
        }
        if groupLog.lastIndex != expected.last { return "ends at \(groupLog.lastIndex), not \(expected.last)" }
        if groupLog.firstIndex > expected.first { return "begins at \(groupLog.firstIndex), not \(expected.first)" }
        if groupLog.base.index < expected.start.index { return "begins before the snapshot" }
        if groupLog.term(at: groupLog.base.index) != expected.term(at: groupLog.base.index) {
            return "term \(groupLog.base) before the first entry"
        }
        let found = try groupLog.entries(from: groupLog.firstIndex, through: groupLog.lastIndex, maxBytes: .max)
        if found != Array(expected.entries.suffix(found.count)) { return "other entries" }
        if found.count != groupLog.lastIndex - groupLog.base.index { return "\(found.count) entries" }
        for entry in found where groupLog.term(at: entry.index) != entry.term { return "term at \(entry.index)" }
        let bytes = found.reduce(0) { $0 + $1.chargedBytes }
        if groupLog.byteCount != bytes { return "\(groupLog.byteCount) bytes, not \(bytes)" }
        return nil
    }

    /// The number of records that `log` shows, which must be one of `counts`; nil and the reasons if it is none.
    static func matching(
        _ log: SharedLog, _ model: LogModel, _ counts: ClosedRange<Int>
    ) throws -> (count: Int?, reasons: [String]) {
        let known = log.groups
        let logs = groups.map { ($0, log.open($0)) }
        var reasons: [String] = []
        search: for count in counts.reversed() {
            let state = model.states[count]
            for (group, groupLog) in logs {
                // A group without records is new to the log, and one that was destroyed starts from nothing.
                if let difference = try difference(groupLog, state[group]) {
                    reasons.append("\(count): \(group) \(difference) \(known[group] == nil ? "(new)" : "")")
                    continue search
                }
            }
            return (count, [])
        }
        return (nil, reasons)
    }
}
