import CairnBSON

/// A compiled `$densify`.
struct DensifySpecification: Sendable {
    enum Bounds: Sendable {
        /// From the least to the greatest value of all documents.
        case full
        /// From the least to the greatest value of each partition.
        case partition
        /// From the first value to before the second.
        case explicit(Value, Value)
    }

    let field: FieldPath
    let partitionBy: [FieldPath]
    let step: Value
    /// Set when the field holds dates.
    let unit: DateUnit?
    let bounds: Bounds
}

/// `$densify`: documents where a sequence of values has gaps.
///
/// The values that shall be there are counted from the lower bound in steps; a document of the input in between stays where
/// its value belongs and does not change them. Documents without a value pass as they are.
final class DensifyRunner: BlockingRunner {
    /// The most documents that one stage makes, as in MongoDB.
    static let generatedMax = 500_000

    private struct Entry {
        let partition: [Value]
        /// Null without a value.
        let value: Value
        let number: Int
        let document: Document
    }

    private let specification: DensifySpecification
    private let bytesMax: Int
    private let share: MemoryShare
    private var entries: [Entry] = []
    private var bytes = 0
    private var range: (least: Value, greatest: Value)?
    private var position = 0
    private var partitionEnd = 0
    private var generated = 0
    /// What generated documents of the partition begin with.
    private var base = Document()
    /// The next value that shall be there; nil when there are no more.
    private var next: Value?
    private var end: (value: Value, isIncluded: Bool)?
    private var isEmptyDone = false

    init(_ specification: DensifySpecification, _ upstream: StageRunner, _ context: QueryContext) {
        self.specification = specification
        bytesMax = context.memoryBytesMax
        share = MemoryShare(context.memory)
        super.init(upstream)
    }

    override func finishInput() throws(QueryError) { try sort() }

    override func give() throws(QueryError) -> Document? {
        while true {
            if position == partitionEnd, next == nil {
                guard position < entries.count || mustFillNothing() else { return nil }
                beginPartition()
            }
            guard let wanted = next else {
                if position == partitionEnd { continue }
                return taken()
            }
            if position < partitionEnd {
                let order = Value.compare(entries[position].value, wanted)
                if order == 0 { try advance(from: wanted) }
                if order <= 0 { return taken() }
            }
            try advance(from: wanted)
            return try made(wanted)
        }
    }

    private func taken() -> Document {
        position += 1
        return entries[position - 1].document
    }

    /// A range that is given is filled even when there is no document at all, unless partitions would have to be known.
    private func mustFillNothing() -> Bool {
        guard entries.isEmpty, !isEmptyDone, specification.partitionBy.isEmpty, case .explicit = specification.bounds
        else { return false }
        isEmptyDone = true
        return true
    }

    // MARK: Input

    override func take(_ document: Document) throws(QueryError) {
        var partition: [Value] = []
        for path in specification.partitionBy {
            let value = path.value(in: document) ?? .null
            partition.append(value.isNullish ? .null : value)
        }
        let value = specification.field.value(in: document) ?? .null
        if !value.isNullish {
            if specification.unit != nil {
                guard case .date = value else {
                    throw QueryError(ErrorCode(6_053_600), "Densify field type must be a date")
                }
            } else if !value.isNumber {
                throw QueryError(ErrorCode(5_733_201), "Densify field type must be numeric")
            }
            if let known = range {
                range = (
                    Value.compare(value, known.least) < 0 ? value : known.least,
                    Value.compare(value, known.greatest) > 0 ? value : known.greatest
                )
            } else {
                range = (value, value)
            }
        }
        entries.append(
            Entry(
                partition: partition, value: value.isNullish ? .null : value, number: entries.count,
                document: document))
        bytes += document.byteCount + 160 + partition.reduce(0) { $0 + MemorySize.of($1) }
        if bytes > bytesMax { throw Self.memoryExceeded("$densify", bytesMax) }
        try share.hold(bytes)
    }

    private func sort() throws(QueryError) {
        try entries.meteredSort { left, right in
            for (one, other) in zip(left.partition, right.partition) {
                let order = Value.compare(one, other)
                if order != 0 { return order < 0 }
            }
            let order = Value.compare(left.value, right.value)
            return order != 0 ? order < 0 : left.number < right.number
        }
    }

    // MARK: Output

    private func beginPartition() {
        let start = position
        while partitionEnd < entries.count, entries[partitionEnd].partition == entries[start].partition {
            partitionEnd += 1
        }
        base = Document()
        if start < partitionEnd {
            for path in specification.partitionBy {
                guard let value = path.value(in: entries[start].document) else { continue }
                base = base.setting(path, to: value)
            }
        }
        switch specification.bounds {
        case .explicit(let lower, let upper):
            end = (upper, false)
            if Value.compare(lower, upper) < 0 { next = lower } else { next = nil }
        case .full:
            end = range.map { ($0.greatest, true) }
            next = range?.least
        case .partition:
            let first = entries[start..<partitionEnd].first { $0.value != .null }
            end = first == nil ? nil : (entries[partitionEnd - 1].value, true)
            next = first?.value
        }
    }

    /// Goes on to the value after `value`.
    private func advance(from value: Value) throws(QueryError) {
        let following: Value
        if let unit = specification.unit, case .date(let moment) = value {
            following = .date(
                milliseconds: try unit.adding(specification.step.int64Exactly ?? 1, to: moment, zone: .utc))
        } else {
            following = Numbers.sumOrDouble(value, specification.step)
        }
        // A step too small for the value's precision would stand still for ever.
        guard let end, Value.compare(following, value) > 0 else {
            next = nil
            return
        }
        let order = Value.compare(following, end.value)
        // Not `… ? following : nil`: a value can be written as nil too, and would be null here.
        if order < 0 || order == 0 && end.isIncluded { next = following } else { next = nil }
    }

    private func made(_ value: Value) throws(QueryError) -> Document {
        generated += 1
        try WorkMeter.count(bytes: base.byteCount + 512)
        guard generated <= Self.generatedMax else {
            throw QueryError(
                ErrorCode(5_897_900),
                "Generated \(generated) documents in $densify, which is over the limit of \(Self.generatedMax)")
        }
        return base.setting(specification.field, to: value)
    }
}
