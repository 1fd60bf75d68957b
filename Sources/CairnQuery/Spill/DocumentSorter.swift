import CairnBSON

/// Sorts documents within a bound of memory, stably; with a limit it keeps no more than twice that many. What does not fit goes
/// to a ``SpillStore``, in runs that are in order and are merged at the end.
public struct DocumentSorter {
    private struct Entry {
        /// Bytes that order as the documents do.
        let key: [UInt8]
        /// Keeps documents that are equal to the order in the order of their coming.
        let sequence: Int
        let document: Document
        /// The first bytes of the key as a number, which settles most comparisons.
        let head: UInt64

        init(_ document: Document, key: [UInt8], sequence: Int) {
            self.key = key
            self.sequence = sequence
            self.document = document
            var head: UInt64 = 0
            for index in 0..<8 { head = head << 8 | (index < key.count ? UInt64(key[index]) : 0) }
            self.head = head
        }

        func precedes(_ other: Entry) -> Bool {
            if head != other.head { return head < other.head }
            if key == other.key { return sequence < other.sequence }
            return key.lexicographicallyPrecedes(other.key)
        }
    }

    private let order: SortSpecification
    private let limit: Int?
    private let bytesMax: Int
    private let spill: (any SpillStore)?
    /// What is sorted, for messages.
    private let name: String
    private let share: MemoryShare
    private var entries: [Entry] = []
    private var sequence = 0
    private var bytes = 0
    /// The key of the last document that is still wanted, once there are `limit` of them.
    private var worst: [UInt8]?
    private var runs: [any SpillRun] = []
    private var merge: RunMerge<[UInt8]>?
    private var given = 0

    /// Times that documents went out of memory.
    public var spillCount: Int { runs.count }

    /// - Parameters:
    ///   - limit: how many documents are wanted from the front; nil for all.
    ///   - spill: where documents go that do not fit; nil makes that an error.
    public init(
        _ order: SortSpecification, limit: Int?, bytesMax: Int, spill: (any SpillStore)? = nil,
        memory: MemoryAccount? = nil, name: String = "Sort"
    ) {
        self.order = order
        self.limit = limit
        self.bytesMax = bytesMax
        self.spill = spill
        self.name = name
        share = MemoryShare(memory)
    }

    /// - Throws: code 292 when the documents do not fit and there is nowhere else to put them.
    public mutating func add(_ document: Document) throws(QueryError) {
        let key = try order.sortKey(of: document)
        sequence += 1
        if let worst, !key.lexicographicallyPrecedes(worst) { return }
        // A copy, because a slice would keep the whole block alive that it was read from.
        entries.append(Entry(document.compacted(), key: key, sequence: sequence))
        bytes += document.byteCount + key.count + 96
        if let limit, entries.count / 2 >= max(limit, 32) { try cut(limit) }
        guard bytes <= bytesMax else { return try spillEntries() }
        do throws(QueryError) { try share.hold(bytes) } catch {
            // Others hold what this one may not.
            guard spill != nil, bytes > 1 << 20 else { throw error }
            try spillEntries()
        }
    }

    /// To be called once, after the last document and before the first ``next()``.
    public mutating func finish() throws(QueryError) {
        if runs.isEmpty {
            try sort()
            if let limit, entries.count > limit { entries.removeSubrange(limit...) }
            return
        }
        if !entries.isEmpty { try spillEntries() }
        let order = order
        merge = try RunMerge(runs, by: { $0.lexicographicallyPrecedes($1) }) { (document) throws(QueryError) in
            try order.sortKey(of: document)
        }
    }

    /// The documents in order.
    public mutating func next() throws(QueryError) -> Document? {
        if merge != nil {
            guard given < limit ?? .max, let document = try merge?.next() else { return nil }
            given += 1
            return document
        }
        guard given < entries.count else { return nil }
        given += 1
        return entries[given - 1].document
    }

    private mutating func spillEntries() throws(QueryError) {
        guard let spill else {
            throw QueryError(
                .queryExceededMemoryLimitNoDiskUseAllowed,
                "\(name) exceeded memory limit of \(bytesMax) bytes, but did not opt in to external sorting.")
        }
        try sort()
        if let limit, entries.count > limit { entries.removeSubrange(limit...) }
        let run = try spill.makeRun()
        for entry in entries { try run.append(entry.document) }
        runs.append(run)
        entries = []
        bytes = 0
        try share.hold(0)
    }

    private mutating func cut(_ limit: Int) throws(QueryError) {
        try sort()
        entries.removeSubrange(limit...)
        if let last = entries.last { worst = last.key }
        bytes = entries.reduce(0) { $0 + $1.document.byteCount + $1.key.count + 96 }
    }

    private mutating func sort() throws(QueryError) {
        try entries.meteredSort(steps: 1) { $0.precedes($1) }
    }
}
