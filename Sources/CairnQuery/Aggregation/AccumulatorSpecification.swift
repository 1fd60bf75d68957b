import CairnBSON

/// One field of a `$group`: its name, what it accumulates, and how.
struct AccumulatorSpecification: Sendable {
    enum Kind: Sendable {
        case sum, average, count, minimum, maximum, first, last, push, addToSet, mergeObjects
        case deviation(isSample: Bool)
        case several(SeveralAccumulator.Kind, limit: ExpressionProgram)
        case ranked(SortSpecification, wantsLast: Bool, limit: ExpressionProgram?)
        case percentile([Double], isSingle: Bool)
    }

    let name: BSONString
    private let kind: Kind
    let input: ExpressionProgram

    /// The accumulators there are; the documentation's table comes from here.
    static let names: Set<String> = [
        "$sum", "$avg", "$count", "$min", "$max", "$first", "$last", "$push", "$addToSet", "$mergeObjects",
        "$stdDevPop",
        "$stdDevSamp", "$firstN", "$lastN", "$minN", "$maxN", "$top", "$topN", "$bottom", "$bottomN", "$percentile",
        "$median",
    ]

    /// - Throws: code 15952 for an accumulator that does not exist, 40234 for what is none.
    init(name: BSONString, parsing value: Value, scope: inout VariableScope) throws(QueryError) {
        guard !name.utf8.contains(0x2E) else {
            throw QueryError(ErrorCode(40235), "The field name '\(name)' cannot contain '.'")
        }
        guard name.utf8.first != 0x24 else {
            throw QueryError(ErrorCode(40236), "The field name '\(name)' cannot be an operator name")
        }
        guard case .document(let document) = value, let element = document.first, element.name.utf8.first == 0x24 else {
            throw QueryError(ErrorCode(40234), "The field '\(name)' must be an accumulator object")
        }
        guard document.count == 1 else {
            throw QueryError(ErrorCode(40238), "The field '\(name)' must specify one accumulator")
        }
        try self.init(name: name, operator: element.name.string, operand: element.value, scope: &scope)
    }

