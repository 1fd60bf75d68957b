import Synchronization

/// What a read that may only look into memory found.
public enum CachedRead: Hashable, Sendable {
    /// The answer: the value, or nil where the key has none.
    case value(ArraySlice<UInt8>?)
    /// The answer depends on something that is on the disk.
    case needsDisk
}

extension Engine {
    /// The value of `key` as `version` sees it, or nil; without a version, as the last batch left it.
    ///
    /// A value from a table shares the cached block. At most one block of each level has to be read, mostly none or one.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld`, `corruption` or `io`.
    public func get(_ key: ArraySlice<UInt8>, at version: Version? = nil) throws(StorageError) -> ArraySlice<UInt8>? {
        let view = try readView(version)
        let version = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        var tally = LookupTally()
        defer { lookups.add(tally) }
        return try key.withBorrowedBytes { key throws(StorageError) in
            try Self.find(key, at: version, in: view, &tally)
        }
    }

    /// The value of `key`; see ``get(_:at:)-(ArraySlice<UInt8>,_)``.
    public func get(_ key: [UInt8], at version: Version? = nil) throws(StorageError) -> ArraySlice<UInt8>? {
        try get(key[...], at: version)
    }

    /// The value of `key` as far as memory knows it: what a thread that must not wait for the disk may ask.
    ///
    /// The answer is the one of ``get(_:at:)-(ArraySlice<UInt8>,_)`` or "needs disk", never a wrong one: where a newer
    /// source cannot be looked into, an older one is not asked.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld` or `corruption`.
    /// - Complexity: as `get`, without reads.
    public func getCached(_ key: ArraySlice<UInt8>, at version: Version? = nil) throws(StorageError) -> CachedRead {
        let view = try readView(version)
        let version = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        var tally = LookupTally()
        defer { lookups.add(tally) }
        do throws(StorageError) {
            return .value(
                try key.withBorrowedBytes { key throws(StorageError) in
                    try Self.find(key, at: version, in: view, mode: .cacheOnly, &tally)
                })
        } catch  where error.code == .wouldNeedDisk {
            return .needsDisk
        }
    }

    /// The value of `key` as far as memory knows it; see ``getCached(_:at:)-(ArraySlice<UInt8>,_)``.
    public func getCached(_ key: [UInt8], at version: Version? = nil) throws(StorageError) -> CachedRead {
        try getCached(key[...], at: version)
    }

    /// From the newest source to the oldest: the first one that says anything about the key decides, because what is
    /// below it is older.
    static func find(
        _ key: BorrowedBytes, at version: UInt64, in view: ReadView, mode: ReadMode = .any,
        recent: RecentBlocks? = nil, _ tally: inout LookupTally
    ) throws(StorageError) -> ArraySlice<UInt8>? {
        tally.lookups &+= 1
        var (entry, deletedAt) = view.active.find(key, at: version)
        if let entry { return entry.version < deletedAt ? nil : entry.value }
        if deletedAt > 0 { return nil }
        for frozen in view.frozen {
            (entry, deletedAt) = frozen.memtable.find(key, at: version)
            if let entry { return entry.version < deletedAt ? nil : entry.value }
            if deletedAt > 0 { return nil }
        }
        for (number, level) in view.tables.levels.enumerated() where !level.isEmpty {
            if number > 0 {
                guard let table = TableSet.table(over: key, in: level) else { continue }
                (entry, deletedAt) = try find(key, at: version, in: table, mode, recent, &tally)
                if let entry { return entry.version < deletedAt ? nil : entry.value }
                if deletedAt > 0 { return nil }
            } else {
                for table in level where table.range.contains(key) {
                    (entry, deletedAt) = try find(key, at: version, in: table, mode, recent, &tally)
                    if let entry { return entry.version < deletedAt ? nil : entry.value }
                    if deletedAt > 0 { return nil }
                }
            }
        }
        return nil
    }

