import CairnFiles
import CairnRaft

/// The kinds of record in a segment: the top byte of a record's tag.
enum LogRecordKind: UInt8 {
    /// An entry that takes the place of everything at or above its index.
    case entry = 1
    case hardState = 2
    /// Where a group's log begins, its hard state, and whether it is damaged: what must outlive the segment that held it.
    case state = 3
    /// As ``state``, and nothing written before it counts: a snapshot took its place.
    case reset = 4
    /// The group is gone from this node; whoever bears its number later is someone else.
    case destroyed = 5
    /// An entry copied forward from a segment that is given up: it changes its place, not the log.
    case relocatedEntry = 6
    /// Everything before was synced: written when the log is closed, and when nothing has come for a while.
    case synced = 7
}

/// A record's tag: kind (8 bits), the group's incarnation (24), the group (32).
///
/// It lies under the checksum of the record's frame, so a record whose body is damaged still says whose it was.
struct LogRecordTag: Hashable {
    var kind: LogRecordKind
    var group: GroupID
    var incarnation: UInt32

    static let incarnationMax: UInt32 = 1 << 24 - 1

    init(_ kind: LogRecordKind, _ group: GroupID, _ incarnation: UInt32) {
        self.kind = kind
        self.group = group
        self.incarnation = incarnation
    }

    init?(rawValue: UInt64) {
        guard let kind = LogRecordKind(rawValue: UInt8(truncatingIfNeeded: rawValue >> 56)) else { return nil }
        self.kind = kind
        group = GroupID(UInt32(truncatingIfNeeded: rawValue))
        incarnation = UInt32(truncatingIfNeeded: rawValue >> 32) & Self.incarnationMax
    }

    var rawValue: UInt64 {
        UInt64(kind.rawValue) << 56 | UInt64(incarnation) << 32 | UInt64(group.rawValue)
    }
}

/// The body of an entry's record: index (u64), term (u64), kind (u8), payload.
enum EntryRecord {
    static let headBytes = 17

    static func append(_ entry: Entry, to buffer: inout [UInt8]) {
        buffer.append(littleEndian: entry.index.rawValue)
        buffer.append(littleEndian: entry.term.rawValue)
        buffer.append(entry.kind.rawValue)
        buffer.append(contentsOf: entry.payload)
    }

    static func position(of body: ArraySlice<UInt8>) -> LogPosition? {
        guard body.count >= headBytes else { return nil }
        return LogPosition(
            term: Term(body.loadUInt64(at: body.startIndex + 8)), index: LogIndex(body.loadUInt64(at: body.startIndex)))
    }

    static func entry(of body: ArraySlice<UInt8>) -> Entry? {
        guard let position = position(of: body), let kind = Entry.Kind(rawValue: body[body.startIndex + 16]) else {
            return nil
        }
        return Entry(
            term: position.term, index: position.index, kind: kind, payload: body.dropFirst(headBytes))
    }
}

/// The body of a hard state's record: term (u64), whether there is a vote (u8), vote (u64), commit (u64).
enum HardStateRecord {
    static let byteCount = 25

    static func append(_ state: HardState, to buffer: inout [UInt8]) {
        buffer.append(littleEndian: state.term.rawValue)
        buffer.append(state.vote == nil ? 0 : 1)
        buffer.append(littleEndian: state.vote?.rawValue ?? 0)
        buffer.append(littleEndian: state.commit.rawValue)
    }

    static func hardState(of body: ArraySlice<UInt8>) -> HardState? {
        guard body.count >= byteCount else { return nil }
        let start = body.startIndex
        return HardState(
            term: Term(body.loadUInt64(at: start)),
            vote: body[start + 8] == 0 ? nil : NodeID(body.loadUInt64(at: start + 9)),
            commit: LogIndex(body.loadUInt64(at: start + 17)))
    }
}

/// The body of a ``LogRecordKind/state`` or ``LogRecordKind/reset`` record: a hard state, then the index and term (u64
/// each) before the first entry, then flags (u8: 1 the log is damaged, 2 the hard state is lost).
struct StateRecord: Hashable {
    static let byteCount = HardStateRecord.byteCount + 17

    var hardState: HardState
    var base: LogPosition
    var isDamaged = false
    var hardStateIsLost = false

    func append(to buffer: inout [UInt8]) {
        HardStateRecord.append(hardState, to: &buffer)
        buffer.append(littleEndian: base.index.rawValue)
        buffer.append(littleEndian: base.term.rawValue)
        buffer.append((isDamaged ? 1 : 0) | (hardStateIsLost ? 2 : 0))
    }

    init(hardState: HardState, base: LogPosition, damage: GroupDamage? = nil) {
        self.hardState = hardState
        self.base = base
        isDamaged = damage != nil
        hardStateIsLost = damage?.hardStateIsLost ?? false
    }

    init?(_ body: ArraySlice<UInt8>) {
        guard body.count >= Self.byteCount, let hardState = HardStateRecord.hardState(of: body) else { return nil }
        let start = body.startIndex + HardStateRecord.byteCount
        self.hardState = hardState
        base = LogPosition(
            term: Term(body.loadUInt64(at: start + 8)), index: LogIndex(body.loadUInt64(at: start)))
        isDamaged = body[start + 16] & 1 != 0
        hardStateIsLost = body[start + 16] & 2 != 0
    }
}
