/// One generation of a tip: what proposals wrote, in key order, newest value a key.
///
/// Entries lie in leaves of at most ``leafEntriesMax``, and the leaves in one array: a search is two binary searches, an
/// insertion moves a few kilobytes. A table lives for the few milliseconds that its proposals take to be applied, so it
/// never shrinks; it is dropped whole.
///
/// - Invariant: leaves are not empty (except the only one of an empty table), and keys ascend over all leaves.
final class TipTable {
    struct Entry {
        let key: [UInt8]
        /// nil: deleted.
        var value: ArraySlice<UInt8>?
    }

    private final class Leaf {
        var entries: [Entry]
        init(_ entries: [Entry]) { self.entries = entries }
    }

    private static let leafEntriesMax = 128

    private var leaves: [Leaf] = [Leaf([])]
    private(set) var count = 0
    /// Counts changes, so that a cursor that outlived one is caught.
    private(set) var generation = 0

    var isEmpty: Bool { count == 0 }

    /// The entry of `key`: `.some(nil)` is a deletion, nil means that this generation says nothing about the key.
    func lookup(_ key: ArraySlice<UInt8>) -> ArraySlice<UInt8>?? {
        guard count > 0 else { return nil }
        let leaf = leaves[leafIndex(for: key)]
        let (index, found) = Self.position(of: key, in: leaf.entries)
        return found ? .some(leaf.entries[index].value) : nil
    }

    func set(_ key: [UInt8], _ value: ArraySlice<UInt8>?) {
        generation &+= 1
        let at = leafIndex(for: key[...])
        let leaf = leaves[at]
        let (index, found) = Self.position(of: key[...], in: leaf.entries)
        if found {
            leaf.entries[index].value = value
            return
        }
        leaf.entries.insert(Entry(key: key, value: value), at: index)
        count += 1
        guard leaf.entries.count > Self.leafEntriesMax else { return }
        // Ascending keys are common (generated ids within a slot, index builds): leave the left half full then.
        let middle = index == leaf.entries.count - 1 ? index : leaf.entries.count / 2
        let right = Leaf(Array(leaf.entries[middle...]))
        leaf.entries.removeSubrange(middle...)
        leaf.entries.reserveCapacity(Self.leafEntriesMax + 1)
        leaves.insert(right, at: at + 1)
    }

    /// The last leaf whose first key is at or before `key`, or the first leaf.
    private func leafIndex(for key: ArraySlice<UInt8>) -> Int {
        var low = 0
        var high = leaves.count
        while high - low > 1 {
            let middle = (low &+ high) >> 1
            if ByteOrder.compare(leaves[middle].entries[0].key, key) <= 0 { low = middle } else { high = middle }
        }
        return low
    }

    /// The first entry at or after `key`, and whether it has that key.
    private static func position(of key: ArraySlice<UInt8>, in entries: [Entry]) -> (index: Int, found: Bool) {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low &+ high) >> 1
            let order = ByteOrder.compare(entries[middle].key, key)
            if order == 0 { return (middle, true) }
            if order < 0 { low = middle &+ 1 } else { high = middle }
        }
        return (low, false)
    }

    /// A place in a table that moves both ways. The table must not change while one is used.
    struct Cursor {
        private let table: TipTable
        private let generation: Int
        private var leaf: Int
        private var index: Int

        fileprivate init(table: TipTable, leaf: Int, index: Int) {
            self.table = table
            self.generation = table.generation
            self.leaf = leaf
            self.index = index
        }

        var entry: Entry? {
            precondition(generation == table.generation, "the tip changed under a cursor")
            guard leaf >= 0, leaf < table.leaves.count, index >= 0, index < table.leaves[leaf].entries.count else {
                return nil
            }
            return table.leaves[leaf].entries[index]
        }

        mutating func next() {
            index += 1
            if index >= table.leaves[leaf].entries.count, leaf + 1 < table.leaves.count {
                leaf += 1
                index = 0
            }
        }

        mutating func previous() {
            index -= 1
            if index < 0, leaf > 0 {
                leaf -= 1
                index = table.leaves[leaf].entries.count - 1
            }
        }
    }

    /// A cursor at the first entry at or after `key`.
    func cursor(atOrAfter key: ArraySlice<UInt8>) -> Cursor {
        let leaf = leafIndex(for: key)
        let index = Self.position(of: key, in: leaves[leaf].entries).index
        if index == leaves[leaf].entries.count, leaf + 1 < leaves.count {
            return Cursor(table: self, leaf: leaf + 1, index: 0)
        }
        return Cursor(table: self, leaf: leaf, index: index)
    }

    /// A cursor at the last entry before `key`.
    func cursor(before key: ArraySlice<UInt8>) -> Cursor {
        var cursor = cursor(atOrAfter: key)
        cursor.previous()
        return cursor
    }
}