    @inline(__always)
    private static func find(
        _ key: BorrowedBytes, at version: UInt64, in table: Table, _ mode: ReadMode, _ recent: RecentBlocks?,
        _ tally: inout LookupTally
    ) throws(StorageError) -> (FoundEntry?, deletedAt: UInt64) {
        let reader = try table.reader(mode)
        let deletedAt =
            table.description.rangeTombstones > 0 ? reader.tombstones.newest(over: key, at: version) : 0
        return (try reader.find(key, at: version, mode: mode, recent: recent, &tally), deletedAt)
    }

    /// An iterator over the keys from `lower` up to, not including, `upper`, as `version` sees them.
    ///
    /// It stands on nothing until it is positioned.
    ///
    /// - Throws: ``StorageError`` with code `versionTooOld`, `corruption` or `io`; `wouldNeedDisk` if the options forbid
    ///   the disk and a table would have to be opened.
    public func makeIterator(
        lower: ArraySlice<UInt8>? = nil, upper: ArraySlice<UInt8>? = nil, at version: Version? = nil,
        options: IteratorOptions = IteratorOptions()
    ) throws(StorageError) -> EngineIterator {
        let view = try readView(version)
        let at = version?.rawValue ?? lastVersionValue.load(ordering: .acquiring)
        let lower = lower.map { Array($0) }
        let upper = upper.map { Array($0) }
        let (children, tombstones) = try sources(in: view, lower, upper, options) { _ in true }
        return EngineIterator(
            engine: self, view: view, children: children, tombstones: RangeTombstones(tombstones), lower: lower,
            upper: upper, version: at)
    }

    /// What a walk over `lower ..< upper` merges, the newest first: memtables, and the tables that `isWanted`.
    func sources(
        in view: ReadView, _ lower: [UInt8]?, _ upper: [UInt8]?, _ options: IteratorOptions,
        where isWanted: (TableDescription) -> Bool
    ) throws(StorageError) -> (children: [InternalIterator], tombstones: [RangeTombstone]) {
        var children = [view.active.makeIterator()]
        var tombstones = view.active.rangeTombstones.tombstones
        for frozen in view.frozen {
            children.append(frozen.memtable.makeIterator())
            tombstones += frozen.memtable.rangeTombstones.tombstones
        }
        for (number, level) in view.tables.levels.enumerated() where !level.isEmpty {
            var tables: [Table] = []
            for table in level where table.range.overlaps(lower: lower, upper: upper) && isWanted(table.description) {
                if table.description.rangeTombstones > 0 {
                    tombstones += try table.reader(options.mode).tombstones.tombstones
                }
                if try table.mayHaveEntries(lower, upper, options.mode) { tables.append(table) }
            }
            if number == 0 {
                for table in tables {
                    children.append(
                        try table.reader(options.mode).makeIterator(
                            fillsCache: options.fillsCache, mode: options.mode))
                }
            } else if !tables.isEmpty {
                children.append(LevelIterator(tables, fillsCache: options.fillsCache, mode: options.mode))
            }
        }
        return (children, tombstones)
    }

    /// The sources of a read at `version`.
    func readView(_ version: Version?) throws(StorageError) -> ReadView {
        try checkOpen()
        let view = view.withLock { $0 }
        if let version { try checkReadable(version, in: view) }
        return view
    }

    /// - Throws: ``StorageError`` with code `versionTooOld` if merges may have dropped what `version` sees.
    func checkReadable(_ version: Version, in view: ReadView) throws(StorageError) {
        guard version.rawValue < view.tables.horizon else { return }
        guard retention.withLock({ $0.pins[version.rawValue] != nil }) else {
            throw StorageError(
                .versionTooOld, "version \(version.rawValue) is below \(view.tables.horizon), and not retained")
        }
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

    /// What a merge that begins now has to keep.
    func retainedVersions() -> RetainedVersions {
        retention.withLock { retention in
            if options.history == .latest {
                retention.horizon = max(retention.horizon, lastVersionValue.load(ordering: .acquiring))
            }
            return RetainedVersions(horizon: retention.horizon, pins: retention.pins.keys.sorted())
        }
    }

    /// Versions below may be gone.
    public var historyHorizon: Version { Version(retention.withLock { $0.horizon }) }
}
