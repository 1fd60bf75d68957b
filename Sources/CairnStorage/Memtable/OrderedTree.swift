#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// One key's value at one version, in an arena: a header of 17 bytes, the key, the value.
@safe
struct TreeEntry {
    static let headerBytes = 17

    let address: UnsafeMutableRawPointer

    @inline(__always)
    init(_ address: UnsafeMutableRawPointer) { unsafe self.address = address }

    var keyCount: Int { @inline(__always) get { Int(unsafe address.load(as: UInt32.self)) } }
    var valueCount: Int { @inline(__always) get { Int(unsafe address.load(fromByteOffset: 4, as: UInt32.self)) } }
    var version: UInt64 { @inline(__always) get { unsafe address.load(fromByteOffset: 8, as: UInt64.self) } }
    var kind: EntryKind {
        @inline(__always) get { EntryKind(rawValue: unsafe address.load(fromByteOffset: 16, as: UInt8.self))! }
    }
    var key: BorrowedBytes {
        @inline(__always) get {
            unsafe BorrowedBytes(base: UnsafeRawPointer(address + Self.headerBytes), count: keyCount)
        }
    }
    var value: BorrowedBytes {
        @inline(__always) get {
            unsafe BorrowedBytes(base: UnsafeRawPointer(address + Self.headerBytes + keyCount), count: valueCount)
        }
    }

    /// Key order, and within a key the newest version first.
    @inline(__always)
    func compare(_ key: BorrowedBytes, _ version: UInt64) -> Int {
        let order = self.key.compare(key)
        if order != 0 { return order }
        return self.version == version ? 0 : (self.version > version ? -1 : 1)
    }
}

/// A B+-tree of 64-way nodes over arena memory: keys ascending, versions of a key descending. Nothing is ever removed.
///
/// A node keeps eight bytes of every key in an array of its own, so that most searches touch no key. Keys of one collection
/// share a long beginning (collection, index, slot), and eight bytes of it would tell nothing apart; so a node also knows
/// what all of its keys share, up to 24 bytes, and takes the eight bytes behind it. The shared part is chosen anew whenever
/// a node is split and cut short when a key arrives that does not share it.
///
/// One thread at a time may touch the tree. A cursor stays valid while ``changes`` stays the same.
@safe
struct OrderedTree: ~Copyable {
    private(set) var arena = Arena()
    private var root: TreeNode?
    private(set) var count = 0
    /// Increases when entries move inside nodes or new ones appear.
    private(set) var changes = 0

    struct Position {
        var node: TreeNode
        var slot: Int
    }

    // MARK: - Insertion

    /// Adds an entry, or gives a new value to the one of the same key and version.
    @inline(__always)
    mutating func insert(_ kind: EntryKind, _ key: BorrowedBytes, _ value: BorrowedBytes, version: UInt64) {
        let entry = makeEntry(kind, key, value, version)
        if root == nil {
            root = TreeNode.make(level: 0, in: &arena)
        }
        let node = root!
        if let split = insert(entry, key, version, into: node) {
            let top = TreeNode.make(level: node.level + 1, in: &arena)
            top.setChild(node, at: 0)
            top.insertSlot(split.separator, at: 0)
            top.setChild(split.right, at: 1)
            root = top
        }
        changes &+= 1
    }

    private mutating func makeEntry(
        _ kind: EntryKind, _ key: BorrowedBytes, _ value: BorrowedBytes, _ version: UInt64
    ) -> TreeEntry {
        let address = unsafe arena.allocate(TreeEntry.headerBytes &+ key.count &+ value.count)
        unsafe address.storeBytes(of: UInt32(truncatingIfNeeded: key.count), as: UInt32.self)
        unsafe address.storeBytes(of: UInt32(truncatingIfNeeded: value.count), toByteOffset: 4, as: UInt32.self)
        unsafe address.storeBytes(of: version, toByteOffset: 8, as: UInt64.self)
        unsafe address.storeBytes(of: kind.rawValue, toByteOffset: 16, as: UInt8.self)
        unsafe memcpy(address + TreeEntry.headerBytes, key.base, key.count)
        unsafe memcpy(address + TreeEntry.headerBytes + key.count, value.base, value.count)
        return unsafe TreeEntry(address)
    }

    private struct Split {
        var separator: TreeEntry
        var right: TreeNode
    }

