import CairnBSON

extension WindowFunction {
    /// The function's values over a partition.
    func column(over partition: WindowPartition, bytesMax: Int) throws(QueryError) -> WindowColumn {
        switch self {
        case .accumulate(let specification, let bounds):
            switch specification.sliding {
            case .first: return try EndColumn(specification, wantsLast: false, bounds, over: partition)
            case .last: return try EndColumn(specification, wantsLast: true, bounds, over: partition)
            case .partials, .anew:
                return try AccumulatedColumn(
                    bounds, over: partition, style: specification.sliding == .partials ? .partials : .anew,
                    bytesMax: bytesMax,
                    make: { () throws(QueryError) in try specification.makeAccumulator(group: nil) },
                    input: { (index) throws(QueryError) in try specification.input(of: partition.documents[index]) })
            }
        case .covariance(let isSample, let x, let y, let bounds):
            return try AccumulatedColumn(
                bounds, over: partition, style: .partials, bytesMax: bytesMax,
                make: { () throws(QueryError) in CovarianceAccumulator(isSample: isSample) },
                input: { (index) throws(QueryError) in
                    let document = partition.documents[index]
                    return [try x.evaluate(document) ?? .null, try y.evaluate(document) ?? .null]
                })
        case .integral(let input, let unit, let bounds):
            let axis = try PartitionAxis(partition, unit: unit, "$integral")
            return try AccumulatedColumn(
                bounds, over: partition, style: .partials, bytesMax: bytesMax,
                make: { () throws(QueryError) in IntegralAccumulator(divisor: axis.divisor) },
                input: { (index) throws(QueryError) in
                    let y = try input.evaluate(partition.documents[index])
                    guard let y, !y.isNullish else { return nil }
                    guard y.isNumber else {
                        throw QueryError(
                            ErrorCode(5_423_900),
                            "The input value of $integral must be numeric, but it was \(y.type.alias)")
                    }
                    return [try axis.value(at: index), y]
                })
        case .derivative(let input, let unit, let bounds):
            return DerivativeColumn(
                input, try WindowFrame(bounds, over: partition), try PartitionAxis(partition, unit: unit, "$derivative")
            )
        case .expMovingAverage(let input, let weight): return MovingAverageColumn(input, weight, partition)
        case .shift(let input, let distance, let otherwise):
            return ShiftColumn(input, by: distance, otherwise: otherwise, partition)
        case .rank: return RankColumn(partition, .rank)
        case .denseRank: return RankColumn(partition, .dense)
        case .documentNumber: return RankColumn(partition, .number)
        case .linearFill(let input):
            return LinearFillColumn(input, partition)
        case .lastObserved(let input): return LastObservedColumn(input, partition)
        }
    }
}

/// A partition's sort values as numbers: dates in milliseconds.
struct PartitionAxis {
    let partition: WindowPartition
    private let name: String
    private let wantsDates: Bool
    /// Milliseconds in the unit of the result; 1 without dates.
    let divisor: Double

    init(_ partition: WindowPartition, unit: DateUnit?, _ name: String) throws(QueryError) {
        self.partition = partition
        self.name = name
        wantsDates = unit != nil
        divisor = Double(unit?.fixedMilliseconds ?? 1)
    }

    /// - Throws: code 5624900 for what is no date although there is a unit, 5624902 for the reverse.
    func value(at index: Int) throws(QueryError) -> Value {
        let value = partition.sortValue(index)
        if wantsDates {
            guard case .date(let moment) = value else {
                throw QueryError(
                    ErrorCode(5_624_900), "\(name) with 'unit' expects the sortBy field to be a Date")
            }
            return .int64(moment)
        }
        guard value.isNumber else {
            if case .date = value {
                throw QueryError(ErrorCode(5_624_902), "\(name) where the sortBy is a Date requires an 'unit'")
            }
            throw QueryError(
                ErrorCode(5_624_902), "\(name) expects the sortBy field to be numeric, but it was \(value.type.alias)")
        }
        return value
    }
}

/// `$derivative`: how steep the line from the first document of the window to the last is.
final class DerivativeColumn: WindowColumn {
    private let input: ExpressionProgram
    private var frame: WindowFrame
    private let axis: PartitionAxis

    init(_ input: ExpressionProgram, _ frame: WindowFrame, _ axis: PartitionAxis) {
        self.input = input
        self.frame = frame
        self.axis = axis
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        let range = try frame.range(at: index)
        guard let first = range.first, let last = range.last, first < last else { return .null }
        let (left, right) = (try axis.value(at: first), try axis.value(at: last))
        guard let low = try height(first), let high = try height(last), let rise = Numbers.difference(high, low) else {
            return .null
        }
        let run = Numbers.difference(right, left) ?? .double((right.numericDouble ?? 0) - (left.numericDouble ?? 0))
        if Numbers.kind(rise) == .decimal || Numbers.kind(run) == .decimal {
            let width = (run.asDecimal128 ?? .zero) / Decimal128(axis.divisor)
            return width.isZero ? .null : .decimal128((rise.asDecimal128 ?? .zero) / width)
        }
        let width = (run.numericDouble ?? 0) / axis.divisor
        return width == 0 ? .null : .double((rise.numericDouble ?? 0) / width)
    }

    private func height(_ index: Int) throws(QueryError) -> Value? {
        guard let value = try input.evaluate(axis.partition.documents[index]), !value.isNullish else { return nil }
        guard value.isNumber else {
            throw QueryError(
                .typeMismatch, "$derivative input must not evaluate to a \(value.type.alias)")
        }
        return value
    }
}

