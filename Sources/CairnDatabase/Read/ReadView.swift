import CairnStorage

/// What a request sees: the engine at a version, or the tip over the engine's newest state.
struct ReadView {
    let engine: Engine
    /// nil: the newest.
    let version: Version?
    /// Only for the evaluation of writes, which read the newest state.
    var tip: Tip?
    /// What reads through this view may cost; nil for as much as it takes.
    var limit: ReadLimit?

    /// - Throws: ``ReadLimit/Reached`` when the limit forbids the disk, and the key may be there.
    @inline(__always)
    func get(_ key: ArraySlice<UInt8>) throws -> ArraySlice<UInt8>? {
        if let tip, let found = tip.lookup(key) { return found }
        return try applied(key)
    }

    /// What the engine has under a key, whatever the tip says.
    @inline(__always)
    func applied(_ key: ArraySlice<UInt8>) throws -> ArraySlice<UInt8>? {
        guard let limit, !limit.mayUseDisk else { return try engine.get(key, at: version) }
        guard case .value(let found) = try engine.getCached(key, at: version) else { throw ReadLimit.Reached() }
        return found
    }

    /// The keys from `lower` up to, and without, `upper`, in order or in reverse.
    func range(lower: ArraySlice<UInt8>, upper: ArraySlice<UInt8>, descending: Bool = false) throws -> RangeCursor {
        RangeCursor(
            iterator: try iterator(lower: lower, upper: upper), tables: tip?.tables ?? [], lower: lower, upper: upper,
            descending: descending)
    }

    /// The keys that the engine has from `lower` up to, and without, `upper`.
    func iterator(lower: ArraySlice<UInt8>, upper: ArraySlice<UInt8>) throws -> EngineIterator {
        var options = IteratorOptions()
        if let limit, !limit.mayUseDisk { options.mode = .cacheOnly }
        return try engine.makeIterator(lower: lower, upper: upper, at: version, options: options)
    }

    /// Whether any key begins with `prefix`.
    func isEmpty(prefix: [UInt8]) throws -> Bool {
        guard let upper = ByteOrder.successor(ofPrefix: prefix) else { return true }
        return try !range(lower: prefix[...], upper: upper[...]).next()
    }
}

/// Walks a range of keys through the engine and the generations of a tip at once.
///
/// Where several have a key, the youngest decides; deletions are passed over. A cursor over a tip must not outlive a
/// change of it; one over the engine alone stays valid for as long as it is held.
final class RangeCursor {
    private let iterator: EngineIterator
    private let tables: [TipTable]
    private var places: [TipTable.Cursor] = []
    private let lower: ArraySlice<UInt8>
    private let upper: ArraySlice<UInt8>
    private let descending: Bool
    private var isStarted = false
    /// Whether ``iterator`` stands on the current key, so that it has to move on.
    private var iteratorIsCurrent = false

    /// The current key and value, when they are not the engine's.
    private var tipKey: ArraySlice<UInt8> = []
    private var tipValue: ArraySlice<UInt8> = []

    /// What it stands on. Of the engine's, a key is a copy that is made when it is first asked for.
    var key: ArraySlice<UInt8> { iteratorIsCurrent ? iterator.key : tipKey }
    var value: ArraySlice<UInt8> { iteratorIsCurrent ? iterator.value : tipValue }

    init(
        iterator: EngineIterator, tables: [TipTable], lower: ArraySlice<UInt8>, upper: ArraySlice<UInt8>,
        descending: Bool
    ) {
        self.iterator = iterator
        self.tables = tables
        self.lower = lower
        self.upper = upper
        self.descending = descending
    }

    /// Lets it read the disk from now on.
    func allowDisk() { iterator.allowDisk() }

    /// Moves to the next key that exists.
    ///
    /// - Returns: false at the end; ``key`` and ``value`` mean nothing then.
    func next() throws -> Bool {
        if !isStarted {
            isStarted = true
            if descending { try iterator.seekToLast() } else { try iterator.seekToFirst() }
            places = tables.map { descending ? $0.cursor(before: upper) : $0.cursor(atOrAfter: lower) }
        } else if iteratorIsCurrent {
            if descending { try iterator.previous() } else { try iterator.next() }
            iteratorIsCurrent = false
        }
        return tables.isEmpty ? takeFromEngine() : try merge()
    }

    /// Moves on so that the next key is the first at or after `target` (at or before it, when descending). Only forward
    /// in the cursor's direction.
    func skip(to target: ArraySlice<UInt8>) throws {
        isStarted = true
        iteratorIsCurrent = false
        if descending {
            try iterator.seekForPrev(target)
            places = tables.map { table in
                var place = table.cursor(atOrAfter: target)
                if let entry = place.entry, ByteOrder.compare(entry.key[...], target) == 0 { return place }
                place.previous()
                return place
            }
        } else {
            try iterator.seek(to: target)
            places = tables.map { $0.cursor(atOrAfter: target) }
        }
    }

    @inline(__always)
    private func takeFromEngine() -> Bool {
        guard iterator.isValid else { return false }
        iteratorIsCurrent = true
        return true
    }

    private func merge() throws -> Bool {
        while true {
            var best: ArraySlice<UInt8>?
            var bestTable: Int?
            for index in places.indices {
                guard let entry = entry(at: index) else { continue }
                // Youngest first: a later one replaces only when it is strictly nearer.
                if let best, !isBefore(entry.key[...], best) { continue }
                best = entry.key[...]
                bestTable = index
            }
            if iterator.isValid {
                let engineKey = iterator.key
                if best.map({ isBefore(engineKey, $0) }) ?? true { return takeFromEngine() }
            }
            guard let best, let bestTable, let winner = entry(at: bestTable) else { return false }
            if iterator.isValid, ByteOrder.compare(iterator.key, best) == 0 {
                if descending { try iterator.previous() } else { try iterator.next() }
            }
            for index in places.indices {
                if let entry = entry(at: index), ByteOrder.compare(entry.key[...], best) == 0 { step(index) }
            }
            guard let value = winner.value else { continue }
            tipKey = best
            tipValue = value
            return true
        }
    }

    /// The entry where a table's cursor stands, if it is within the range.
    private func entry(at index: Int) -> TipTable.Entry? {
        guard let entry = places[index].entry else { return nil }
        let key = entry.key[...]
        let inside = descending ? ByteOrder.compare(key, lower) >= 0 : ByteOrder.compare(key, upper) < 0
        return inside ? entry : nil
    }

    private func step(_ index: Int) {
        if descending { places[index].previous() } else { places[index].next() }
    }

    private func isBefore(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
        let order = ByteOrder.compare(left, right)
        return descending ? order > 0 : order < 0
    }
}