    private mutating func insert(
        _ entry: TreeEntry, _ key: BorrowedBytes, _ version: UInt64, into node: TreeNode
    ) -> Split? {
        let found = node.search(key, version)
        if node.level == 0 {
            if found.isEqual {
                node.setEntry(entry, at: found.slot)
                return nil
            }
            count &+= 1
            return insertSlot(entry, child: nil, at: found.slot, in: node)
        }
        let slot = found.isEqual ? found.slot &+ 1 : found.slot
        guard let split = insert(entry, key, version, into: node.child(at: slot)) else { return nil }
        return insertSlot(split.separator, child: split.right, at: slot, in: node)
    }

    private mutating func insertSlot(
        _ entry: TreeEntry, child: TreeNode?, at slot: Int, in node: TreeNode
    ) -> Split? {
        if node.count < TreeNode.slotsMax {
            node.insertSlot(entry, at: slot)
            if let child { node.setChild(child, at: slot &+ 1) }
            return nil
        }
        let right = TreeNode.make(level: node.level, in: &arena)
        if node.level == 0 {
            right.linkAfter(node)
            // Keys that arrive in order leave full nodes behind.
            if slot == node.count, right.next == nil {
                right.insertSlot(entry, at: 0)
                return Split(separator: entry, right: right)
            }
            let middle = TreeNode.slotsMax / 2
            node.moveSlots(from: middle, to: right)
            if slot <= middle { node.insertSlot(entry, at: slot) } else { right.insertSlot(entry, at: slot - middle) }
            return Split(separator: right.entry(at: 0), right: right)
        }
        // The middle separator of an inner node goes up.
        let middle = TreeNode.slotsMax / 2
        let separator = node.entry(at: middle)
        node.moveSlots(from: middle, to: right)
        right.removeFirstSlot()
        let target = slot <= middle ? node : right
        let targetSlot = slot <= middle ? slot : slot - middle - 1
        target.insertSlot(entry, at: targetSlot)
        target.setChild(child!, at: targetSlot + 1)
        return Split(separator: separator, right: right)
    }

    // MARK: - Search

    /// The first entry at or after `key` at `version`: the newest one of the key that is not newer, if there is one.
    @inline(__always)
    func lowerBound(_ key: BorrowedBytes, _ version: UInt64) -> Position? {
        guard var node = root else { return nil }
        while node.level > 0 {
            let found = node.search(key, version)
            node = node.child(at: found.isEqual ? found.slot &+ 1 : found.slot)
        }
        return normalized(Position(node: node, slot: node.search(key, version).slot))
    }

    func first() -> Position? {
        guard var node = root else { return nil }
        while node.level > 0 { node = node.child(at: 0) }
        return Position(node: node, slot: 0)
    }

    func last() -> Position? {
        guard var node = root else { return nil }
        while node.level > 0 { node = node.child(at: node.count) }
        return Position(node: node, slot: node.count - 1)
    }

    @inline(__always)
    func after(_ position: Position) -> Position? {
        normalized(Position(node: position.node, slot: position.slot &+ 1))
    }

    func before(_ position: Position) -> Position? {
        if position.slot > 0 { return Position(node: position.node, slot: position.slot - 1) }
        guard let node = position.node.previous else { return nil }
        return Position(node: node, slot: node.count - 1)
    }

    @inline(__always)
    private func normalized(_ position: Position) -> Position? {
        if position.slot < position.node.count { return position }
        guard let next = position.node.next else { return nil }
        return Position(node: next, slot: 0)
    }

    /// Traps unless every node is in order. O(entries).
    func checkInvariants() {
        var position = first()
        var previous: TreeEntry?
        var seen = 0
        while let here = position {
            let entry = here.node.entry(at: here.slot)
            if let previous {
                precondition(
                    previous.compare(entry.key, entry.version) < 0, "entries \(seen - 1) and \(seen) out of order")
            }
            precondition(
                here.node.prefix(at: here.slot) == entry.key.prefix64(at: here.node.sharedCount),
                "stale prefix at \(seen)")
            previous = entry
            seen += 1
            position = after(here)
        }
        precondition(seen == count, "\(seen) entries reached of \(count)")
    }
}

/// A node in the arena: a header with the shared beginning of its keys, eight bytes behind it for each key, the entries,
/// and in an inner node the children, one more than entries. Entry `i` of an inner node is the least of child `i + 1`.
@safe
struct TreeNode {
    static let slotsMax = 64
    static let sharedBytesMax = 24

