import Synchronization

extension Engine {
    /// The value of `key` as `version` sees it, or nil; without a version, as the last batch left it.
    ///
    /// A value from a table shares the cached block. At most one block of each level has to be read, mostly none or one.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld`, `corruption` or `io`.
    public func get(_ key: ArraySlice<UInt8>, at version: Version? = nil) throws(StorageError) -> ArraySlice<UInt8>? {
        let view = try readView(version)
        let version = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        return try key.withBorrowedBytes { key throws(StorageError) in try Self.find(key, at: version, in: view) }
    }

    /// The value of `key`; see ``get(_:at:)-(ArraySlice<UInt8>,_)``.
    public func get(_ key: [UInt8], at version: Version? = nil) throws(StorageError) -> ArraySlice<UInt8>? {
        try get(key[...], at: version)
    }

    /// From the newest source to the oldest: the first one that says anything about the key decides, because what is
    /// below it is older.
    private static func find(
        _ key: BorrowedBytes, at version: UInt64, in view: ReadView
    ) throws(StorageError) -> ArraySlice<UInt8>? {
        for memtable in CollectionOfOne(view.active) {
            let (entry, deletedAt) = memtable.find(key, at: version)
            if let entry { return entry.version < deletedAt ? nil : entry.value }
            if deletedAt > 0 { return nil }
        }
        for memtable in view.frozen {
            let (entry, deletedAt) = memtable.find(key, at: version)
            if let entry { return entry.version < deletedAt ? nil : entry.value }
            if deletedAt > 0 { return nil }
        }
        return nil
    }

    /// An iterator over the keys from `lower` up to, not including, `upper`, as `version` sees them.
    ///
    /// It stands on nothing until it is positioned.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld`, `corruption` or `io`.
    public func makeIterator(
        lower: ArraySlice<UInt8>? = nil, upper: ArraySlice<UInt8>? = nil, at version: Version? = nil,
        options: IteratorOptions = IteratorOptions()
    ) throws(StorageError) -> EngineIterator {
        let at = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        let view = try readView(version)
        var children = [view.active.makeIterator()]
        var tombstones = view.active.rangeTombstones.tombstones
        for memtable in view.frozen {
            children.append(memtable.makeIterator())
            tombstones += memtable.rangeTombstones.tombstones
        }
        return EngineIterator(
            engine: self, view: view, children: children, tombstones: RangeTombstones(tombstones),
            lower: lower.map(Array.init), upper: upper.map(Array.init), version: at)
    }

    /// The sources of a read at `version`.
    func readView(_ version: Version?) throws(StorageError) -> ReadView {
        try checkOpen()
        return view.withLock { $0 }
    }

    // MARK: - History

    /// Keeps `version` readable until ``release(_:)``, as often as it was retained.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld` if it is below the horizon and nobody retains it.
    public func retain(_ version: Version) throws(StorageError) {
        let isKept = retention.withLock { retention in
            guard version.rawValue >= retention.horizon || retention.pins[version.rawValue] != nil else { return false }
            retention.pins[version.rawValue, default: 0] += 1
            return true
        }
        guard isKept else {
            throw StorageError(.versionTooOld, "version \(version.rawValue) is below the history horizon")
        }
    }

    /// Gives back what ``retain(_:)`` took.
    public func release(_ version: Version) {
        retention.withLock { retention in
            guard let count = retention.pins[version.rawValue] else {
                preconditionFailure("version \(version.rawValue) is not retained")
            }
            retention.pins[version.rawValue] = count > 1 ? count - 1 : nil
        }
    }

    /// Lets compactions drop what only versions below `version` can see, unless they are retained. Never goes back.
    ///
    /// Until it is called, all history is kept. To keep none, call it with ``lastVersion`` now and then.
    public func setHistoryHorizon(_ version: Version) {
        retention.withLock { $0.horizon = max($0.horizon, version.rawValue) }
    }

    public var historyHorizon: Version { Version(retention.withLock { $0.horizon }) }
}
