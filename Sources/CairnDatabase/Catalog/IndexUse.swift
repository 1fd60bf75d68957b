import Synchronization

/// How many queries went by an index, since the first that did or the first that asked.
///
/// Counted on any thread, of this replica alone, and forgotten with the process: it is for `$indexStats`, by which operators find
/// indexes that nobody needs.
final class IndexUse: Sendable {
    private let count = Atomic<Int64>(0)
    private let beganAt = Atomic<Int64>(0)

    /// - Parameter now: milliseconds since 1970.
    func note(now: UInt64) {
        if beganAt.load(ordering: .relaxed) == 0 { begin(now) }
        count.wrappingAdd(1, ordering: .relaxed)
    }

    /// - Returns: how many there were, and since when they are counted, in milliseconds since 1970.
    func read(now: UInt64) -> (count: Int64, since: Int64) {
        begin(now)
        return (count.load(ordering: .relaxed), beganAt.load(ordering: .relaxed))
    }

    private func begin(_ now: UInt64) {
        _ = beganAt.compareExchange(expected: 0, desired: Int64(clamping: now), ordering: .relaxed)
    }
}

extension Access {
    /// Notes that a query goes this way.
    func noteUse(of collection: CollectionState, now: UInt64) {
        switch self {
        case .nothing, .collection, .tail: break
        case .records: collection.idUse.note(now: now)
        case .index(let index, _, _): index.use.note(now: now)
        case .union(let accesses): for access in accesses { access.noteUse(of: collection, now: now) }
        }
    }
}
