import CairnBSON

/// `$sort`: stable; with a known limit it holds no more than twice that many documents.
final class SortRunner: BlockingRunner {
    private struct Entry {
        let key: [Value]
        let number: Int
        let document: Document
    }

    private let order: SortSpecification
    private let limit: Int?
    private let bytesMax: Int
    private var entries: [Entry] = []
    private var bytes = 0
    private var count = 0
    private var position = 0
    /// The last entry that is still wanted, once there are `limit` of them.
    private var worst: Entry?

    init(_ order: SortSpecification, limit: Int?, _ upstream: StageRunner, _ context: QueryContext) {
        self.order = order
        self.limit = limit
        bytesMax = context.memoryBytesMax
        super.init(upstream)
    }

    override func finishInput() { sort() }

    override func give() -> Document? {
        guard position < entries.count else { return nil }
        position += 1
        return entries[position - 1].document
    }

    override func take(_ document: Document) throws(QueryError) {
        let entry = Entry(key: try order.keyValues(of: document), number: count, document: document)
        count += 1
        if let worst, !goesFirst(entry, worst) { return }
        entries.append(entry)
        bytes += document.byteCount + 64 + entry.key.count * 48
        if let limit, entries.count >= max(limit * 2, 64) { sort() }
        if bytes > bytesMax { throw Self.memoryExceeded("$sort", bytesMax) }
    }

    private func goesFirst(_ left: Entry, _ right: Entry) -> Bool {
        let order = order.compare(values: left.key, right.key)
        return order != 0 ? order < 0 : left.number < right.number
    }

    private func sort() {
        entries.sort(by: goesFirst)
        guard let limit, entries.count > limit else { return }
        entries.removeLast(entries.count - limit)
        worst = entries.last
        bytes = entries.reduce(0) { $0 + $1.document.byteCount + 64 + $1.key.count * 48 }
    }
}

/// `$sample`: a reservoir (Vitter's algorithm R), from the query's own seed.
final class SampleRunner: BlockingRunner {
    private let size: Int
    private var state: UInt64
    private var chosen: [Document] = []
    private var seen = 0
    private var position = 0

    init(_ size: Int, seed: UInt64, _ upstream: StageRunner) {
        self.size = size
        state = seed
        super.init(upstream)
    }

    override func take(_ document: Document) {
        seen += 1
        if chosen.count < size {
            chosen.append(document)
        } else {
            let place = Int(next() % UInt64(seen))
            if place < size { chosen[place] = document }
        }
    }

    override func finishInput() {
        for index in chosen.indices.dropFirst() { chosen.swapAt(index, Int(next() % UInt64(index + 1))) }
    }

    override func give() -> Document? {
        guard position < chosen.count else { return nil }
        position += 1
        return chosen[position - 1]
    }

    /// SplitMix64.
    private func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
