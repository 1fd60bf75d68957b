import CairnBSON

/// What one group's field accumulates over the documents of the group.
///
/// Every accumulator can hand over a partial result as a value and take in those of others, so that groups of replicas
/// each aggregate their own documents and a merge ends in what one run over all of them would have given.
class Accumulator {
    /// Bytes held, roughly, for the memory limit.
    var byteCount: Int { 64 }

    func add(_ value: Value?) throws(QueryError) { preconditionFailure("an accumulator without add") }
    /// What ``merge(_:)`` of another takes.
    func partial() -> Value { preconditionFailure("an accumulator without partial") }
    func merge(_ partial: Value) throws(QueryError) { preconditionFailure("an accumulator without merge") }
    func result() -> Value { preconditionFailure("an accumulator without result") }
}

/// An exact sum: whole numbers in 128 bits, doubles with their rounding error, decimals apart.
struct ExactSum {
    private var whole: Int128 = 0
    private var high = 0.0
    private var low = 0.0
    /// Infinities and NaNs, which have no rounding error.
    private var special: Double?
    private var decimal: Decimal128?
    private var widest = Numbers.Kind.int32

    mutating func add(_ value: Value) {
        switch value {
        case .int32(let number): whole += Int128(number)
        case .int64(let number):
            whole += Int128(number)
            widen(.int64)
        case .double(let number):
            add(number)
            widen(.double)
        case .decimal128(let number):
            decimal = (decimal ?? .zero) + number
            widen(.decimal)
        default: break
        }
    }

    private mutating func widen(_ kind: Numbers.Kind) {
        if kind.rawValue > widest.rawValue { widest = kind }
    }

    private mutating func add(_ number: Double) {
        guard number.isFinite else {
            special = (special ?? 0) + number
            return
        }
        // Knuth's two-sum: the part that rounding would lose goes to `low`.
        let sum = high + number
        let back = sum - high
        low += (high - (sum - back)) + (number - back)
        if sum.isFinite { high = sum } else { special = (special ?? 0) + sum }
    }

    private var double: Double {
        if let special { return special }
        return Double(whole) + (high + low)
    }

    var value: Value {
        switch widest {
        case .decimal:
            var sum = decimal ?? .zero
            if high != 0 || low != 0 || special != nil { sum += Decimal128(special ?? (high + low)) }
            return .decimal128(sum + wholeDecimal)
        case .double: return .double(double)
        case .int32, .int64:
            guard let number = Int64(exactly: whole) else { return .double(Double(whole)) }
            return Numbers.narrowed(number, widest)
        }
    }

    private var wholeDecimal: Decimal128 {
        Int64(exactly: whole).map { Decimal128($0) } ?? Decimal128(rounding: whole.description) ?? .zero
    }

    /// The sum divided by `count`; double unless decimals took part.
    func mean(of count: Int64) -> Value {
        if widest == .decimal, case .decimal128(let sum) = value { return .decimal128(sum / Decimal128(count)) }
        return .double(double / Double(count))
    }

    var partial: Document {
        var builder = DocumentBuilder()
        builder.append("k", Int32(widest.rawValue))
        builder.append("h", Int64(truncatingIfNeeded: whole >> 64))
        builder.append("l", Int64(truncatingIfNeeded: whole))
        builder.append("d", high)
        builder.append("e", low)
        if let special { builder.append("s", special) }
        if let decimal { builder.append("m", .decimal128(decimal)) }
        return builder.finish()
    }

    mutating func merge(_ partial: Document) {
        if let kind = partial["k"]?.intExactly.flatMap(Numbers.Kind.init(rawValue:)) { widen(kind) }
        let upper = partial["h"]?.int64Exactly ?? 0
        let lower = UInt64(bitPattern: partial["l"]?.int64Exactly ?? 0)
        whole += Int128(upper) << 64 | Int128(lower)
        add(partial["d"]?.numericDouble ?? 0)
        low += partial["e"]?.numericDouble ?? 0
        if let other = partial["s"]?.numericDouble { special = (special ?? 0) + other }
        if case .decimal128(let other)? = partial["m"] { decimal = (decimal ?? .zero) + other }
    }
}

final class SumAccumulator: Accumulator {
    private var sum = ExactSum()

    override func add(_ value: Value?) { if let value { sum.add(value) } }
    override func partial() -> Value { .document(sum.partial) }
    override func merge(_ partial: Value) { if let document = partial.asDocument { sum.merge(document) } }
    override func result() -> Value { sum.value }
}

final class AverageAccumulator: Accumulator {
    private var sum = ExactSum()
    private var count: Int64 = 0

