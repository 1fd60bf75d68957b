import CairnBSON

/// A value as the reference evaluator knows it: slow, obvious, and without a line in common with the query engine.
indirect enum Plain: Hashable {
    case null
    case number(Int)
    case text(String)
    case list([Plain])
    case map([String: Plain])

    init?(_ value: Value) {
        switch value {
        case .null: self = .null
        case .int32(let number): self = .number(Int(number))
        case .int64(let number): self = .number(Int(number))
        case .double(let number): self = .number(Int(number))
        case .string(let text): self = .text(text.string)
        case .array(let array): self = .list(array.compactMap { Plain($0) })
        case .document(let document): self = .map(Plain.fields(document))
        default: return nil
        }
    }

    static func fields(_ document: Document) -> [String: Plain] {
        var fields: [String: Plain] = [:]
        for element in document { fields[element.name.string] = Plain(element.value) }
        return fields
    }

    var value: Value {
        switch self {
        case .null: .null
        case .number(let number): .int32(Int32(number))
        case .text(let text): .string(BSONString(text))
        case .list(let elements): .array(BSONArray(elements.map(\.value)))
        case .map(let fields): .document(Document(fields.sorted { $0.key < $1.key }.map { ($0.key, $0.value.value) }))
        }
    }

    private var rank: Int {
        switch self {
        case .null: 0
        case .number: 1
        case .text: 2
        case .map: 3
        case .list: 4
        }
    }

    /// MongoDB's order, for what is compared here: null before numbers before text.
    static func goesBefore(_ left: Plain, _ right: Plain) -> Bool {
        switch (left, right) {
        case (.number(let a), .number(let b)): a < b
        case (.text(let a), .text(let b)): a < b
        default: left.rank < right.rank
        }
    }

    func isOfTheKind(of other: Plain) -> Bool { rank == other.rank }
}

/// A condition, kept as data, that a filter document is made of and that is also evaluated by hand.
indirect enum Condition {
    case equal(String, Plain)
    case notEqual(String, Plain)
    case less(String, Plain)
    case atLeast(String, Plain)
    case anyOf(String, [Plain])
    case exists(String, Bool)
    case size(String, Int)
    case elementBetween(String, Int, Int)
    case all([Condition])
    case either([Condition])
    case neither([Condition])

    var filter: Document {
        func on(_ path: String, _ name: String, _ operand: Value) -> Document {
            Document([(path, .document(Document([(name, operand)])))])
        }
        func join(_ name: String, _ conditions: [Condition]) -> Document {
            Document([(name, .array(BSONArray(conditions.map { .document($0.filter) })))])
        }
        return switch self {
        case .equal(let path, let value): Document([(path, value.value)])
        case .notEqual(let path, let value): on(path, "$ne", value.value)
        case .less(let path, let value): on(path, "$lt", value.value)
        case .atLeast(let path, let value): on(path, "$gte", value.value)
        case .anyOf(let path, let values): on(path, "$in", .array(BSONArray(values.map(\.value))))
        case .exists(let path, let wanted): on(path, "$exists", .bool(wanted))
        case .size(let path, let count): on(path, "$size", .int32(Int32(count)))
        case .elementBetween(let path, let low, let high):
            on(path, "$elemMatch", ["$gte": .int32(Int32(low)), "$lt": .int32(Int32(high))])
        case .all(let conditions): join("$and", conditions)
        case .either(let conditions): join("$or", conditions)
        case .neither(let conditions): join("$nor", conditions)
        }
    }

    func holds(for document: [String: Plain]) -> Bool {
        switch self {
        case .equal(let path, let wanted):
            Self.candidates(path, document).contains { wanted == .null ? $0 == nil || $0 == .null : $0 == wanted }
        case .notEqual(let path, let value): !Condition.equal(path, value).holds(for: document)
        case .less(let path, let bound):
            Self.candidates(path, document).contains {
                $0.map { $0.isOfTheKind(of: bound) && Plain.goesBefore($0, bound) } ?? false
            }
        case .atLeast(let path, let bound):
            Self.candidates(path, document).contains {
                $0.map { $0.isOfTheKind(of: bound) && !Plain.goesBefore($0, bound) } ?? false
            }
        case .anyOf(let path, let values): values.contains { Condition.equal(path, $0).holds(for: document) }
        case .exists(let path, let wanted): Self.candidates(path, document).contains { $0 != nil } == wanted
        case .size(let path, let count):
            Self.candidates(path, document).contains {
                if case .list(let elements)? = $0 { elements.count == count } else { false }
            }
        case .elementBetween(let path, let low, let high):
            Self.candidates(path, document).contains {
                guard case .list(let elements)? = $0 else { return false }
                return elements.contains {
                    if case .number(let number) = $0 { number >= low && number < high } else { false }
                }
            }
        case .all(let conditions): conditions.allSatisfy { $0.holds(for: document) }
        case .either(let conditions): conditions.contains { $0.holds(for: document) }
        case .neither(let conditions): !conditions.contains { $0.holds(for: document) }
        }
    }

    /// What a path may mean in a document: a list is itself and each of its elements; nil is a field that is missing.
    private static func candidates(_ path: String, _ document: [String: Plain]) -> [Plain?] {
        let names = path.split(separator: ".").map(String.init)
        guard let value = document[names[0]] else { return [nil] }
        guard names.count > 1 else {
            if case .list(let elements) = value { return [value] + elements }
            return [value]
        }
        let rest = names.dropFirst().joined(separator: ".")
        switch value {
        case .map(let inner): return candidates(rest, inner)
        case .list(let elements):
            return elements.flatMap { if case .map(let inner) = $0 { candidates(rest, inner) } else { [Plain?]() } }
        default: return [nil]
        }
    }
}

