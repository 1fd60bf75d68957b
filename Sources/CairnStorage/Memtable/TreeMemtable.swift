import Synchronization

/// A memtable over an ``OrderedTree``.
///
/// A short lock guards the tree while it grows. Inside a cluster one thread writes and reads it, so the lock is never
/// contended (5 ns); in an embedding program several threads may. A frozen memtable is read without it.
///
/// Safety (`@unchecked Sendable`): `tree` and `ranges` are touched under `lock` until `isFrozen`, and only read after.
final class TreeMemtable: Memtable, @unchecked Sendable {
    private let lock = Mutex<Void>(())
    private let isFrozen = Atomic<Bool>(false)
    private var tree = OrderedTree()
    private var ranges: [RangeTombstone] = []
    private var rangeBytes = 0
    private var fragments: RangeTombstones?
    private let hasRanges = Atomic<Bool>(false)

    @inline(__always)
    fileprivate func guarded<Result>(_ body: () -> Result) -> Result {
        if isFrozen.load(ordering: .acquiring) { return body() }
        var result: Result?
        lock.withLock { _ in result = body() }
        return result!
    }

    func insert(_ kind: EntryKind, _ key: BorrowedBytes, _ value: BorrowedBytes, version: UInt64) {
        lock.withLock { _ in
            precondition(!isFrozen.load(ordering: .relaxed), "insert into a frozen memtable")
            tree.insert(kind, key, value, version: version)
        }
    }

    func insert(_ tombstone: RangeTombstone) {
        lock.withLock { _ in
            precondition(!isFrozen.load(ordering: .relaxed), "insert into a frozen memtable")
            ranges.append(tombstone)
            rangeBytes += tombstone.from.count + tombstone.to.count + 64
            fragments = nil
            hasRanges.store(true, ordering: .releasing)
        }
    }

    func find(_ key: BorrowedBytes, at version: UInt64) -> (entry: FoundEntry?, deletedAt: UInt64) {
        var found: TreeEntry?
        guarded {
            if let position = tree.lowerBound(key, version) {
                let entry = position.node.entry(at: position.slot)
                if entry.key.isEqual(to: key) { found = entry }
            }
        }
        let deletedAt =
            hasRanges.load(ordering: .acquiring) ? rangeTombstones.newest(over: key, at: version) : 0
        guard let found else { return (nil, deletedAt) }
        // An entry's bytes never change, so they may be copied outside the lock.
        let value = found.kind == .put ? found.value.copied()[...] : nil
        return (FoundEntry(version: found.version, value: value), deletedAt)
    }

    func makeIterator() -> InternalIterator { TreeMemtableIterator(self) }

    var rangeTombstones: RangeTombstones {
        guard hasRanges.load(ordering: .acquiring) else { return .empty }
        var result = RangeTombstones.empty
        lock.withLock { _ in
            if fragments == nil { fragments = RangeTombstones(ranges) }
            result = fragments!
        }
        return result
    }

    func freeze() { lock.withLock { _ in isFrozen.store(true, ordering: .releasing) } }

    var byteCount: Int { guarded { tree.arena.usedBytes + rangeBytes } }
    var reservedBytes: Int { guarded { tree.arena.reservedBytes } }
    var entryCount: Int { guarded { tree.count } }

    func checkInvariants() { guarded { tree.checkInvariants() } }

    // MARK: - For the iterator

    fileprivate func end(last: Bool, seenChanges: inout Int) -> (OrderedTree.Position, TreeEntry)? {
        var result: OrderedTree.Position?
        var entry: TreeEntry?
        guarded {
            result = last ? tree.last() : tree.first()
            seenChanges = tree.changes
            entry = result.map { $0.node.entry(at: $0.slot) }
        }
        guard let result, let entry else { return nil }
        return (result, entry)
    }

    /// The neighbour of `entry`, whose place is found again if the tree has changed since the iterator stood there.
    fileprivate func step(
        forward: Bool, from position: OrderedTree.Position, entry: TreeEntry, seenChanges: inout Int
    ) -> (OrderedTree.Position, TreeEntry)? {
        var result: OrderedTree.Position?
        var next: TreeEntry?
        guarded {
            var here = position
            if tree.changes != seenChanges {
                here = tree.lowerBound(entry.key, entry.version)!
                seenChanges = tree.changes
            }
            result = forward ? tree.after(here) : tree.before(here)
            next = result.map { $0.node.entry(at: $0.slot) }
        }
        guard let result, let next else { return nil }
        return (result, next)
    }

    fileprivate func seek(
        _ key: BorrowedBytes, _ version: UInt64, seenChanges: inout Int
    ) -> (OrderedTree.Position, TreeEntry)? {
        var result: OrderedTree.Position?
        var entry: TreeEntry?
        guarded {
            result = tree.lowerBound(key, version)
            seenChanges = tree.changes
            entry = result.map { $0.node.entry(at: $0.slot) }
        }
        guard let result, let entry else { return nil }
        return (result, entry)
    }
}

/// Walks a memtable that may be growing: it remembers its entry, which never moves, and finds its place again by it.
private final class TreeMemtableIterator: InternalIterator {
    private let memtable: TreeMemtable
    private var position: OrderedTree.Position?
    private var entry: TreeEntry?
    private var seenChanges = 0

    init(_ memtable: TreeMemtable) { self.memtable = memtable }

    override func value() -> ArraySlice<UInt8> { entry!.value.copied()[...] }

    override func seekToFirst() { show(memtable.end(last: false, seenChanges: &seenChanges)) }
    override func seekToLast() { show(memtable.end(last: true, seenChanges: &seenChanges)) }
    override func seek(to key: BorrowedBytes, _ version: UInt64) {
        show(memtable.seek(key, version, seenChanges: &seenChanges))
    }
    override func next() {
        show(memtable.step(forward: true, from: position!, entry: entry!, seenChanges: &seenChanges))
    }
    override func previous() {
        show(memtable.step(forward: false, from: position!, entry: entry!, seenChanges: &seenChanges))
    }

    @inline(__always)
    private func show(_ place: (position: OrderedTree.Position, entry: TreeEntry)?) {
        guard let place else {
            isValid = false
            return
        }
        position = place.position
        entry = place.entry
        isValid = true
        key = place.entry.key
        version = place.entry.version
        kind = place.entry.kind
        lentValue = place.entry.value
    }
}
