import CairnDatabase
import CairnQuery

// The first documents in an order are spread over the groups by chance, about evenly. So each group is first asked for little
// more than its even share, and only when the shares do not suffice for as many as all of them could have to give.

extension FindArguments {
    /// Beyond this the groups' answers come in batches.
    private static let neededMax: Int64 = 1_000

    /// How many documents each of several groups is asked for first; nil when that would not save much.
    ///
    /// The even share and two and a half times the deviation that chance makes of it: one query in fifty has to ask again.
    func share(of groups: Int) -> Int64? {
        guard limit > 0, limit <= Self.neededMax, skip <= Self.neededMax - limit, batchSize != 0 else { return nil }
        let needed = skip + limit
        let even = Double(needed) / Double(groups)
        let share = Int64((even + 2.5 * even.squareRoot()).rounded(.up)) + 1
        return share * 3 < needed * 2 ? share : nil
    }
}

extension [CursorStream] {
    /// Whether the first `needed` documents of all groups are among these, of which each group gave `share` at most.
    ///
    /// A group that gave fewer has no more. One that gave its whole share may have more, which come after its last: so by
    /// then as many as are needed must have come.
    func suffice(for needed: Int64, share: Int) -> Bool {
        allSatisfy { stream in
            guard stream.isExhausted else { return false }
            guard stream.keys.count == share, let last = stream.keys.last else { return true }
            var before = share
            for other in self where other.group != stream.group {
                before += other.keys.count { $0.lexicographicallyPrecedes(last) }
            }
            return before >= needed
        }
    }
}
