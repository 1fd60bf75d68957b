import CairnBSON

/// `$setWindowFields`: fields computed from the documents around each document.
///
/// It takes in everything, puts it in order (partitions in the order of their values, in each the order asked for), and
/// then gives one document at a time, with each field computed as it is reached; so beside the documents it holds what
/// sliding windows need and no columns of results.
final class WindowRunner: BlockingRunner {
    private struct Entry {
        let partition: Value
        let key: [Value]
        let number: Int
        let document: Document
    }

    private let specification: WindowFieldsSpecification
    private let bytesMax: Int
    private let share: MemoryShare
    private var entries: [Entry] = []
    private var bytes = 0
    private var position = 0
    private var partitionEnd = 0
    private var partitionStart = 0
    private var columns: [WindowColumn] = []

    init(_ specification: WindowFieldsSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        bytesMax = context.memoryBytesMax
        share = MemoryShare(context.memory)
        super.init(upstream)
    }

    override func finishInput() throws(QueryError) { try sort() }

    override func give() throws(QueryError) -> Document? {
        guard position < entries.count else { return nil }
        if position == partitionEnd { try beginPartition() }
        var document = entries[position].document
        for (output, column) in zip(specification.outputs, columns) {
            document = document.setting(output.path, to: try column.value(at: position - partitionStart))
        }
        guard document.byteCount <= Update.documentBytesMax else {
            throw QueryError(
                .bsonObjectTooLarge,
                "the document that $setWindowFields makes exceeds \(Update.documentBytesMax) bytes")
        }
        position += 1
        return document
    }

    override func take(_ document: Document) throws(QueryError) {
        let partition = try specification.partitionBy?.evaluate(document) ?? .null
        if case .array = partition {
            throw QueryError(
                .typeMismatch, "An expression used to partition cannot evaluate to value of type array")
        }
        let entry = Entry(
            partition: partition.isNullish ? .null : partition,
            key: try specification.order?.keyValues(of: document) ?? [], number: entries.count, document: document)
        entries.append(entry)
        bytes += document.byteCount + 128 + entry.key.count * 48 + MemorySize.of(partition)
        if bytes > bytesMax { throw Self.memoryExceeded("$setWindowFields", bytesMax) }
        try share.hold(bytes)
    }

    private func sort() throws(QueryError) {
        try entries.meteredSort { left, right in
            let partitions = Value.compare(left.partition, right.partition)
            if partitions != 0 { return partitions < 0 }
            let keys = specification.order?.compare(values: left.key, right.key) ?? 0
            return keys != 0 ? keys < 0 : left.number < right.number
        }
    }

    private func beginPartition() throws(QueryError) {
        partitionStart = position
        let value = entries[position].partition
        partitionEnd = position + 1
        while partitionEnd < entries.count, Value.compare(entries[partitionEnd].partition, value) == 0 {
            partitionEnd += 1
        }
        let members = entries[partitionStart..<partitionEnd]
        let partition = WindowPartition(
            documents: members.map(\.document), keys: members.map(\.key), order: specification.order)
        columns = []
        for output in specification.outputs {
            columns.append(try output.function.column(over: partition, bytesMax: bytesMax))
        }
    }
}

/// The documents of one partition, in order.
final class WindowPartition {
    let documents: [Document]
    /// What each document is sorted by, one value a field of the order.
    let keys: [[Value]]
    let order: SortSpecification?

    init(documents: [Document], keys: [[Value]], order: SortSpecification?) {
        self.documents = documents
        self.keys = keys
        self.order = order
    }

    var count: Int { documents.count }

    /// The value that the document at `index` is sorted by, for functions whose order has one field.
    func sortValue(_ index: Int) -> Value { keys[index][0] }
}

/// One field's values over a partition.
class WindowColumn {
    /// Called once for each index, in ascending order.
    func value(at index: Int) throws(QueryError) -> Value { preconditionFailure("a column without values") }
}