    init(
        name: BSONString, operator accumulator: String, operand: Value, scope: inout VariableScope
    ) throws(QueryError) {
        self.name = name
        func plain() throws(QueryError) -> ExpressionProgram {
            if case .array(let array) = operand, array.count != 1 {
                throw QueryError(ErrorCode(40237), "The \(accumulator) accumulator is a unary operator")
            }
            if case .array(let array) = operand, let only = array[0] {
                return try ExpressionProgram(parsing: only, scope: &scope)
            }
            return try ExpressionProgram(parsing: operand, scope: &scope)
        }
        func fields(_ names: [String]) throws(QueryError) -> Document {
            guard case .document(let document) = operand else {
                throw QueryError(
                    ErrorCode(5_787_900), "specification must be an object; found \(accumulator): \(operand)")
            }
            for element in document where !names.contains(element.name.string) {
                throw QueryError(ErrorCode(5_787_901), "Unknown argument for \(accumulator) operator: \(element.name)")
            }
            return document
        }
        func expression(_ document: Document, _ field: String) throws(QueryError) -> ExpressionProgram {
            guard let value = document[field] else {
                throw QueryError(ErrorCode(5_787_906), "Missing value for '\(field)' in \(accumulator)")
            }
            return try ExpressionProgram(parsing: value, scope: &scope)
        }
        switch accumulator {
        case "$sum": (kind, input) = (.sum, try plain())
        case "$avg": (kind, input) = (.average, try plain())
        case "$min": (kind, input) = (.minimum, try plain())
        case "$max": (kind, input) = (.maximum, try plain())
        case "$first": (kind, input) = (.first, try plain())
        case "$last": (kind, input) = (.last, try plain())
        case "$push": (kind, input) = (.push, try ExpressionProgram(parsing: operand, scope: &scope))
        case "$addToSet": (kind, input) = (.addToSet, try ExpressionProgram(parsing: operand, scope: &scope))
        case "$mergeObjects": (kind, input) = (.mergeObjects, try plain())
        case "$stdDevPop": (kind, input) = (.deviation(isSample: false), try plain())
        case "$stdDevSamp": (kind, input) = (.deviation(isSample: true), try plain())
        case "$count":
            guard operand.asDocument?.isEmpty ?? false else {
                throw QueryError(.typeMismatch, "$count takes no arguments, i.e. $count:{}")
            }
            (kind, input) = (.count, try ExpressionProgram(parsing: 1, scope: &scope))
        case "$firstN", "$lastN", "$minN", "$maxN":
            let document = try fields(["input", "n"])
            let which: SeveralAccumulator.Kind =
                switch accumulator {
                case "$firstN": .first
                case "$lastN": .last
                case "$minN": .least
                default: .greatest
                }
            kind = .several(which, limit: try expression(document, "n"))
            input = try expression(document, "input")
        case "$top", "$topN", "$bottom", "$bottomN":
            let hasLimit = accumulator.hasSuffix("N")
            let document = try fields(hasLimit ? ["sortBy", "output", "n"] : ["sortBy", "output"])
            guard case .document(let sortBy)? = document["sortBy"] else {
                throw QueryError(
                    ErrorCode(5_788_604), "expected 'sortBy' to already be an object in the arguments to \(accumulator)"
                )
            }
            kind = .ranked(
                try SortSpecification(parsing: sortBy), wantsLast: accumulator.hasPrefix("$bottom"),
                limit: hasLimit ? try expression(document, "n") : nil)
            input = try expression(document, "output")
        case "$percentile", "$median":
            let document = try fields(accumulator == "$median" ? ["input", "method"] : ["input", "method", "p"])
            guard document["method"]?.stringValue == "approximate" else {
                throw QueryError(.badValue, "Currently only 'approximate' can be used as percentile 'method'.")
            }
            var ranks = [0.5]
            if accumulator == "$percentile" {
                guard case .array(let array)? = document["p"], !array.isEmpty else {
                    throw QueryError(
                        ErrorCode(7_750_301),
                        "The $percentile 'p' field must be an array of numbers from [0.0, 1.0], but found: \(document["p"] ?? .null)"
                    )
                }
                ranks = []
                for value in array {
                    guard let rank = value.numericDouble, rank >= 0, rank <= 1 else {
                        throw QueryError(
                            ErrorCode(7_750_303),
                            "The $percentile 'p' field must be an array of numbers from [0.0, 1.0], but found: \(value)"
                        )
                    }
                    ranks.append(rank)
                }
            }
            kind = .percentile(ranks, isSingle: accumulator == "$median")
            input = try expression(document, "input")
        case "$accumulator":
            throw QueryError(.notImplemented, "$accumulator is not supported: this server runs no JavaScript")
        default: throw QueryError(ErrorCode(15952), "unknown group operator '\(accumulator)'")
        }
    }

    /// How the accumulator is carried along windows that move.
    enum Sliding {
        /// Partial results are small and are put together.
        case partials
        /// The result is as large as the window, and computed anew.
        case anew
        case first, last
    }

    var sliding: Sliding {
        switch kind {
        case .sum, .average, .count, .minimum, .maximum, .deviation: .partials
        case .first: .first
        case .last: .last
        case .push, .addToSet, .mergeObjects, .several, .ranked, .percentile: .anew
        }
    }

    /// - Parameter group: What `n` may refer to: the group's `_id`.
    func makeAccumulator(group: Value?) throws(QueryError) -> Accumulator {
        switch kind {
        case .sum: return SumAccumulator()
        case .average: return AverageAccumulator()
        case .count: return CountAccumulator()
        case .minimum: return ExtremeAccumulator(wantsGreatest: false)
        case .maximum: return ExtremeAccumulator(wantsGreatest: true)
        case .first: return EndAccumulator(wantsLast: false)
        case .last: return EndAccumulator(wantsLast: true)
        case .push: return PushAccumulator()
        case .addToSet: return SetAccumulator()
        case .mergeObjects: return MergeObjectsAccumulator()
        case .deviation(let isSample): return DeviationAccumulator(isSample: isSample)
        case .several(let which, let limit):
            return SeveralAccumulator(kind: which, limit: try Self.limit(limit, group))
        case .ranked(let order, let wantsLast, let limit):
            let count = try limit.map { (limit) throws(QueryError) in try Self.limit(limit, group) } ?? 1
            return RankedAccumulator(order: order, wantsLast: wantsLast, limit: count, isSingle: limit == nil)
        case .percentile(let ranks, let isSingle): return PercentileAccumulator(ranks: ranks, isSingle: isSingle)
        }
    }