    private static let sharedOffset = 8
    private static let nextOffset = 32
    private static let previousOffset = 40
    private static let prefixesOffset = 64
    private static let entriesOffset = prefixesOffset + 8 * slotsMax
    private static let childrenOffset = entriesOffset + 8 * slotsMax
    private static let leafBytes = childrenOffset
    private static let innerBytes = childrenOffset + 8 * (slotsMax + 1)

    private let address: UnsafeMutableRawPointer

    @inline(__always)
    private init(_ address: UnsafeMutableRawPointer) { unsafe self.address = address }

    static func make(level: Int, in arena: inout Arena) -> TreeNode {
        let bytes = level == 0 ? leafBytes : innerBytes
        let address = unsafe arena.allocate(bytes)
        unsafe memset(address, 0, prefixesOffset)
        unsafe address.storeBytes(of: UInt8(level), toByteOffset: 2, as: UInt8.self)
        return unsafe TreeNode(address)
    }

    var count: Int {
        @inline(__always) get { Int(unsafe address.load(as: UInt16.self)) }
        nonmutating set { unsafe address.storeBytes(of: UInt16(newValue), as: UInt16.self) }
    }

    /// 0 in a leaf.
    var level: Int { @inline(__always) get { Int(unsafe address.load(fromByteOffset: 2, as: UInt8.self)) } }

    var sharedCount: Int {
        @inline(__always) get { Int(unsafe address.load(fromByteOffset: 3, as: UInt8.self)) }
        nonmutating set { unsafe address.storeBytes(of: UInt8(newValue), toByteOffset: 3, as: UInt8.self) }
    }

    private var shared: BorrowedBytes {
        @inline(__always) get {
            unsafe BorrowedBytes(base: UnsafeRawPointer(address + Self.sharedOffset), count: sharedCount)
        }
    }

    var next: TreeNode? { @inline(__always) get { link(Self.nextOffset) } }
    var previous: TreeNode? { link(Self.previousOffset) }

    @inline(__always)
    private func link(_ offset: Int) -> TreeNode? {
        unsafe address.load(fromByteOffset: offset, as: UnsafeMutableRawPointer?.self).map { unsafe TreeNode($0) }
    }

    func linkAfter(_ left: TreeNode) {
        let following = left.next
        unsafe address.storeBytes(
            of: following?.address, toByteOffset: Self.nextOffset, as: UnsafeMutableRawPointer?.self)
        unsafe address.storeBytes(
            of: left.address, toByteOffset: Self.previousOffset, as: UnsafeMutableRawPointer?.self)
        unsafe left.address.storeBytes(of: address, toByteOffset: Self.nextOffset, as: UnsafeMutableRawPointer?.self)
        if let following {
            unsafe following.address.storeBytes(
                of: address, toByteOffset: Self.previousOffset, as: UnsafeMutableRawPointer?.self)
        }
    }

    // Safety of the accessors below: slots come from `search` and from loops over `count`, which never exceeds `slotsMax`.

    @inline(__always)
    func prefix(at slot: Int) -> UInt64 {
        unsafe address.load(fromByteOffset: Self.prefixesOffset &+ 8 &* slot, as: UInt64.self)
    }

    @inline(__always)
    private func setPrefix(_ prefix: UInt64, at slot: Int) {
        unsafe address.storeBytes(of: prefix, toByteOffset: Self.prefixesOffset &+ 8 &* slot, as: UInt64.self)
    }

    @inline(__always)
    func entry(at slot: Int) -> TreeEntry {
        unsafe TreeEntry(
            address.load(fromByteOffset: Self.entriesOffset &+ 8 &* slot, as: UnsafeMutableRawPointer.self))
    }

    @inline(__always)
    func setEntry(_ entry: TreeEntry, at slot: Int) {
        unsafe address.storeBytes(
            of: entry.address, toByteOffset: Self.entriesOffset &+ 8 &* slot, as: UnsafeMutableRawPointer.self)
    }

    @inline(__always)
    func child(at slot: Int) -> TreeNode {
        unsafe TreeNode(
            address.load(fromByteOffset: Self.childrenOffset &+ 8 &* slot, as: UnsafeMutableRawPointer.self))
    }

