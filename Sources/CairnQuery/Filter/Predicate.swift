import CairnBSON

/// What a filter asks of the value at one path.
indirect enum Predicate: Sendable {
    enum Comparison: Sendable { case less, lessOrEqual, greater, greaterOrEqual }

    case equal(Value)
    case compare(Comparison, Value)
    case `in`(InSet)
    case exists
    case type(TypeSet)
    case size(Int)
    case elementMatchesFilter(FilterNode)
    case elementMatchesAll([Predicate])
    case modulo(divisor: Int64, remainder: Int64)
    case regex(RegexProgram)
    case bits(BitTest)
    case not(Predicate)
    /// A comparison under a collation: as it was given, and with keys in the place of strings, which is what is asked of
    /// values after the same was done to them.
    case collated(Predicate, folded: Predicate, Collation)
    /// Each must hold of the path, not necessarily of the same array element: what `$all` and `$not` with several
    /// operators mean.
    case allOnPath([Predicate])

    /// False for the predicates that look at an array itself and not at its elements.
    var looksIntoLeafArrays: Bool {
        switch self {
        case .size, .elementMatchesFilter, .elementMatchesAll, .exists: false
        case .not(let inner), .collated(let inner, _, _): inner.looksIntoLeafArrays
        default: true
        }
    }

    /// Whether one value satisfies it; nil is a missing field. Arrays are taken as wholes.
    func matches(_ value: Value?) throws(QueryError) -> Bool {
        switch self {
        case .equal(let wanted):
            guard let value else { return wanted.isNullish }
            if case .null = wanted { return value.isNullish }
            return value == wanted
        case .compare(let comparison, let bound): return Self.compare(value, comparison, bound)
        case .in(let set): return try set.contains(value)
        case .exists: return value != nil
        case .type(let set): return value.map(set.contains) ?? false
        case .size(let count):
            guard case .array(let array)? = value else { return false }
            return array.count == count
        case .elementMatchesFilter(let node):
            return try Self.firstElement(of: value) { (element) throws(QueryError) in
                switch element {
                case .document(let document): try node.matches(document)
                case .array(let array): try node.matches(array.document)
                default: false
                }
            } != nil
        case .elementMatchesAll(let predicates):
            return try Self.firstElement(of: value) { (element) throws(QueryError) in
                try Self.all(predicates, match: element)
            } != nil
        case .modulo(let divisor, let remainder):
            guard let number = value.flatMap(Self.truncatedInteger) else { return false }
            // The only overflow of `%` is Int64.min by -1, whose remainder is 0.
            return (divisor == -1 ? 0 : number % divisor) == remainder
        case .regex(let program):
            switch value {
            case .string(let text)?, .symbol(let text)?: return try program.matches(text.utf8)
            case .regex(let regex)?: return regex.pattern == program.pattern && regex.options == program.options
            default: return false
            }
        case .bits(let test): return value.map(test.matches) ?? false
        case .collated(let given, let folded, let collation):
            if try folded.matches(value.map(collation.folded)) { return true }
            // Patterns are asked of the text itself.
            guard case .in(let set) = given else { return false }
            for pattern in set.patterns where try Predicate.regex(pattern).matches(value) { return true }
            return false
        case .not(let inner): return try !inner.matches(value)
        case .allOnPath(let predicates): return try Self.all(predicates, match: value)
        }
    }

    static func all(_ predicates: [Predicate], match value: Value?) throws(QueryError) -> Bool {
        for predicate in predicates where try !predicate.matches(value) { return false }
        return true
    }

    /// The position of the first element of an array value that satisfies `condition`.
    static func firstElement(
        of value: Value?, where condition: (Value) throws(QueryError) -> Bool
    ) throws(QueryError) -> Int? {
        guard case .array(let array)? = value else { return nil }
        var index = 0
        try FilterNode.count(array.document.byteCount >> 3)
        for element in array {
            if try condition(element) { return index }
            index += 1
        }
        return nil
    }

    /// MongoDB's range comparison: only within a type family, NaN equal to itself and in no order with numbers.
    private static func compare(_ value: Value?, _ comparison: Comparison, _ bound: Value) -> Bool {
        let includesEqual = comparison == .lessOrEqual || comparison == .greaterOrEqual
        switch bound {
        case .null, .undefined: return includesEqual && (value?.isNullish ?? true)
        case .minKey:
            if case .minKey? = value { return includesEqual }
            return comparison == .greater || comparison == .greaterOrEqual
        case .maxKey:
            if case .maxKey? = value { return includesEqual }
            return comparison == .less || comparison == .lessOrEqual
        default: break
        }
        guard let value, value.type.canonicalOrder == bound.type.canonicalOrder else { return false }
        if value.isNumber && (value.isNaN || bound.isNaN) { return includesEqual && value.isNaN && bound.isNaN }
        let order = Value.compare(value, bound)
        switch comparison {
        case .less: return order < 0
        case .lessOrEqual: return order <= 0
        case .greater: return order > 0
        case .greaterOrEqual: return order >= 0
        }
    }

    /// A number's whole part, or nil for what has none in 64 bits.
    static func truncatedInteger(_ value: Value) -> Int64? {
        switch value {
        case .int32(let number): return Int64(number)
        case .int64(let number): return number
        case .double(let number): return Int64(exactly: number.rounded(.towardZero))
        case .decimal128(let number):
            if let exact = number.int64Exactly { return exact }
            let double = number.doubleValue
            return double.isFinite ? Int64(exactly: double.rounded(.towardZero)) : nil
        default: return nil
        }
    }
}