    private static func limit(_ program: ExpressionProgram, _ group: Value?) throws(QueryError) -> Int {
        var builder = DocumentBuilder()
        if let group { builder.append("_id", group) }
        let value = try program.evaluate(builder.finish())
        guard let count = value?.intExactly, count > 0 else {
            throw QueryError(ErrorCode(5_787_908), "'n' must be greater than 0, found \(value ?? .null)")
        }
        return count
    }

    /// The paths by which an accumulator orders documents.
    var orderPaths: [String] {
        if case .ranked(let order, _, _) = kind { order.fields.map(\.path) } else { [] }
    }

    /// Whether what an accumulator holds grows with what it has taken.
    var grows: Bool {
        switch kind {
        case .sum, .average, .count, .minimum, .maximum, .first, .last, .deviation: false
        case .push, .addToSet, .mergeObjects, .several, .ranked, .percentile: true
        }
    }

    /// The name of the field whose value a document contributes, if it is no more than that.
    var topLevelField: BSONString? {
        if case .ranked = kind { return nil }
        return input.topLevelField
    }

    /// What the document contributes to the accumulator.
    @inline(__always)
    func input(of document: Document) throws(QueryError) -> Value? {
        if case .ranked(let order, _, _) = kind {
            return .array(BSONArray(try order.keyValues(of: document) + [try input.evaluate(document) ?? .null]))
        }
        return try input.evaluate(document)
    }
}

// Accumulators as operators of expressions: over the elements of one array, or over several operands.
extension ExpressionOperators {
    static let accumulating: [String: Parse] = [
        "$sum": over { SumAccumulator() },
        "$avg": over { AverageAccumulator() },
        "$min": over { ExtremeAccumulator(wantsGreatest: false) },
        "$max": over { ExtremeAccumulator(wantsGreatest: true) },
        "$stdDevPop": over { DeviationAccumulator(isSample: false) },
        "$stdDevSamp": over { DeviationAccumulator(isSample: true) },
        "$firstN": several(.first),
        "$lastN": several(.last),
        "$minN": several(.least),
        "$maxN": several(.greatest),
        "$median": percentile(isMedian: true),
        "$percentile": percentile(isMedian: false),
    ]

    private static func over(_ make: @escaping @Sendable () -> Accumulator) -> Parse {
        nary { (values) throws(QueryError) in
            let accumulator = make()
            if values.count == 1, case .array(let array)? = values[0] {
                for element in array { try accumulator.add(element) }
            } else {
                for value in values { try accumulator.add(value) }
            }
            return accumulator.result()
        }
    }

    private static func several(_ kind: SeveralAccumulator.Kind) -> Parse {
        named(["input", "n"], required: 2) { (values) throws(QueryError) in
            guard let input = values[0], !input.isNullish else { return .null }
            guard case .array(let array) = input else {
                throw QueryError(ErrorCode(5_788_200), "input must be an array, found \(input.type.alias)")
            }
            guard let limit = values[1]?.intExactly, limit > 0 else {
                throw QueryError(ErrorCode(5_787_908), "'n' must be greater than 0, found \(values[1] ?? .null)")
            }
            let accumulator = SeveralAccumulator(kind: kind, limit: limit)
            for element in array { try accumulator.add(element) }
            return accumulator.result()
        }
    }

    private static func percentile(isMedian: Bool) -> Parse {
        named(["input", "method", "p"], required: 2) { (values) throws(QueryError) in
            var ranks = [0.5]
            if !isMedian {
                guard case .array(let array)? = values[2] else {
                    throw QueryError(
                        ErrorCode(7_750_301), "The $percentile 'p' field must be an array of numbers from [0.0, 1.0]")
                }
                ranks = array.compactMap(\.numericDouble).filter { $0 >= 0 && $0 <= 1 }
                guard ranks.count == array.count, !ranks.isEmpty else {
                    throw QueryError(
                        ErrorCode(7_750_303), "The $percentile 'p' field must be an array of numbers from [0.0, 1.0]")
                }
            }
            let accumulator = PercentileAccumulator(ranks: ranks, isSingle: isMedian)
            if case .array(let array)? = values[0] {
                for element in array { accumulator.add(element) }
            } else {
                accumulator.add(values[0])
            }
            return accumulator.result()
        }
    }
}
