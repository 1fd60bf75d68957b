import CairnBSON

/// An accumulator over windows that move along a partition.
///
/// Windows that begin with the partition only grow, so one accumulator takes each document once. Others move at both ends,
/// and accumulators cannot forget: what came in is kept as two stacks of partial results (a queue of two stacks, as in
/// "General Incremental Sliding-Window Aggregation" by Tangwongsan et al.), so that each document is taken in about
/// twice, whatever the window's size, and nothing is ever subtracted, which sums of doubles, NaN and infinity would
/// not survive. Accumulators whose result is as large as the window are run anew for each.
final class AccumulatedColumn: WindowColumn {
    /// How the accumulator is carried from window to window.
    enum Style { case partials, anew }

    private let partition: WindowPartition
    private let make: () throws(QueryError) -> Accumulator
    private let input: (Int) throws(QueryError) -> Value?
    private let style: Style
    private let bytesMax: Int
    private var frame: WindowFrame
    private var window = 0..<0
    /// Partial results over the documents from each of the first ones up to the middle; that of the first comes last.
    private var front: [Value] = []
    /// Over the documents from the middle on.
    private var back: Accumulator
    private var whole: Value?

    init(
        _ bounds: WindowBounds, over partition: WindowPartition, style: Style, bytesMax: Int,
        make: @escaping () throws(QueryError) -> Accumulator,
        input: @escaping (Int) throws(QueryError) -> Value?
    ) throws(QueryError) {
        self.partition = partition
        self.make = make
        self.input = input
        self.style = style
        self.bytesMax = bytesMax
        frame = try WindowFrame(bounds, over: partition)
        back = try make()
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        if frame.isWhole, let whole { return whole }
        let target = try frame.range(at: index)
        if frame.startsAtFirst {
            for next in window.upperBound..<max(window.upperBound, target.upperBound) { try take(next) }
            window = 0..<max(window.upperBound, target.upperBound)
            let result = back.result()
            try WorkMeter.count(bytes: back.byteCount)
            if frame.isWhole { whole = result }
            return result
        }
        guard style == .partials else {
            back = try make()
            try WorkMeter.count(target.count * 2)
            for next in target { try take(next) }
            return back.result()
        }
        try slide(to: target)
        guard let first = front.last else { return back.result() }
        let both = try make()
        try both.merge(first)
        try both.merge(back.partial())
        try WorkMeter.count(bytes: both.byteCount)
        return both.result()
    }

    private func take(_ index: Int) throws(QueryError) {
        try WorkMeter.count(4)
        try back.add(try input(index))
        if back.byteCount > bytesMax { throw StageRunner.memoryExceeded("$setWindowFields", bytesMax) }
    }

    private func slide(to target: Range<Int>) throws(QueryError) {
        if target.lowerBound >= window.upperBound {
            front = []
            back = try make()
            window = target.lowerBound..<target.lowerBound
        }
        for next in window.upperBound..<max(window.upperBound, target.upperBound) { try take(next) }
        window = window.lowerBound..<max(window.upperBound, target.upperBound)
        while window.lowerBound < target.lowerBound {
            if front.isEmpty { try turnOver() }
            front.removeLast()
            window = (window.lowerBound + 1)..<window.upperBound
        }
    }

    /// Makes partial results of everything in the window, each of the ones behind it.
    private func turnOver() throws(QueryError) {
        guard window.count * 256 <= bytesMax else { throw StageRunner.memoryExceeded("$setWindowFields", bytesMax) }
        front.reserveCapacity(window.count)
        var behind: Value?
        var bytes = 0
        for index in window.reversed() {
            let accumulator = try make()
            try accumulator.add(try input(index))
            if let behind { try accumulator.merge(behind) }
            let partial = accumulator.partial()
            try WorkMeter.count(bytes: accumulator.byteCount)
            bytes += accumulator.byteCount
            if bytes > bytesMax { throw StageRunner.memoryExceeded("$setWindowFields", bytesMax) }
            front.append(partial)
            behind = partial
        }
        back = try make()
    }
}

/// `$first` and `$last`, which need no accumulating.
final class EndColumn: WindowColumn {
    private let partition: WindowPartition
    private let specification: AccumulatorSpecification
    private let wantsLast: Bool
    private var frame: WindowFrame

