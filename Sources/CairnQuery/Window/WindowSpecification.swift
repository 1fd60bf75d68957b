import CairnBSON

/// A compiled `$setWindowFields`.
struct WindowFieldsSpecification: Sendable {
    struct Output: Sendable {
        let path: FieldPath
        let function: WindowFunction
    }

    let partitionBy: ExpressionProgram?
    let order: SortSpecification?
    let outputs: [Output]
}

/// The documents around one that its window consists of.
enum WindowBounds: Sendable {
    enum Bound<Distance: Sendable>: Sendable {
        case unbounded
        case current
        case distance(Distance)
    }

    /// By position in the partition.
    case documents(Bound<Int>, Bound<Int>)
    /// By the value that the partition is sorted by; with a unit that is a date.
    case range(Bound<Value>, Bound<Value>, unit: DateUnit?)

    static let whole = WindowBounds.documents(.unbounded, .unbounded)
}

/// What a field of `$setWindowFields` is computed with.
enum WindowFunction: Sendable {
    case accumulate(AccumulatorSpecification, WindowBounds)
    case covariance(isSample: Bool, ExpressionProgram, ExpressionProgram, WindowBounds)
    case derivative(ExpressionProgram, unit: DateUnit?, WindowBounds)
    case integral(ExpressionProgram, unit: DateUnit?, WindowBounds)
    case expMovingAverage(ExpressionProgram, Weight)
    case shift(ExpressionProgram, by: Int, otherwise: Value)
    case rank, denseRank, documentNumber
    case linearFill(ExpressionProgram)
    case lastObserved(ExpressionProgram)

    /// The weight of the newest value in an exponential moving average.
    enum Weight: Sendable {
        /// That of a plain average over so many values: 2 / (N + 1).
        case documents(Int)
        case alpha(Value)

        var value: Decimal128 {
            switch self {
            case .documents(let count): Decimal128(2) / (Decimal128(count) + .one)
            case .alpha(let alpha): alpha.asDecimal128 ?? .one
            }
        }

        var double: Double {
            switch self {
            case .documents(let count): 2 / (Double(count) + 1)
            case .alpha(let alpha): alpha.numericDouble ?? 1
            }
        }
    }
}