extension Predicate {
    /// The predicate as it compares under a collation; the predicate itself where no string is compared.
    func collated(_ collation: Collation?) -> Predicate {
        guard let collation else { return self }
        switch self {
        case .equal(let value) where Collation.concerns(value):
            return .collated(self, folded: .equal(collation.folded(value)), collation)
        case .compare(let comparison, let bound) where Collation.concerns(bound) || bound.isContainer:
            return .collated(self, folded: .compare(comparison, collation.folded(bound)), collation)
        case .in(let set) where set.values.contains(where: Collation.concerns):
            let folded = InSet(values: set.values.map(collation.folded), patterns: [])
            return .collated(self, folded: .in(folded), collation)
        default: return self
        }
    }
}

extension Value {
    /// Whether it is a document or an array, which an order compares element by element.
    fileprivate var isContainer: Bool {
        switch self {
        case .document, .array: true
        default: false
        }
    }

    var isNaN: Bool {
        switch self {
        case .double(let number): number.isNaN
        case .decimal128(let number): number.isNaN
        default: false
        }
    }
}

/// The operands of `$type`.
struct TypeSet: Sendable {
    var types: Set<BSONType> = []

    func contains(_ value: Value) -> Bool { types.contains(value.type) }

    mutating func insert(_ operand: Value, operator name: String) throws(QueryError) {
        if let text = operand.asString?.string {
            if text == "number" {
                types.formUnion([.int32, .int64, .double, .decimal128])
            } else if let type = BSONType(alias: text) {
                types.insert(type)
            } else {
                throw QueryError(.badValue, "Unknown type name alias: \(text)")
            }
        } else if operand.isNumber {
            guard let number = operand.intExactly else {
                throw QueryError(.badValue, "Invalid numerical type code: \(operand)")
            }
            guard let type = BSONType(number: number) else {
                throw QueryError(.badValue, "Invalid numerical type code: \(number)")
            }
            types.insert(type)
        } else {
            throw QueryError(.typeMismatch, "type must be represented as a number or a string")
        }
    }
}

/// `$bitsAllSet` and its three relatives.
struct BitTest: Sendable {
    enum Kind: Sendable { case allSet, allClear, anySet, anyClear }

    let kind: Kind
    /// Positions in ascending order; beyond 63 they ask for a number's sign.
    let positions: [Int]

    func matches(_ value: Value) -> Bool {
        switch value {
        case .int32, .int64, .double, .decimal128:
            guard let number = value.int64Exactly else { return false }
            return test { number >> Int64(min($0, 63)) & 1 == 1 }
        case .binary(let binary):
            return test { position in
                let byte = position / 8
                guard byte < binary.data.count else { return false }
                return binary.data[binary.data.startIndex + byte] >> UInt8(position % 8) & 1 == 1
            }
        default: return false
        }
    }

    private func test(_ isSet: (Int) -> Bool) -> Bool {
        switch kind {
        case .allSet: positions.allSatisfy(isSet)
        case .allClear: positions.allSatisfy { !isSet($0) }
        case .anySet: positions.contains(where: isSet)
        case .anyClear: positions.contains { !isSet($0) }
        }
    }
}
