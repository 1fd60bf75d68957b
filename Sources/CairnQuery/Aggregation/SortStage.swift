import CairnBSON

/// `$sort`: stable; with a known limit it holds no more than twice that many documents.
final class SortRunner: BlockingRunner {
    private var sorter: DocumentSorter

    init(_ order: SortSpecification, limit: Int?, _ upstream: StageRunner, _ context: QueryContext) {
        sorter = DocumentSorter(
            order, limit: limit, bytesMax: context.sortBytesMax, spill: context.spill, memory: context.memory)
        super.init(upstream)
    }

    override func take(_ document: Document) throws(QueryError) { try sorter.add(document) }

    override func finishInput() throws(QueryError) { try sorter.finish() }

    override func give() throws(QueryError) -> Document? { try sorter.next() }
}

/// `$sample`: a reservoir (Vitter's algorithm R), from the query's own seed.
final class SampleRunner: BlockingRunner {
    private let size: Int
    private var state: UInt64
    private var chosen: [Document] = []
    private var seen = 0
    private var position = 0
    private var bytes = 0
    private let bytesMax: Int
    private let share: MemoryShare

    init(_ size: Int, seed: UInt64, _ upstream: StageRunner, _ context: QueryContext) {
        self.size = size
        state = seed
        bytesMax = context.memoryBytesMax
        share = MemoryShare(context.memory)
        super.init(upstream)
    }

    override func take(_ document: Document) throws(QueryError) {
        seen += 1
        if chosen.count < size {
            chosen.append(document)
            bytes += document.byteCount + 64
        } else {
            let place = Int(next() % UInt64(seen))
            guard place < size else { return }
            bytes += document.byteCount - chosen[place].byteCount
            chosen[place] = document
        }
        if bytes > bytesMax { throw Self.memoryExceeded("$sample", bytesMax) }
        try share.hold(bytes)
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