    init(
        _ specification: AccumulatorSpecification, wantsLast: Bool, _ bounds: WindowBounds,
        over partition: WindowPartition
    ) throws(QueryError) {
        self.partition = partition
        self.specification = specification
        self.wantsLast = wantsLast
        frame = try WindowFrame(bounds, over: partition)
    }

    override func value(at index: Int) throws(QueryError) -> Value {
        let range = try frame.range(at: index)
        guard let end = wantsLast ? range.last : range.first else { return .null }
        return try specification.input(of: partition.documents[end]) ?? .null
    }
}

/// `$covariancePop` and `$covarianceSamp` over pairs `[x, y]`, in one pass (Welford; merged as Chan et al. do). What is no
/// pair of numbers does not count.
final class CovarianceAccumulator: Accumulator {
    private let isSample: Bool
    private var count: Int64 = 0
    private var meanX = 0.0
    private var meanY = 0.0
    private var products = 0.0

    init(isSample: Bool) { self.isSample = isSample }

    override func add(_ value: Value?) {
        guard let pair = value?.asArray, let x = pair[0]?.numericDouble, let y = pair[1]?.numericDouble else { return }
        count += 1
        let delta = x - meanX
        meanX += delta / Double(count)
        meanY += (y - meanY) / Double(count)
        products += delta * (y - meanY)
    }

    override func partial() -> Value {
        .document(["n": .int64(count), "x": .double(meanX), "y": .double(meanY), "p": .double(products)])
    }

    override func merge(_ partial: Value) {
        guard let document = partial.asDocument, let other = document["n"]?.int64Exactly, other > 0 else { return }
        let total = count + other
        let deltaX = (document["x"]?.numericDouble ?? 0) - meanX
        let deltaY = (document["y"]?.numericDouble ?? 0) - meanY
        products +=
            (document["p"]?.numericDouble ?? 0) + deltaX * deltaY * Double(count) * Double(other) / Double(total)
        meanX += deltaX * Double(other) / Double(total)
        meanY += deltaY * Double(other) / Double(total)
        count = total
    }

    override func result() -> Value {
        let divisor = isSample ? count - 1 : count
        return divisor > 0 ? .double(products / Double(divisor)) : .null
    }
}

/// `$integral` over points `[x, y]`: the area of the trapezoids between neighbours.
final class IntegralAccumulator: Accumulator {
    private let divisor: Double
    private var first: (x: Value, y: Value)?
    private var last: (x: Value, y: Value)?
    private var area = ExactSum()

    /// - Parameter divisor: The units of x in one of the result's.
    init(divisor: Double) { self.divisor = divisor }

    override func add(_ value: Value?) {
        guard let point = value?.asArray, let x = point[0], let y = point[1] else { return }
        join((x, y))
        last = (x, y)
    }

    /// Adds the area between the last point and the next.
    private func join(_ next: (x: Value, y: Value)) {
        if first == nil { first = next }
        guard let last else { return }
        let sum = Numbers.sumOrDouble(last.y, next.y)
        if case .decimal128 = sum {
            area.add(.decimal128(Self.decimal(next.x, last.x) * (sum.asDecimal128 ?? .zero) / Decimal128(2)))
        } else if let width = Numbers.difference(next.x, last.x), case .decimal128(let decimal) = width {
            area.add(.decimal128(decimal * (sum.asDecimal128 ?? .zero) / Decimal128(2)))
        } else {
            area.add(.double((next.x.numericDouble! - last.x.numericDouble!) * (sum.numericDouble ?? 0) / 2))
        }
    }

    private static func decimal(_ left: Value, _ right: Value) -> Decimal128 {
        (left.asDecimal128 ?? .zero) - (right.asDecimal128 ?? .zero)
    }

    override func partial() -> Value {
        guard let first, let last else { return .null }
        return .document(["f": [first.x, first.y], "l": [last.x, last.y], "a": .document(area.partial)])
    }

    override func merge(_ partial: Value) {
        guard let document = partial.asDocument, let start = document["f"]?.asArray, let end = document["l"]?.asArray,
            let x = start[0], let y = start[1], let lastX = end[0], let lastY = end[1]
        else { return }
        join((x, y))
        if let other = document["a"]?.asDocument { area.merge(other) }
        last = (lastX, lastY)
    }

    override func result() -> Value {
        guard first != nil else { return .null }
        switch area.value {
        case .decimal128(let area): return .decimal128(divisor == 1 ? area : area / Decimal128(divisor))
        case let area: return .double((area.numericDouble ?? 0) / divisor)
        }
    }
}
