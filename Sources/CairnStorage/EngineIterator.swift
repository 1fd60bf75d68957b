/// A walk over the keys of an engine as they were at one version, in both directions.
///
/// It holds on to the memtables and tables that it was made from, so writes, flushes and compactions neither disturb it
/// nor wait for it; drop it when done, because files that it needs stay until then. Reads may reach the disk, so every
/// move can throw; after an error, and after ``Engine/close()``, it cannot be used. One thread at a time.
public final class EngineIterator {
    private let engine: Engine
    private let view: ReadView
    private let merged: MergingIterator
    private let tombstones: RangeTombstones
    private let lower: [UInt8]?
    private let upper: [UInt8]?
    private let version: UInt64

    /// Whether it stands on an entry.
    public private(set) var isValid = false

    /// Forward: `merged` stands on the entry that is shown. Backward: it stands before all entries of `savedKey`.
    private var isForward = true
    private let savedKey = KeyBuffer()
    private var savedValue: ArraySlice<UInt8> = []
    private var shownKey: ArraySlice<UInt8>?

    /// After so many entries of one key that nobody sees, a search is cheaper than another step.
    private static let stepsMax = 8

    init(
        engine: Engine, view: ReadView, children: [InternalIterator], tombstones: RangeTombstones, lower: [UInt8]?,
        upper: [UInt8]?, version: UInt64
    ) {
        self.engine = engine
        self.view = view
        merged = MergingIterator(children)
        self.tombstones = tombstones
        self.lower = lower
        self.upper = upper
        self.version = version
    }

    /// The key of the entry it stands on.
    public var key: ArraySlice<UInt8> {
        precondition(isValid, "the iterator stands on nothing")
        if let shownKey { return shownKey }
        let key = (isForward ? merged.key : savedKey.view).copied()[...]
        shownKey = key
        return key
    }

    /// The value of the entry it stands on, sharing the block that holds it.
    public var value: ArraySlice<UInt8> {
        precondition(isValid, "the iterator stands on nothing")
        return isForward ? merged.value() : savedValue
    }

    /// Lends the bytes of the key and the value it stands on, which nothing copies.
    @inline(__always)
    public func withEntry<Result, Failure: Error>(
        _ body: (_ key: RawSpan, _ value: RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(isValid, "the iterator stands on nothing")
        let key = unsafe (isForward ? merged.key : savedKey.view).buffer
        if isForward {
            let value = unsafe merged.lentValue.buffer
            return unsafe try body(key.bytes, value.bytes)
        }
        let value = savedValue
        return unsafe try body(key.bytes, value.span.bytes)
    }

    /// Lets moves from now on read the disk, as if it had been made with ``ReadMode/any``.
    ///
    /// For a walk that began where nobody may wait and goes on where waiting is allowed. It must stand where it stood after
    /// a move that did not throw.
    public func allowDisk() { merged.allowDisk() }

    // MARK: - Positioning

    /// Goes to the first key.
    public func seekToFirst() throws(StorageError) {
        try begin(forward: true)
        if let lower {
            try lower.withBorrowedBytes { key throws(StorageError) in try merged.seek(to: key, version) }
        } else {
            try merged.seekToFirst()
        }
        try findForward(skippingSaved: false)
    }

    /// Goes to the last key.
    public func seekToLast() throws(StorageError) {
        try begin(forward: false)
        if let upper {
            try upper.withBorrowedBytes { key throws(StorageError) in try merged.seek(before: key, .max) }
        } else {
            try merged.seekToLast()
        }
        try findBackward()
    }

    /// Goes to the first key that is `target` or after it.
    public func seek(to target: ArraySlice<UInt8>) throws(StorageError) {
        if let lower, target.lexicographicallyPrecedes(lower) { return try seekToFirst() }
        try begin(forward: true)
        try target.withBorrowedBytes { key throws(StorageError) in try merged.seek(to: key, version) }
        try findForward(skippingSaved: false)
    }

    /// Goes to the last key that is `target` or before it.
    public func seekForPrev(_ target: ArraySlice<UInt8>) throws(StorageError) {
        if let upper, !target.lexicographicallyPrecedes(upper) { return try seekToLast() }
        try begin(forward: false)
        // No version is 0, so this is behind all entries of the target.
        try target.withBorrowedBytes { key throws(StorageError) in try merged.seek(before: key, 0) }
        try findBackward()
    }

    /// Goes to the next key.
    public func next() throws(StorageError) {
        precondition(isValid, "the iterator stands on nothing")
        try checkOpen()
        shownKey = nil
        if isForward {
            saveKey()
            try merged.next()
        } else {
            isForward = true
            try merged.seek(to: savedKey.view, 0)
        }
        try findForward(skippingSaved: true)
    }

    /// Goes to the key before.
    public func previous() throws(StorageError) {
        precondition(isValid, "the iterator stands on nothing")
        try checkOpen()
        shownKey = nil
        if isForward {
            saveKey()
            isForward = false
            try merged.seek(before: savedKey.view, .max)
        }
        try findBackward()
    }

    // MARK: - Finding what the version sees

    private func begin(forward: Bool) throws(StorageError) {
        try checkOpen()
        isForward = forward
        isValid = false
        shownKey = nil
    }

    private func checkOpen() throws(StorageError) {
        guard !engine.isClosed else {
            isValid = false
            throw StorageError(.closed, "the engine of this iterator was closed")
        }
    }

    private func saveKey() {
        savedKey.replace(keeping: 0, with: merged.key)
    }

    private func isDeleted(_ key: BorrowedBytes, _ entryVersion: UInt64) -> Bool {
        !tombstones.isEmpty && tombstones.newest(over: key, at: version) > entryVersion
    }

    private func findForward(skippingSaved: Bool) throws(StorageError) {
        isValid = false
        var isSkipping = skippingSaved
        var steps = 0
        let (merged, savedKey) = (merged, savedKey)
        while merged.isValid {
            if let upper, upper.withBorrowedBytes({ merged.key.compare($0) >= 0 }) { return }
            if isSkipping, merged.key.isEqual(to: savedKey.view) {
                steps += 1
                if steps > Self.stepsMax {
                    steps = 0
                    try merged.seek(to: savedKey.view, 0)
                } else {
                    try merged.next()
                }
                continue
            }
            if merged.version > version {
                steps += 1
                if steps > Self.stepsMax {
                    steps = 0
                    saveKey()
                    isSkipping = false
                    try merged.seek(to: savedKey.view, version)
                } else {
                    try merged.next()
                }
                continue
            }
            if merged.kind == .put, !isDeleted(merged.key, merged.version) {
                isValid = true
                return
            }
            saveKey()
            isSkipping = true
            steps = 0
            try merged.next()
        }
    }

    private func findBackward() throws(StorageError) {
        isValid = false
        while merged.isValid {
            if let lower, lower.withBorrowedBytes({ merged.key.compare($0) < 0 }) { return }
            saveKey()
            // Backward the versions of a key ascend: the last one that is not too new is what the reader sees.
            var seen: (version: UInt64, kind: EntryKind)?
            repeat {
                if merged.version <= version {
                    seen = (merged.version, merged.kind)
                    savedValue = merged.kind == .put ? merged.value() : []
                }
                try merged.previous()
            } while merged.isValid && merged.key.isEqual(to: savedKey.view)
            if let seen, seen.kind == .put, !isDeleted(savedKey.view, seen.version) {
                isValid = true
                return
            }
        }
    }
}