    /// Puts a child behind the entry that was just inserted at `slot - 1`.
    func setChild(_ child: TreeNode, at slot: Int) {
        unsafe address.storeBytes(
            of: child.address, toByteOffset: Self.childrenOffset &+ 8 &* slot, as: UnsafeMutableRawPointer.self)
    }

    /// The first slot whose entry is at or after `key` at `version`.
    @inline(__always)
    func search(_ key: BorrowedBytes, _ version: UInt64) -> (slot: Int, isEqual: Bool) {
        let count = self.count
        let sharedCount = self.sharedCount
        if sharedCount > 0 {
            let order = shared.compare(key.prefix(sharedCount))
            if order > 0 { return (0, false) }
            if order < 0 { return (count, false) }
        }
        let prefix = key.prefix64(at: sharedCount)
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) >> 1
            if self.prefix(at: middle) < prefix { low = middle &+ 1 } else { high = middle }
        }
        if low == count || self.prefix(at: low) != prefix { return (low, false) }
        // Some entries have the same eight bytes; most often it is one, so the first is looked at before halving.
        let order = entry(at: low).compare(key, version)
        if order >= 0 { return (low, order == 0) }
        low &+= 1
        high = low
        var step = 1
        while high < count, self.prefix(at: high) == prefix {
            high = min(high &+ step, count)
            step &*= 2
        }
        while low < high {
            let middle = (low &+ high) >> 1
            if self.prefix(at: middle) > prefix || entry(at: middle).compare(key, version) >= 0 {
                high = middle
            } else {
                low = middle &+ 1
            }
        }
        let isEqual = low < count && self.prefix(at: low) == prefix && entry(at: low).compare(key, version) == 0
        return (low, isEqual)
    }

    /// Makes room at `slot` for an entry; in an inner node also for the child behind it, which the caller sets.
    func insertSlot(_ entry: TreeEntry, at slot: Int) {
        let count = self.count
        let key = entry.key
        if count == 0 {
            share(key, min(key.count, Self.sharedBytesMax))
        } else {
            let common = shared.commonPrefixLength(with: key)
            if common < sharedCount {
                sharedCount = common
                refreshPrefixes()
            }
        }
        let moved = 8 &* (count &- slot)
        let prefixes = unsafe address + Self.prefixesOffset + 8 &* slot
        unsafe memmove(prefixes + 8, prefixes, moved)
        let entries = unsafe address + Self.entriesOffset + 8 &* slot
        unsafe memmove(entries + 8, entries, moved)
        if level > 0 {
            let children = unsafe address + Self.childrenOffset + 8 &* (slot &+ 1)
            unsafe memmove(children + 8, children, moved)
        }
        self.count = count &+ 1
        setPrefix(key.prefix64(at: sharedCount), at: slot)
        setEntry(entry, at: slot)
    }

    /// Moves the entries from `slot` on, in an inner node with the children behind them, to an empty node.
    func moveSlots(from slot: Int, to right: TreeNode) {
        let moved = count - slot
        unsafe memcpy(right.address + Self.entriesOffset, address + Self.entriesOffset + 8 * slot, 8 * moved)
        if level > 0 {
            unsafe memcpy(
                right.address + Self.childrenOffset + 8, address + Self.childrenOffset + 8 * (slot + 1), 8 * moved)
        }
        count = slot
        right.count = moved
        chooseShared()
        right.chooseShared()
    }

    /// Drops the first entry and the (unset) child before it.
    func removeFirstSlot() {
        let moved = count - 1
        unsafe memmove(address + Self.entriesOffset, address + Self.entriesOffset + 8, 8 * moved)
        unsafe memmove(address + Self.childrenOffset, address + Self.childrenOffset + 8, 8 * (moved + 1))
        count = moved
        chooseShared()
    }

    private func chooseShared() {
        let first = entry(at: 0).key
        share(first, first.commonPrefixLength(with: entry(at: count - 1).key, limit: Self.sharedBytesMax))
        refreshPrefixes()
    }

    private func share(_ key: BorrowedBytes, _ length: Int) {
        unsafe memcpy(address + Self.sharedOffset, key.base, length)
        sharedCount = length
    }

    private func refreshPrefixes() {
        let shared = sharedCount
        for slot in 0..<count { setPrefix(entry(at: slot).key.prefix64(at: shared), at: slot) }
    }
}
