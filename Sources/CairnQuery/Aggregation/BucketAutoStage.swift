import CairnBSON

struct BucketAutoSpecification: Sendable {
    let groupBy: ExpressionProgram
    let buckets: Int
    let accumulators: [AccumulatorSpecification]
    let granularity: Granularity?
}

/// `$bucketAuto`: groups of about equal size along an order of values.
///
/// A bucket takes its share of the documents and all others that have the value of the last. With a granularity its upper
/// boundary is the next preferred number instead, and it takes what lies below.
final class BucketAutoRunner: BlockingRunner {
    private let specification: BucketAutoSpecification
    private let bytesMax: Int
    private let share: MemoryShare
    private var entries: [(value: Value, document: Document)] = []
    private var bytes = 0
    private var results: [Document] = []
    private var position = 0

    init(_ specification: BucketAutoSpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        bytesMax = context.memoryBytesMax
        share = MemoryShare(context.memory)
        super.init(upstream)
    }

    override func take(_ document: Document) throws(QueryError) {
        let value = try specification.groupBy.evaluate(document) ?? .null
        if specification.granularity != nil { try Self.checkNumber(value) }
        entries.append((value, document))
        bytes += document.byteCount + 128
        if bytes > bytesMax { throw Self.memoryExceeded("$bucketAuto", bytesMax) }
        try share.hold(bytes)
    }

    override func finishInput() throws(QueryError) { results = try buckets() }

    override func give() -> Document? {
        guard position < results.count else { return nil }
        position += 1
        return results[position - 1]
    }

    private static func checkNumber(_ value: Value) throws(QueryError) {
        guard let number = value.numericDouble else {
            throw QueryError(
                ErrorCode(40258),
                "$bucketAuto can specify a 'granularity' with numeric boundaries only, but found a value with type: "
                    + "\(value.type.alias)")
        }
        guard number.isFinite else {
            throw QueryError(
                ErrorCode(40259),
                "$bucketAuto can specify a 'granularity' with numeric boundaries only, but found a value of \(value)")
        }
        guard number >= 0 else {
            throw QueryError(
                ErrorCode(40260),
                "$bucketAuto can specify a 'granularity' with non-negative numbers only, but found a negative number")
        }
    }

    private func buckets() throws(QueryError) -> [Document] {
        var places = Array(entries.indices)
        try places.meteredSort { left, right in
            let order = Value.compare(entries[left].value, entries[right].value)
            return order != 0 ? order < 0 : left < right
        }
        entries = places.map { entries[$0] }
        let size = max(1, Int((Double(entries.count) / Double(specification.buckets)).rounded()))
        var documents: [Document] = []
        var start = 0
        var former: Value?
        while start < entries.count {
            let isLast = documents.count == specification.buckets - 1
            var end = isLast ? entries.count : min(start + size, entries.count)
            let lower: Value
            let upper: Value
            if let granularity = specification.granularity {
                (upper, end) = boundary(granularity, from: end)
                lower = former ?? rounded(entries[start].value, granularity.roundedDown)
            } else {
                while end < entries.count, entries[end].value == entries[end - 1].value { end += 1 }
                lower = entries[start].value
                upper = end < entries.count ? entries[end].value : entries[end - 1].value
            }
            documents.append(try bucket(start..<end, lower, upper))
            former = upper
            start = end
        }
        entries = []
        return documents
    }

    /// The boundary after the documents before `end`, and where the documents below it end.
    private func boundary(_ granularity: Granularity, from end: Int) -> (upper: Value, end: Int) {
        var end = end
        var upper = rounded(entries[end - 1].value, granularity.roundedUp)
        if Value.compare(upper, 0) == 0 {
            // Nothing lies between 0 and the next number: all zeros, up to what comes after them.
            while end < entries.count, Value.compare(entries[end].value, 0) == 0 { end += 1 }
            if end < entries.count { upper = rounded(entries[end].value, granularity.roundedDown) }
        }
        while end < entries.count, Value.compare(entries[end].value, upper) < 0 { end += 1 }
        return (upper, end)
    }

    private func rounded(_ value: Value, _ round: (Double) -> Double) -> Value {
        let number = round(value.numericDouble ?? 0)
        if case .decimal128 = value { return .decimal128(Decimal128(rounding: "\(number)") ?? Decimal128(number)) }
        return .double(number)
    }

    private func bucket(_ range: Range<Int>, _ lower: Value, _ upper: Value) throws(QueryError) -> Document {
        let accumulators = try specification.accumulators.map { (specification) throws(QueryError) in
            try specification.makeAccumulator(group: nil)
        }
        try WorkMeter.count(range.count * 4)
        for index in range {
            for (accumulator, specification) in zip(accumulators, specification.accumulators) {
                try accumulator.add(try specification.input(of: entries[index].document))
            }
        }
        var builder = DocumentBuilder()
        builder.append("_id", .document(["min": lower, "max": upper]))
        for (accumulator, specification) in zip(accumulators, specification.accumulators) {
            builder.append(specification.name, accumulator.result())
        }
        return builder.finish()
    }
}
