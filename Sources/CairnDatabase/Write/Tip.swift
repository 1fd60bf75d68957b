import CairnBSON
import CairnStorage

/// What this leader has proposed and not yet applied, laid over the applied state.
///
/// Two generations of tables: new proposals write into the younger; the older is dropped once all of its proposals are
/// applied, and then the younger takes its place. An entry may so stay on after the engine has it; it says the same.
///
/// The tip belongs to one term: a leader that loses office drops it with everything in it, because a proposal that did
/// not commit must leave no trace, least of all in what is derived from it later.
///
/// Range deletions are not entered here: they only ever cover a dropped collection or a dropped index, whose ids never
/// come back, so nothing reads there again.
final class Tip {
    let term: UInt64
    private(set) var younger = TipTable()
    private(set) var older: TipTable?
    private var youngerPosition: TipPosition = 0
    private var olderPosition: TipPosition = 0

    init(term: UInt64) {
        self.term = term
    }

    var isEmpty: Bool { younger.isEmpty && (older?.isEmpty ?? true) }

    /// The generations that say something, youngest first.
    var tables: [TipTable] {
        var tables: [TipTable] = []
        if !younger.isEmpty { tables.append(younger) }
        if let older, !older.isEmpty { tables.append(older) }
        return tables
    }

    @inline(__always)
    func lookup(_ key: ArraySlice<UInt8>) -> ArraySlice<UInt8>?? {
        if let found = younger.lookup(key) { return found }
        return older?.lookup(key) ?? nil
    }

    /// - Parameter position: of the proposal that carries the write.
    func set(_ key: [UInt8], _ value: ArraySlice<UInt8>?, position: TipPosition) {
        younger.set(key, value)
        youngerPosition = position
    }

    /// Forgets generations that the engine has by now.
    func applied(through position: TipPosition) {
        if older != nil, olderPosition <= position { older = nil }
        guard older == nil, !younger.isEmpty else { return }
        if youngerPosition <= position {
            younger = TipTable()
        } else {
            older = younger
            olderPosition = youngerPosition
            younger = TipTable()
        }
    }
}
