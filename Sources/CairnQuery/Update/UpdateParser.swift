import CairnBSON

/// Reads update operators into an ``UpdateTree``.
struct UpdateParser {
    private(set) var tree = UpdateTree(path: "")
    private(set) var arrayFilters: [String: ArrayFilter] = [:]
    private(set) var positionalPath: String?
    private(set) var touchedPaths: [String] = []
    private(set) var checksDepth = false
    private var usedFilters: Set<String> = []
    private var scope: VariableScope

    init(scope: VariableScope) { self.scope = scope }

    mutating func parse(_ document: Document, arrayFilters filters: [Document]) throws(QueryError) {
        for filter in filters {
            let parsed = try ArrayFilter(parsing: filter, scope: &scope)
            guard arrayFilters.updateValue(parsed, forKey: parsed.name) == nil else {
                throw QueryError(
                    .failedToParse, "Found multiple array filters with the same top-level field name \(parsed.name)")
            }
        }
        for element in document {
            let name = element.name.string
            guard Self.operators.contains(name) else {
                throw QueryError(
                    .failedToParse,
                    "Unknown modifier: \(name). Expected a valid update modifier or pipeline-style update specified as an array"
                )
            }
            guard case .document(let fields) = element.value else {
                throw QueryError(
                    .failedToParse,
                    "Modifiers operate on fields but we found type \(element.value.type.alias) instead. For example: "
                        + "{$mod: {<field>: ...}} not {\(name): \(element.value)}")
            }
            for field in fields { try operation(name, field.name.string, field.value) }
        }
        tree.finish()
        if let unused = arrayFilters.keys.sorted().first(where: { !usedFilters.contains($0) }) {
            throw QueryError(
                .failedToParse, "The array filter for identifier '\(unused)' was not used in the update \(document)")
        }
    }

    /// Every update operator there is; the documentation's table comes from here.
    static let operators: Set<String> = [
        "$set", "$setOnInsert", "$unset", "$inc", "$mul", "$min", "$max", "$rename", "$currentDate", "$push",
        "$addToSet", "$pop", "$pull", "$pullAll", "$bit",
    ]

    private mutating func operation(_ name: String, _ path: String, _ value: Value) throws(QueryError) {
        switch name {
        case "$set": try insert(.set(value), at: path, with: value)
        case "$setOnInsert": try insert(.setOnInsert(value), at: path, with: value)
        case "$unset": try insert(.unset, at: path)
        case "$inc", "$mul":
            guard value.isNumber else {
                let verb = name == "$inc" ? "increment" : "multiply"
                throw QueryError(.typeMismatch, "Cannot \(verb) with non-numeric argument: {\(path): \(value)}")
            }
            try insert(name == "$inc" ? .increment(value) : .multiply(value), at: path)
        case "$min": try insert(.minimum(value, scope.context.collation), at: path, with: value)
        case "$max": try insert(.maximum(value, scope.context.collation), at: path, with: value)
        case "$currentDate": try insert(.set(try currentDate(path, value)), at: path)
        case "$rename": try rename(path, value)
        case "$push": try insert(.push(try push(path, value)), at: path, with: value)
        case "$addToSet": try insert(.addToSet(try additions(value), scope.context.collation), at: path, with: value)
        case "$pop":
            guard let end = value.int64Exactly, end == 1 || end == -1 else {
                throw QueryError(.failedToParse, "$pop expects 1 or -1, found: \(value)")
            }
            try insert(.pop(first: end == -1), at: path)
        case "$pull": try insert(.pull(try pullCondition(value)), at: path)
        case "$pullAll":
            guard case .array(let array) = value else {
                throw QueryError(.badValue, "$pullAll requires an array argument but was given a \(value.type.alias)")
            }
            let collation = scope.context.collation
            try insert(.pullAll(Set(array.map { collation?.folded($0) ?? $0 }), collation), at: path)
        default: try insert(.bits(try bits(path, value)), at: path)
        }
    }

    // MARK: Paths