    override func add(_ value: Value?) {
        guard let value, value.isNumber else { return }
        sum.add(value)
        count += 1
    }
    override func partial() -> Value { .document(["s": .document(sum.partial), "n": .int64(count)]) }
    override func merge(_ partial: Value) {
        guard let document = partial.asDocument else { return }
        if let other = document["s"]?.asDocument { sum.merge(other) }
        count += document["n"]?.int64Exactly ?? 0
    }
    override func result() -> Value { count == 0 ? .null : sum.mean(of: count) }
}

final class CountAccumulator: Accumulator {
    private var count: Int64 = 0

    override func add(_ value: Value?) { count += 1 }
    override func partial() -> Value { .int64(count) }
    override func merge(_ partial: Value) { count += partial.int64Exactly ?? 0 }
    override func result() -> Value { Value(count) }
}

final class ExtremeAccumulator: Accumulator {
    private let wantsGreatest: Bool
    private var best: Value?

    init(wantsGreatest: Bool) { self.wantsGreatest = wantsGreatest }

    override func add(_ value: Value?) {
        guard let value, !value.isNullish else { return }
        guard let best else {
            self.best = value
            return
        }
        let order = Value.compare(value, best)
        if wantsGreatest ? order > 0 : order < 0 { self.best = value }
    }
    override func partial() -> Value { best ?? .null }
    override func merge(_ partial: Value) { add(partial) }
    override func result() -> Value { best ?? .null }
}

final class EndAccumulator: Accumulator {
    private let wantsLast: Bool
    private var isSet = false
    private var value: Value?

    init(wantsLast: Bool) { self.wantsLast = wantsLast }

    override func add(_ value: Value?) {
        guard wantsLast || !isSet else { return }
        isSet = true
        self.value = value
    }
    override func partial() -> Value { .array(isSet ? [value ?? .null] : []) }
    override func merge(_ partial: Value) { if let first = partial.asArray?[0] { add(first) } }
    override func result() -> Value { value ?? .null }
}

final class PushAccumulator: Accumulator {
    private var values = ArrayBuilder()

    override var byteCount: Int { 64 + values.byteCount }
    override func add(_ value: Value?) { if let value { values.append(value) } }
    override func partial() -> Value { result() }
    override func merge(_ partial: Value) {
        for element in partial.asArray?.document ?? Document() { values.append(valueOf: element) }
    }
    override func result() -> Value {
        var copy = values
        return .array(copy.finish())
    }
}

final class SetAccumulator: Accumulator {
    private var seen: Set<Value> = []
    private var values: [Value] = []
    private var bytes = 0

    override var byteCount: Int { 64 + bytes }
    override func add(_ value: Value?) {
        guard let value, seen.insert(value).inserted else { return }
        values.append(value)
        bytes += MemorySize.of(value) + 96
    }
    override func partial() -> Value { result() }
    override func merge(_ partial: Value) { for value in partial.asArray ?? [] { add(value) } }
    override func result() -> Value { .array(BSONArray(values)) }
}

/// Mean and spread in one pass (Welford; merged as Chan et al. do).
final class DeviationAccumulator: Accumulator {
    private let isSample: Bool
    private var count: Int64 = 0
    private var mean = 0.0
    private var squares = 0.0

    init(isSample: Bool) { self.isSample = isSample }

    override func add(_ value: Value?) {
        guard let number = value?.numericDouble else { return }
        count += 1
        let delta = number - mean
        mean += delta / Double(count)
        squares += delta * (number - mean)
    }
    override func partial() -> Value { .document(["n": .int64(count), "m": .double(mean), "s": .double(squares)]) }
    override func merge(_ partial: Value) {
        guard let document = partial.asDocument, let other = document["n"]?.int64Exactly, other > 0 else { return }
        let otherMean = document["m"]?.numericDouble ?? 0
        let total = count + other
        let delta = otherMean - mean
        squares += (document["s"]?.numericDouble ?? 0) + delta * delta * Double(count) * Double(other) / Double(total)
        mean += delta * Double(other) / Double(total)
        count = total
    }
    override func result() -> Value {
        let divisor = isSample ? count - 1 : count
        return divisor > 0 ? .double((squares / Double(divisor)).squareRoot()) : .null
    }
}

final class MergeObjectsAccumulator: Accumulator {
    private var merged = Document()

    override var byteCount: Int { 64 + merged.byteCount }
    override func add(_ value: Value?) throws(QueryError) {
        guard let value, !value.isNullish else { return }
        guard case .document(let document) = value else {
            throw QueryError(
                ErrorCode(40400),
                "$mergeObjects requires object inputs, but input \(value) is of type \(value.type.alias)")
        }
        merged = ExpressionOperators.merge(merged, document)
    }
    override func partial() -> Value { .document(merged) }
    override func merge(_ partial: Value) throws(QueryError) { try add(partial) }
    override func result() -> Value { .document(merged) }
}