/// `$expMovingAvg`. Where the input is no number the result is null and the average stays as it was.
final class MovingAverageColumn: WindowColumn {
    private let input: ExpressionProgram
    private let weight: WindowFunction.Weight
    private let partition: WindowPartition
    private var average: Value?

    init(_ input: ExpressionProgram, _ weight: WindowFunction.Weight, _ partition: WindowPartition) {
        self.input = input
        self.weight = weight
        self.partition = partition
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        guard let value = try input.evaluate(partition.documents[index]), value.isNumber else { return .null }
        let next: Value
        if let average {
            if Numbers.kind(value) == .decimal || Numbers.kind(average) == .decimal {
                let alpha = weight.value
                next = .decimal128(
                    (value.asDecimal128 ?? .nan) * alpha
                        + (average.asDecimal128 ?? .nan) * (Decimal128.one - alpha))
            } else {
                let alpha = weight.double
                next = .double((value.numericDouble ?? 0) * alpha + (average.numericDouble ?? 0) * (1 - alpha))
            }
        } else {
            next = value
        }
        average = next
        return next
    }
}

/// `$shift`: the value of a document a number of places away.
final class ShiftColumn: WindowColumn {
    private let input: ExpressionProgram
    private let distance: Int
    private let otherwise: Value
    private let partition: WindowPartition

    init(_ input: ExpressionProgram, by distance: Int, otherwise: Value, _ partition: WindowPartition) {
        self.input = input
        self.distance = distance
        self.otherwise = otherwise
        self.partition = partition
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        let place = index + distance
        guard place >= 0, place < partition.count else { return otherwise }
        return try input.evaluate(partition.documents[place]) ?? .null
    }
}

/// `$rank`, `$denseRank` and `$documentNumber`.
final class RankColumn: WindowColumn {
    enum Kind { case rank, dense, number }

    private let partition: WindowPartition
    private let kind: Kind
    private var rank: Int64 = 0

    init(_ partition: WindowPartition, _ kind: Kind) {
        self.partition = partition
        self.kind = kind
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        let isTie =
            index > 0
            && partition.order?.compare(values: partition.keys[index - 1], partition.keys[index]) == 0
        switch kind {
        case .number: rank = Int64(index + 1)
        case .rank: if !isTie { rank = Int64(index + 1) }
        case .dense: if !isTie { rank += 1 }
        }
        return .int64(rank)
    }
}

/// `$linearFill`: where the input is null, the point on the line between the neighbours that have one, by the value that
/// the partition is sorted by. Before the first and after the last such neighbour it stays null.
final class LinearFillColumn: WindowColumn {
    private let input: ExpressionProgram
    private let partition: WindowPartition
    private var left: (x: Value, y: Value)?
    private var right: (x: Value, y: Value)?
    /// The documents before it have been looked at.
    private var looked = 0

    init(_ input: ExpressionProgram, _ partition: WindowPartition) {
        self.input = input
        self.partition = partition
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        if let own = try point(index) {
            left = own
            looked = max(looked, index + 1)
            return own.y
        }
        if looked <= index {
            right = nil
            looked = index + 1
            while right == nil, looked < partition.count {
                right = try point(looked)
                looked += 1
            }
        }
        guard let left, let right else { return .null }
        let x = Self.number(partition.sortValue(index))
        let isDecimal = [left.x, left.y, right.x, right.y, x].contains { Numbers.kind($0) == .decimal }
        if isDecimal {
            func decimal(_ value: Value) -> Decimal128 { value.asDecimal128 ?? .nan }
            let slope = (decimal(right.y) - decimal(left.y)) / (decimal(right.x) - decimal(left.x))
            return .decimal128(decimal(left.y) + (decimal(x) - decimal(left.x)) * slope)
        }
        func double(_ value: Value) -> Double { value.numericDouble ?? .nan }
        let slope = (double(right.y) - double(left.y)) / (double(right.x) - double(left.x))
        return .double(double(left.y) + (double(x) - double(left.x)) * slope)
    }

    /// The document's point; nil when its input is null. Checks the order on the way.
    private func point(_ index: Int) throws(QueryError) -> (x: Value, y: Value)? {
        let x = partition.sortValue(index)
        switch x {
        case .date: break
        default:
            guard x.isNumber else {
                throw QueryError(
                    .typeMismatch,
                    "$linearFill requires the sortBy field to be numeric or a Date, found \(x.type.alias)")
            }
        }
        if index > 0 {
            let former = partition.sortValue(index - 1)
            guard Value.compare(former, x) != 0 else {
                throw QueryError(
                    ErrorCode(6_050_106), "There can be no repeated values in the sort field when using $linearFill")
            }
            guard former.isNumber == x.isNumber else {
                throw QueryError(
                    .typeMismatch, "Conflicting types for the sort field of $linearFill: numbers and dates cannot mix")
            }
        }
        guard let y = try input.evaluate(partition.documents[index]), !y.isNullish else { return nil }
        guard y.isNumber else {
            throw QueryError(
                .typeMismatch, "Value to be filled must be numeric or nullish, but found type \(y.type.alias)")
        }
        return (Self.number(x), y)
    }

    private static func number(_ value: Value) -> Value {
        if case .date(let moment) = value { return .int64(moment) }
        return value
    }
}

/// `$locf`: the last value that was not null.
final class LastObservedColumn: WindowColumn {
    private let input: ExpressionProgram
    private let partition: WindowPartition
    private var last = Value.null

    init(_ input: ExpressionProgram, _ partition: WindowPartition) {
        self.input = input
        self.partition = partition
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        if let value = try input.evaluate(partition.documents[index]), !value.isNullish { last = value }
        return last
    }
}
