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
final class GroupRunner: StageRunner {
    private let specification: GroupSpecification
    private let upstream: StageRunner
    private let bytesMax: Int
    private var places: [Value: Int] = [:]
    private var ids: [Value] = []
    private var accumulators: [Accumulator] = []
    private var bytes = 0
    private var isDrained = false
    private var position = 0

    init(_ specification: GroupSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        self.upstream = upstream
        bytesMax = context.memoryBytesMax
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while !isDrained {
            switch try upstream.poll() {
            case .document(let document): try add(document)
            case .finished:
                isDrained = true
                places = [:]
            case let waiting: return waiting
            }
        }
        guard position < ids.count else { return .finished }
        defer { position += 1 }
        return .document(group(position))
    }

    private func add(_ document: Document) throws(QueryError) {
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
        if let known = places[id] {
            place = known
        } else {
            place = ids.count
            let kept = Self.compacted(id)
            places[kept] = place
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

struct BucketAutoSpecification: Sendable {
    let groupBy: ExpressionProgram
    let buckets: Int
    let accumulators: [AccumulatorSpecification]
}

/// `$bucketAuto`: groups of about equal size along an order of values.
final class BucketAutoRunner: StageRunner {
    private let specification: BucketAutoSpecification
    private let upstream: StageRunner
    private let bytesMax: Int
    private var entries: [(value: Value, document: Document)] = []
    private var bytes = 0
    private var results: [Document]?
    private var position = 0

    init(_ specification: BucketAutoSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        self.upstream = upstream
        bytesMax = context.memoryBytesMax
    }

    override func poll() throws(QueryError) -> PipelinePoll {
        while results == nil {
            switch try upstream.poll() {
            case .document(let document):
                entries.append((try specification.groupBy.evaluate(document) ?? .null, document))
                bytes += document.byteCount + 128
                if bytes > bytesMax { throw Self.memoryExceeded("$bucketAuto", bytesMax) }
            case .finished: results = try buckets()
            case let waiting: return waiting
            }
        }
        guard let results, position < results.count else { return .finished }
        position += 1
        return .document(results[position - 1])
    }

    private func buckets() throws(QueryError) -> [Document] {
        let order = entries.indices.sorted { left, right in
            let order = Value.compare(entries[left].value, entries[right].value)
            return order != 0 ? order < 0 : left < right
        }
        let size = max(1, Int((Double(order.count) / Double(specification.buckets)).rounded()))
        var documents: [Document] = []
        var start = 0
        while start < order.count {
            var end = documents.count == specification.buckets - 1 ? order.count : min(start + size, order.count)
            while end < order.count, entries[order[end]].value == entries[order[end - 1]].value { end += 1 }
            let accumulators = try specification.accumulators.map { (specification) throws(QueryError) in
                try specification.makeAccumulator(group: nil)
            }
            for index in order[start..<end] {
                for (accumulator, specification) in zip(accumulators, specification.accumulators) {
                    try accumulator.add(try specification.input(of: entries[index].document))
                }
            }
            let upper = end < order.count ? entries[order[end]].value : entries[order[end - 1]].value
            var builder = DocumentBuilder()
            builder.append("_id", .document(["min": entries[order[start]].value, "max": upper]))
            for (accumulator, specification) in zip(accumulators, specification.accumulators) {
                builder.append(specification.name, accumulator.result())
            }
            documents.append(builder.finish())
            start = end
        }
        entries = []
        return documents
    }
}
