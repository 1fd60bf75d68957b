import CairnBSON

/// A compiled `$group`.
struct GroupSpecification: Sendable {
    /// Groups spread over several places are accumulated where their documents are and finished where they meet.
    enum Role: Sendable {
        case whole
        /// Gives partial results.
        case partial
        /// Takes partial results.
        case merge
    }

    let source: Document
    let role: Role
    let id: ExpressionProgram
    let accumulators: [AccumulatorSpecification]
}

/// `$group`: all accumulators of all groups in one flat array, found by the hash of the group's `_id`.
final class GroupRunner: BlockingRunner {
    private let specification: GroupSpecification
    private let bytesMax: Int
    /// Groups whose ids it holds for equal are one, under the id that came first.
    private let collation: Collation?
    private var places: [Value: Int] = [:]
    private var ids: [Value] = []
    private var accumulators: [Accumulator] = []
    private var bytes = 0
    private var position = 0

    init(_ specification: GroupSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        bytesMax = context.memoryBytesMax
        collation = context.collation
        super.init(upstream)
    }

    override func finishInput() { places = [:] }

    override func give() -> Document? {
        guard position < ids.count else { return nil }
        defer { position += 1 }
        return group(position)
    }

    override func take(_ document: Document) throws(QueryError) {
        let id: Value
        if specification.role == .merge {
            id = document["_id"] ?? .null
        } else {
            let value = try specification.id.evaluate(document) ?? .null
            // Undefined and null are one group.
            id = value.isNullish ? .null : value
        }
        let width = specification.accumulators.count
        let place: Int
        let key = collation?.folded(id)
        if let known = places[key ?? id] {
            place = known
        } else {
            place = ids.count
            let kept = Self.compacted(id)
            places[key ?? kept] = place
            ids.append(kept)
            for accumulator in specification.accumulators {
                accumulators.append(try accumulator.makeAccumulator(group: id))
            }
            bytes += MemorySize.of(id) + 64 + width * 96
        }
        for index in 0..<width {
            let accumulator = accumulators[place * width + index]
            let before = accumulator.byteCount
            let specification = specification.accumulators[index]
            if self.specification.role == .merge {
                if let partial = document[specification.name] { try accumulator.merge(partial) }
            } else {
                try accumulator.add(try specification.input(of: document))
            }
            bytes += accumulator.byteCount - before
        }
        if bytes > bytesMax { throw Self.memoryExceeded("$group", bytesMax) }
    }

    /// A key without the document around it, which it would keep in memory.
    private static func compacted(_ value: Value) -> Value {
        switch value {
        case .string(let text): .string(BSONString(utf8: ArraySlice(Array(text.utf8))))
        case .document(let document): .document(document.compacted())
        case .array(let array): .array(BSONArray(array.document.compacted()))
        default: value
        }
    }

    private func group(_ place: Int) -> Document {
        let width = specification.accumulators.count
        var builder = DocumentBuilder()
        builder.append("_id", ids[place])
        for index in 0..<width {
            let accumulator = accumulators[place * width + index]
            let value = specification.role == .partial ? accumulator.partial() : accumulator.result()
            builder.append(specification.accumulators[index].name, value)
        }
        return builder.finish()
    }
}
