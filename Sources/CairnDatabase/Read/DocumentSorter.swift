import CairnBSON
import CairnQuery

/// Sorts documents in memory, within a bound; with a limit it keeps no more than twice that many.
struct DocumentSorter {
    private struct Entry {
        /// Bytes that order as the documents do.
        let key: [UInt8]
        /// Keeps documents that are equal to the order in the order of their coming.
        let sequence: Int
        let document: Document
    }

    private let order: SortSpecification
    private let limit: Int?
    private let bytesMax: Int
    private let checkInterrupt: (@Sendable () throws(QueryError) -> Void)?
    private var entries: [Entry] = []
    private var sequence = 0
    private var bytes = 0

    /// - Parameter limit: how many documents are wanted from the front; nil for all.
    init(
        _ order: SortSpecification, limit: Int?, bytesMax: Int,
        checkInterrupt: (@Sendable () throws(QueryError) -> Void)? = nil
    ) {
        self.checkInterrupt = checkInterrupt
        self.order = order
        self.limit = limit
        self.bytesMax = bytesMax
    }

    /// - Throws: ``QueryError`` 292 when the documents do not fit.
    mutating func add(_ document: Document) throws {
        let key = try order.sortKey(of: document)
        // A copy, because a slice would keep the whole block alive that it was read from.
        entries.append(Entry(key: key, sequence: sequence, document: document.compacted()))
        sequence += 1
        bytes += document.byteCount + key.count + 64
        if let limit, entries.count >= max(limit, 512) * 2 { try cut(limit) }
        guard bytes <= bytesMax else {
            throw QueryError(
                .queryExceededMemoryLimitNoDiskUseAllowed,
                "Sort exceeded memory limit of \(bytesMax) bytes, but did not opt in to external sorting.")
        }
    }

    /// The documents in order; the sorter is empty afterwards.
    ///
    /// - Throws: when the operation was interrupted meanwhile.
    mutating func finish() throws -> [Document] {
        try sort()
        if let limit, entries.count > limit { entries.removeSubrange(limit...) }
        defer { entries = [] }
        return entries.map(\.document)
    }

    private mutating func cut(_ limit: Int) throws {
        try sort()
        entries.removeSubrange(limit...)
        bytes = entries.reduce(0) { $0 + $1.document.byteCount + $1.key.count + 64 }
    }

    private mutating func sort() throws {
        var comparisons = 0
        try entries.sort { [checkInterrupt] left, right in
            comparisons &+= 1
            if comparisons & 4095 == 0 { try checkInterrupt?() }
            let order = ByteOrder.compare(left.key, right.key[...])
            return order != 0 ? order < 0 : left.sequence < right.sequence
        }
    }
}
