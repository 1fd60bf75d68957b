import CairnBSON

/// What an update operator does to the value at one path.
enum UpdateAction: Sendable {
    case set(Value)
    case setOnInsert(Value)
    case unset
    case increment(Value)
    case multiply(Value)
    case minimum(Value, Collation?)
    case maximum(Value, Collation?)
    case push(PushSpecification)
    case addToSet([Value], Collation?)
    case pop(first: Bool)
    case pull(PullCondition)
    /// Under a collation with keys in the place of strings.
    case pullAll(Set<Value>, Collation?)
    case bits([(BitOperation, Value)])
    /// The value that the source path of a rename had; the source itself gets ``renamedAway``.
    case renamedFrom(FieldPath)
    case renamedAway

    enum BitOperation: Sendable { case and, or, xor }

    /// What the action works in.
    struct Situation {
        let original: Document
        let isInsert: Bool
    }

    /// The new value; nil for none. `value` is nil when the field is missing.
    func apply(to value: Value?, at path: String, _ situation: Situation) throws(QueryError) -> Value? {
        switch self {
        case .set(let new): return new
        case .setOnInsert(let new): return situation.isInsert ? new : value
        case .unset: return nil
        case .increment(let amount):
            guard let value else { return amount }
            try Self.requireNumber(value, path, "$inc", situation)
            guard let sum = Numbers.sum(value, amount) else {
                throw QueryError(
                    .badValue,
                    "Failed to apply $inc operations to current value (\(value)) for document {_id: \(Self.id(situation))}"
                )
            }
            return sum
        case .multiply(let factor):
            let current = value ?? Self.zero(like: factor)
            try Self.requireNumber(current, path, "$mul", situation)
            guard let product = Numbers.product(current, factor) else {
                throw QueryError(
                    .badValue,
                    "Failed to apply $mul operations to current value (\(current)) for document {_id: \(Self.id(situation))}"
                )
            }
            return product
        case .minimum(let bound, let collation):
            guard let value else { return bound }
            return Value.compare(bound, value, under: collation) < 0 ? bound : value
        case .maximum(let bound, let collation):
            guard let value else { return bound }
            return Value.compare(bound, value, under: collation) > 0 ? bound : value
        case .push(let specification):
            guard let value else { return .array(try specification.apply(to: BSONArray())) }
            guard case .array(let array) = value else {
                throw QueryError(
                    .badValue,
                    "The field '\(path)' must be an array but is of type \(value.type.alias) in document "
                        + "{_id: \(Self.id(situation))}")
            }
            return .array(try specification.apply(to: array))
        case .addToSet(let additions, let collation): return try addToSet(additions, value, path, collation)
        case .pop(let first):
            guard let value else { return nil }
            guard case .array(let array) = value else {
                throw QueryError(
                    .typeMismatch, "Path '\(path)' contains an element of non-array type '\(value.type.alias)'")
            }
            return .array(ProjectionTree.slice(array, skip: first ? 1 : 0, limit: max(0, array.count - 1)))
        case .pull(let condition):
            return try remove(from: value, "$pull") { (element) throws(QueryError) in try condition.matches(element) }
        case .pullAll(let unwanted, let collation):
            return try remove(from: value, "$pullAll") { (element) throws(QueryError) in
                unwanted.contains(collation?.folded(element) ?? element)
            }
        case .bits(let operations): return try combineBits(operations, value, path, situation)
        case .renamedFrom(let source):
            switch Self.plainValue(source, in: situation.original) {
            case .some(let moved): return moved
            case nil: return value
            }
        case .renamedAway: return nil
        }
    }

    private static func zero(like value: Value) -> Value {
        switch value {
        case .int64: .int64(0)
        case .double: .double(0)
        case .decimal128: .decimal128(.zero)
        default: .int32(0)
        }
    }

    private static func id(_ situation: Situation) -> Value { situation.original["_id"] ?? .null }

    private static func requireNumber(
        _ value: Value, _ path: String, _ name: String, _ situation: Situation
    ) throws(QueryError) {
        guard !value.isNumber else { return }
        throw QueryError(
            .typeMismatch,
            "Cannot apply \(name) to a value of non-numeric type. {_id: \(id(situation))} has the field '\(path)' of "
                + "non-numeric type \(value.type.alias)")
    }