/// A change, kept as data, that an update document is made of and that is also carried out by hand.
enum Change {
    case set(String, Plain)
    case unset(String)
    case increment(String, Int)
    case raise(String, Int)
    case lower(String, Int)
    case push(String, Plain)
    case addToSet(String, Plain)
    case pull(String, Plain)
    case rename(String, String)

    var update: Document {
        func one(_ name: String, _ field: String, _ operand: Value) -> Document {
            Document([(name, .document(Document([(field, operand)])))])
        }
        return switch self {
        case .set(let field, let value): one("$set", field, value.value)
        case .unset(let field): one("$unset", field, 1)
        case .increment(let field, let number): one("$inc", field, .int32(Int32(number)))
        case .raise(let field, let number): one("$max", field, .int32(Int32(number)))
        case .lower(let field, let number): one("$min", field, .int32(Int32(number)))
        case .push(let field, let value): one("$push", field, value.value)
        case .addToSet(let field, let value): one("$addToSet", field, value.value)
        case .pull(let field, let value): one("$pull", field, value.value)
        case .rename(let from, let to): one("$rename", from, .string(BSONString(to)))
        }
    }

    func apply(to document: inout [String: Plain]) {
        func number(_ field: String) -> Int? { if case .number(let number)? = document[field] { number } else { nil } }
        func list(_ field: String) -> [Plain]? { if case .list(let list)? = document[field] { list } else { nil } }
        switch self {
        case .set(let field, let value): document[field] = value
        case .unset(let field): document[field] = nil
        case .increment(let field, let amount): document[field] = .number((number(field) ?? 0) + amount)
        case .raise(let field, let bound): document[field] = .number(max(number(field) ?? bound, bound))
        case .lower(let field, let bound): document[field] = .number(min(number(field) ?? bound, bound))
        case .push(let field, let value): document[field] = .list((list(field) ?? []) + [value])
        case .addToSet(let field, let value):
            let old = list(field) ?? []
            document[field] = .list(old.contains(value) ? old : old + [value])
        case .pull(let field, let value):
            if let old = list(field) { document[field] = .list(old.filter { $0 != value }) }
        case .rename(let from, let to):
            if let value = document[from] {
                document[from] = nil
                document[to] = value
            }
        }
    }
}