    private mutating func steps(_ path: String) throws(QueryError) -> [UpdateTree.Step] {
        guard !path.isEmpty else { throw QueryError(.emptyFieldName, "An empty update path is not valid.") }
        let parts = path.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= FieldPath.depthMax else {
            throw QueryError(.overflow, "Document exceeds maximum nested object depth of \(Document.depthMax)")
        }
        var steps: [UpdateTree.Step] = []
        for (index, part) in parts.enumerated() {
            if part.isEmpty {
                throw QueryError(
                    .emptyFieldName, "The update path '\(path)' contains an empty field name, which is not allowed.")
            }
            if part.utf8.first != 0x24 {
                steps.append(.field(FieldPath.Component(part)))
                continue
            }
            if index == 0 && (part == "$" || part.hasPrefix("$[")) {
                throw QueryError(
                    .badValue,
                    "Cannot have array filter identifier or positional element as the first path component: '\(path)'")
            }
            if part == "$" {
                guard positionalPath == nil || positionalPath == parts[..<index].joined(separator: "."),
                    !steps.contains(.matched)
                else {
                    throw QueryError(.badValue, "Too many positional (i.e. '$') elements found in path '\(path)'")
                }
                positionalPath = parts[..<index].joined(separator: ".")
                steps.append(.matched)
            } else if part == "$[]" {
                steps.append(.each)
            } else if part.hasPrefix("$[") && part.hasSuffix("]") {
                let name = String(part.dropFirst(2).dropLast())
                guard arrayFilters[name] != nil else {
                    throw QueryError(.badValue, "No array filter found for identifier '\(name)' in path '\(path)'")
                }
                usedFilters.insert(name)
                steps.append(.filtered(name))
            } else if part == "$id" || part == "$ref" || part == "$db" {
                steps.append(.field(FieldPath.Component(part)))
            } else {
                throw QueryError(
                    .dollarPrefixedFieldName,
                    "The dollar ($) prefixed field '\(part)' in '\(path)' is not valid for storage.")
            }
        }
        return steps
    }

    private mutating func insert(
        _ action: UpdateAction, at path: String, with value: Value? = nil
    ) throws(QueryError) {
        let steps = try steps(path)
        try tree.insert(action, at: steps[...], of: path)
        // A value is known to be shallow enough only together with the place that it goes to.
        switch value {
        case .document(let document)?:
            checksDepth = checksDepth || document.exceedsDepth(Document.depthMax - steps.count)
        case .array(let array)?:
            checksDepth = checksDepth || array.document.exceedsDepth(Document.depthMax - steps.count)
        default: break
        }
        var plain: [String] = []
        for step in steps {
            guard case .field(let component) = step, component.index == nil else { break }
            plain.append(component.name.string)
        }
        touchedPaths.append(plain.joined(separator: "."))
    }

    // MARK: Operands

    private func currentDate(_ path: String, _ value: Value) throws(QueryError) -> Value {
        let now = scope.context.nowMilliseconds
        switch value {
        case .bool: return .date(milliseconds: now)
        case .document(let document):
            for element in document where element.name != "$type" {
                throw QueryError(.badValue, "Unrecognized $currentDate option: \(element.name)")
            }
            switch document["$type"]?.stringValue {
            case "date": return .date(milliseconds: now)
            case "timestamp":
                if let time = scope.context.clusterTime { return .timestamp(time) }
                return .timestamp(Timestamp(seconds: UInt32(truncatingIfNeeded: now / 1000), increment: 1))
            default: break
            }
            throw QueryError(
                .badValue,
                "The '$type' string field is required to be 'date' or 'timestamp': {$currentDate: {field : {$type: 'date'}}}"
            )
        default:
            throw QueryError(
                .badValue,
                "\(value.type.alias) is not valid type for $currentDate. Please use a boolean ('true') or a $type expression "
                    + "({$type: 'timestamp/date'}).")
        }
    }

    private mutating func rename(_ path: String, _ value: Value) throws(QueryError) {
        guard let target = value.asString?.string else {
            throw QueryError(.badValue, "The 'to' field for $rename must be a string: \(path): \(value)")
        }
        guard target != path else {
            throw QueryError(.badValue, "The source and target field for $rename must differ: \(path): \"\(target)\"")
        }
        for name in [path, target] where name.contains("$") {
            throw QueryError(.badValue, "The source and target field for $rename may not be dynamic: \(name)")
        }
        if path.contains("\0") || target.contains("\0") {
            throw QueryError(.badValue, "field names in $rename may not contain null bytes")
        }
        checksDepth = true
        let source = try FieldPath(path)
        try insert(.renamedAway, at: path)
        try insert(.renamedFrom(source), at: target)
    }

