/// One range deletion: every key from `from` up to, not including, `to`, as far as it was written before `version`.
struct RangeTombstone: Hashable, Sendable {
    var from: [UInt8]
    var to: [UInt8]
    var version: UInt64
}

/// Range deletions cut into disjoint pieces in key order, each with the versions that cover it.
///
/// A version covers what is older than itself, not what was written at it: a batch resolves its own order when it is
/// applied. Lookups are a binary search; building is O(n · overlaps), and there are few.
struct RangeTombstones: Sendable {
    struct Fragment: Hashable, Sendable {
        var from: [UInt8]
        var to: [UInt8]
        /// Newest first.
        var versions: [UInt64]
    }

    private(set) var fragments: [Fragment] = []

    static let empty = RangeTombstones()

    private init() {}

    init(_ tombstones: some Sequence<RangeTombstone>) {
        let all = Array(tombstones)
        guard !all.isEmpty else { return }
        var borders: [[UInt8]] = []
        for tombstone in all {
            borders.append(tombstone.from)
            borders.append(tombstone.to)
        }
        borders.sort(by: isOrderedBefore)
        borders = borders.reduce(into: []) { unique, border in if unique.last != border { unique.append(border) } }
        let sorted = all.sorted { isOrderedBefore($0.from, $1.from) }
        var upcoming = sorted[...]
        var active: [RangeTombstone] = []
        for (from, to) in zip(borders, borders.dropFirst()) {
            active.removeAll { !isOrderedBefore(from, $0.to) }
            while let first = upcoming.first, first.from == from { active.append(upcoming.removeFirst()) }
            guard !active.isEmpty else { continue }
            let versions = Set(active.map(\.version)).sorted(by: >)
            fragments.append(Fragment(from: from, to: to, versions: versions))
        }
    }

    var isEmpty: Bool { fragments.isEmpty }

    /// About what it takes of memory. O(fragments).
    var byteCount: Int { fragments.reduce(0) { $0 + $1.from.count + $1.to.count + 8 * $1.versions.count + 120 } }

    /// One tombstone for each version of each fragment.
    var tombstones: [RangeTombstone] {
        fragments.flatMap { fragment in
            fragment.versions.map { RangeTombstone(from: fragment.from, to: fragment.to, version: $0) }
        }
    }

    /// The place of the fragment that holds `key`.
    private func fragmentIndex(over key: BorrowedBytes) -> Int? {
        var low = 0
        var high = fragments.count
        while low < high {
            let middle = (low + high) / 2
            if fragments[middle].to.withBorrowedBytes({ $0.compare(key) <= 0 }) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low < fragments.count, fragments[low].from.withBorrowedBytes({ $0.compare(key) <= 0 }) else { return nil }
        return low
    }

    /// The newest deletion of `key` that a reader at `version` sees; 0 if there is none.
    func newest(over key: BorrowedBytes, at version: UInt64) -> UInt64 {
        guard !fragments.isEmpty, let index = fragmentIndex(over: key) else { return 0 }
        return fragments[index].versions.first { $0 <= version } ?? 0
    }

    /// The first deletion of `key` after something was written at `version`; nil if there is none.
    func oldest(over key: BorrowedBytes, after version: UInt64) -> UInt64? {
        guard !fragments.isEmpty, let index = fragmentIndex(over: key) else { return nil }
        return fragments[index].versions.last { $0 > version }
    }

    /// What lies in `from ..< to`; nil is no bound.
    func clipped(from: [UInt8]?, to: [UInt8]?) -> RangeTombstones {
        var result = RangeTombstones()
        for var fragment in fragments {
            if let from, isOrderedBefore(fragment.from, from) { fragment.from = from }
            if let to, isOrderedBefore(to, fragment.to) { fragment.to = to }
            if isOrderedBefore(fragment.from, fragment.to) { result.fragments.append(fragment) }
        }
        return result
    }

    /// Without the versions for which `isDropped` holds.
    func removing(_ isDropped: (RangeTombstone) -> Bool) -> RangeTombstones {
        var result = RangeTombstones()
        for var fragment in fragments {
            fragment.versions.removeAll {
                isDropped(RangeTombstone(from: fragment.from, to: fragment.to, version: $0))
            }
            if !fragment.versions.isEmpty { result.fragments.append(fragment) }
        }
        return result
    }
}