    /// The value at a path through documents only; a rename may not go through arrays.
    static func plainValue(_ path: FieldPath, in document: Document) -> Value? {
        var document = document
        for component in path.components.dropLast() {
            guard case .document(let inner)? = document[component.name] else { return nil }
            document = inner
        }
        return document[path.components[path.components.count - 1].name]
    }

    private func addToSet(
        _ additions: [Value], _ value: Value?, _ path: String, _ collation: Collation?
    ) throws(QueryError) -> Value {
        var array = BSONArray()
        if let value {
            guard case .array(let existing) = value else {
                throw QueryError(
                    .badValue,
                    "Cannot apply $addToSet to non-array field. Field named '\(path)' has non-array type \(value.type.alias)"
                )
            }
            array = existing
        }
        var seen = Set(array.map { collation?.folded($0) ?? $0 })
        var result = ArrayBuilder(capacity: array.document.byteCount + 64)
        for element in array.document { result.append(valueOf: element) }
        for addition in additions where seen.insert(collation?.folded(addition) ?? addition).inserted {
            result.append(addition)
        }
        return .array(result.finish())
    }

    private func remove(
        from value: Value?, _ name: String, where isUnwanted: (Value) throws(QueryError) -> Bool
    ) throws(QueryError) -> Value? {
        guard let value else { return nil }
        guard case .array(let array) = value else {
            throw QueryError(.badValue, "Cannot apply \(name) to a non-array value")
        }
        var result = ArrayBuilder(capacity: array.document.byteCount)
        for element in array where try !isUnwanted(element) { result.append(element) }
        return .array(result.finish())
    }

    private func combineBits(
        _ operations: [(BitOperation, Value)], _ value: Value?, _ path: String, _ situation: Situation
    ) throws(QueryError) -> Value {
        var current = value ?? .int32(0)
        for (operation, operand) in operations {
            guard let a = Numbers.kind(current), a == .int32 || a == .int64, let b = Numbers.kind(operand) else {
                throw QueryError(
                    .badValue,
                    "Cannot apply $bit to a value of non-integral type.{_id: \(Self.id(situation))} has the field "
                        + "\(path) of non-integer type \(current.type.alias)")
            }
            let (x, y) = (Numbers.integer(current), Numbers.integer(operand))
            let combined =
                switch operation {
                case .and: x & y
                case .or: x | y
                case .xor: x ^ y
                }
            current = Numbers.narrowed(combined, a == .int64 || b == .int64 ? .int64 : .int32)
        }
        return current
    }
}

/// `$push` with its modifiers.
struct PushSpecification: Sendable {
    let values: [Value]
    let position: Int?
    let slice: Int?
    let order: ArrayOrder?

    func apply(to array: BSONArray) throws(QueryError) -> BSONArray {
        if position == nil && slice == nil && order == nil {
            var result = ArrayBuilder(capacity: array.document.byteCount + 64)
            for element in array.document { result.append(valueOf: element) }
            for value in values { result.append(value) }
            return result.finish()
        }
        var elements = Array(array)
        if let position {
            let index = position < 0 ? max(0, elements.count + position) : min(position, elements.count)
            elements.insert(contentsOf: values, at: index)
        } else {
            elements += values
        }
        if let order { elements = try order.sorted(elements) }
        if let slice {
            if slice == 0 {
                elements = []
            } else if slice > 0 {
                elements = Array(elements.prefix(slice))
            } else {
                elements = Array(elements.suffix(slice == .min ? .max : -slice))
            }
        }
        return BSONArray(elements)
    }
}

/// What `$pull` removes.
enum PullCondition: Sendable {
    /// Under a collation a value with keys in the place of strings.
    case equal(Value, Collation?)
    case predicates([Predicate])
    case filter(FilterNode)

    func matches(_ element: Value) throws(QueryError) -> Bool {
        switch self {
        case .equal(let value, let collation): return (collation?.folded(element) ?? element) == value
        case .predicates(let predicates):
            for predicate in predicates where try !FilterNode.matchLeaf(element, predicate) { return false }
            return true
        case .filter(let node):
            guard case .document(let document) = element else { return false }
            return try node.matches(document)
        }
    }
}