/// `$firstN`, `$lastN`, `$minN`, `$maxN`.
final class SeveralAccumulator: Accumulator {
    enum Kind: Sendable { case first, last, least, greatest }

    private let kind: Kind
    private let limit: Int
    private var values: [Value] = []
    private var bytes = 0

    init(kind: Kind, limit: Int) {
        self.kind = kind
        self.limit = limit
    }

    override var byteCount: Int { 64 + bytes }
    override func add(_ value: Value?) throws(QueryError) {
        // Places are found and made by moving the others.
        try WorkMeter.count(values.count >> 3)
        switch kind {
        case .first:
            guard values.count < limit else { return }
            values.append(value ?? .null)
        case .last:
            values.append(value ?? .null)
            if values.count > limit { values.removeFirst() }
        case .least, .greatest:
            guard let value, !value.isNullish else { return }
            let place = values.firstIndex {
                let order = Value.compare(value, $0)
                return kind == .least ? order < 0 : order > 0
            }
            guard place != nil || values.count < limit else { return }
            values.insert(value, at: place ?? values.count)
            if values.count > limit { values.removeLast() }
        }
        bytes = max(bytes, values.count * (MemorySize.of(value ?? .null) + 64))
    }
    override func partial() -> Value { result() }
    override func merge(_ partial: Value) throws(QueryError) { for value in partial.asArray ?? [] { try add(value) } }
    override func result() -> Value { .array(BSONArray(values)) }
}

/// `$top`, `$topN`, `$bottom`, `$bottomN`: values by an order of the documents that they come from. The value it takes
/// is `[sort key…, output]`.
final class RankedAccumulator: Accumulator {
    private let order: SortSpecification
    private let wantsLast: Bool
    private let limit: Int
    private let isSingle: Bool
    private var entries: [(key: [Value], output: Value)] = []
    private var bytes = 0

    init(order: SortSpecification, wantsLast: Bool, limit: Int, isSingle: Bool) {
        self.order = order
        self.wantsLast = wantsLast
        self.limit = limit
        self.isSingle = isSingle
    }

    override var byteCount: Int { 64 + bytes }
    override func add(_ value: Value?) throws(QueryError) {
        try WorkMeter.count(entries.count >> 2)
        guard var key = value?.asArray.map({ Array($0) }), let output = key.popLast() else { return }
        // `$bottom` keeps the last; of equals, those that came first stay in front.
        let place = entries.firstIndex { order.compare(values: key, $0.key) < 0 } ?? entries.count
        if wantsLast {
            if entries.count == limit && place == 0 { return }
            entries.insert((key, output), at: place)
            if entries.count > limit { entries.removeFirst() }
        } else {
            guard place < limit else { return }
            entries.insert((key, output), at: place)
            if entries.count > limit { entries.removeLast() }
        }
        bytes = max(bytes, entries.count * (MemorySize.of(output) + 128))
    }
    override func partial() -> Value { .array(BSONArray(entries.map { .array(BSONArray($0.key + [$0.output])) })) }
    override func merge(_ partial: Value) throws(QueryError) { for entry in partial.asArray ?? [] { try add(entry) } }
    override func result() -> Value {
        isSingle ? entries.first?.output ?? .null : .array(BSONArray(entries.map(\.output)))
    }
}

/// `$percentile` and `$median`, exactly: the number at the rank, as the discrete definition has it.
final class PercentileAccumulator: Accumulator {
    private let ranks: [Double]
    private let isSingle: Bool
    private var numbers: [Double] = []

    init(ranks: [Double], isSingle: Bool) {
        self.ranks = ranks
        self.isSingle = isSingle
    }

    override var byteCount: Int { 64 + numbers.count * 8 }
    override func add(_ value: Value?) {
        if let number = value?.numericDouble, !number.isNaN { numbers.append(number) }
    }
    override func partial() -> Value { .array(BSONArray(numbers.map(Value.double))) }
    override func merge(_ partial: Value) { for value in partial.asArray ?? [] { add(value) } }
    override func result() -> Value {
        guard !numbers.isEmpty else { return isSingle ? .null : .array(BSONArray(ranks.map { _ in .null })) }
        let sorted = numbers.sorted()
        let picked = ranks.map { rank in
            let index = Int((rank * Double(sorted.count)).rounded(.up)) - 1
            return Value.double(sorted[min(max(index, 0), sorted.count - 1)])
        }
        return isSingle ? picked[0] : .array(BSONArray(picked))
    }
}

/// What values cost in memory, roughly.
enum MemorySize {
    static func of(_ value: Value) -> Int {
        switch value {
        case .string(let text), .symbol(let text), .javaScript(let text): 48 + text.utf8.count
        case .document(let document): 48 + document.byteCount
        case .array(let array): 48 + array.document.byteCount
        case .binary(let binary): 48 + binary.data.count
        default: 48
        }
    }
}