    private func push(_ path: String, _ value: Value) throws(QueryError) -> PushSpecification {
        guard case .document(let document) = value, document.contains("$each") else {
            return PushSpecification(values: [value], position: nil, slice: nil, order: nil)
        }
        var values: [Value] = []
        var position: Int?
        var slice: Int?
        var order: ArrayOrder?
        for element in document {
            switch element.name.string {
            case "$each":
                guard case .array(let array) = element.value else {
                    throw QueryError(
                        .badValue,
                        "The argument to $each in $push must be an array but it was of type: \(element.value.type.alias)"
                    )
                }
                values = Array(array)
            case "$position":
                guard let number = element.value.intExactly else {
                    throw QueryError(
                        .badValue,
                        "The value for $position must be an integer value, not of type: \(element.value.type.alias)")
                }
                position = number
            case "$slice":
                guard let number = element.value.intExactly else {
                    throw QueryError(
                        .badValue,
                        "The value for $slice must be an integer value but was given type: \(element.value.type.alias)")
                }
                slice = number
            case "$sort": order = try Self.arrayOrder(element.value, scope.context.collation)
            default: throw QueryError(.badValue, "Unrecognized clause in $push: \(element.name)")
            }
        }
        return PushSpecification(values: values, position: position, slice: slice, order: order)
    }

    /// The operand of `$sort` in `$push` and of `sortBy` in `$sortArray`.
    static func arrayOrder(_ value: Value, _ collation: Collation?) throws(QueryError) -> ArrayOrder {
        switch value {
        case .document(let document):
            guard !document.isEmpty else {
                throw QueryError(.badValue, "The $sort pattern is empty when it should be a set of fields.")
            }
            return .fields(try SortSpecification(parsing: document, collation: collation))
        default:
            guard let direction = value.int64Exactly, direction == 1 || direction == -1 else {
                throw QueryError(
                    .badValue,
                    "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields")
            }
            return .wholes(isDescending: direction == -1, collation)
        }
    }

    private func additions(_ value: Value) throws(QueryError) -> [Value] {
        guard case .document(let document) = value, document.first?.name == "$each" else { return [value] }
        guard document.count == 1 else {
            throw QueryError(.badValue, "Found unexpected fields after $each in $addToSet: \(document)")
        }
        guard case .array(let array)? = document["$each"] else {
            throw QueryError(
                .typeMismatch,
                "The argument to $each in $addToSet must be an array but it was of type \(document["$each"]?.type.alias ?? "missing")"
            )
        }
        return Array(array)
    }

    private mutating func pullCondition(_ value: Value) throws(QueryError) -> PullCondition {
        var parser = FilterParser(scope: scope)
        defer { scope = parser.scope }
        switch value {
        case .document(let document):
            if FilterParser.hasOperators(document), let first = document.first?.name.string,
                !["$and", "$or", "$nor", "$expr"].contains(first)
            {
                return .predicates(try parser.operators(document, path: "", depth: 0))
            }
            return .filter(try parser.parse(document, depth: 0))
        case .regex:
            return .predicates(try parser.operators(["$regex": value], path: "", depth: 0))
        default:
            let collation = scope.context.collation
            return .equal(collation?.folded(value) ?? value, collation)
        }
    }

    private func bits(_ path: String, _ value: Value) throws(QueryError) -> [(UpdateAction.BitOperation, Value)] {
        guard case .document(let document) = value else {
            throw QueryError(
                .badValue,
                "The $bit modifier is not compatible with a \(value.type.alias). You must pass in an embedded document: "
                    + "{$bit: {field: {and/or/xor: #}}")
        }
        guard !document.isEmpty else {
            throw QueryError(
                .badValue,
                "You must pass in at least one bitwise operation. The format is: {$bit: {field: {and/or/xor: #}}")
        }
        var operations: [(UpdateAction.BitOperation, Value)] = []
        for element in document {
            switch element.value {
            case .int32, .int64: break
            default:
                throw QueryError(
                    .badValue,
                    "The $bit modifier field must be an Integer(32/64 bit); a '\(element.value.type.alias)' is not supported here: {\(element.name): \(element.value)}"
                )
            }
            switch element.name.string {
            case "and": operations.append((.and, element.value))
            case "or": operations.append((.or, element.value))
            case "xor": operations.append((.xor, element.value))
            default:
                throw QueryError(
                    .badValue,
                    "The $bit modifier only supports 'and', 'or', and 'xor', not '\(element.name)' which is an unknown operator: {\(element.name): \(element.value)}"
                )
            }
        }
        return operations
    }
}
