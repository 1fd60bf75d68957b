import CairnBSON

// Which filters an index may be limited by, and whether a query stays within such a limit.
extension Filter {
    /// Checks that the filter is one that ``implies(_:)`` can reason about.
    ///
    /// - Throws: code 67 (CannotCreateIndex) unless it consists of equalities, ranges, `$in`, `$exists: true` and `$type`,
    ///   joined by `$and` and `$or`.
    public func checkPartialIndex() throws(QueryError) {
        guard node.isFitForPartialIndex else {
            throw QueryError(
                .cannotCreateIndex,
                "Expression not supported in partial index: \(source). Only $eq, $in, $gt, $gte, $lt, $lte, $exists: true, "
                    + "$type, $and and $or are")
        }
    }

    /// Whether every document that matches this filter matches `other` for sure. False when that cannot be told.
    public func implies(_ other: Filter) -> Bool { node.implies(other.node) }
}

extension FilterNode {
    fileprivate var isFitForPartialIndex: Bool {
        switch self {
        case .always(let outcome): outcome
        case .and(let nodes), .or(let nodes): nodes.allSatisfy(\.isFitForPartialIndex)
        case .path(_, let predicate): predicate.isFitForPartialIndex
        case .nor, .expression, .schema: false
        }
    }

    fileprivate func implies(_ other: FilterNode) -> Bool {
        switch other {
        case .always(true): return true
        case .and(let nodes): return nodes.allSatisfy { implies($0) }
        default: break
        }
        switch self {
        case .always(false): return true
        // A disjunction implies what each of its branches does.
        case .or(let nodes): if nodes.allSatisfy({ $0.implies(other) }) { return true }
        case .and(let nodes): if nodes.contains(where: { $0.implies(other) }) { return true }
        case .path(let path, .allOnPath(let predicates)):
            if predicates.contains(where: { FilterNode.path(path, $0).implies(other) }) { return true }
        case .path(let path, let predicate):
            if case .path(let otherPath, let wanted) = other { return path == otherPath && predicate.implies(wanted) }
        default: break
        }
        if case .or(let nodes) = other { return nodes.contains { implies($0) } }
        return false
    }
}

extension Predicate {
    fileprivate var isFitForPartialIndex: Bool {
        switch self {
        case .equal, .compare, .exists, .type: true
        case .in(let set): set.patterns.isEmpty
        case .collated(let given, _, _): given.isFitForPartialIndex
        default: false
        }
    }

    /// Both are asked of the value at the same path. What one element of an array satisfies, the same element must satisfy
    /// of the other.
    fileprivate func implies(_ other: Predicate) -> Bool {
        switch (self, other) {
        case (.collated(_, let own, let collation), .collated(_, let wanted, let otherCollation)):
            return collation == otherCollation && own.impliesPlainly(wanted)
        case (.collated(let given, _, _), .exists), (.collated(let given, _, _), .type):
            return given.impliesPlainly(other)
        // Other rules, other strings: what one lets through the other may not.
        case (.collated, _), (_, .collated): return false
        default: return impliesPlainly(other)
        }
    }

    private func impliesPlainly(_ other: Predicate) -> Bool {
        switch other {
        case .exists: return impliesPresence
        case .type(let types):
            switch self {
            case .type(let own): return own.types.isSubset(of: types.types)
            // Equal numbers may be of different types, and so may be strings and symbols.
            case .equal(let value): return TypeSet.all(likeThoseOf: value)?.isSubset(of: types.types) ?? false
            case .compare(_, let bound): return TypeSet.all(likeThoseOf: bound)?.isSubset(of: types.types) ?? false
            case .in(let set):
                return set.patterns.isEmpty
                    && set.values.allSatisfy { TypeSet.all(likeThoseOf: $0)?.isSubset(of: types.types) ?? false }
            default: return false
            }
        case .equal(let wanted):
            if case .equal(let value) = self { return value.isNullish == wanted.isNullish && value == wanted }
            return accepts { $0 == wanted && !$0.isNullish && !wanted.isNullish }
        case .in(let set):
            guard set.patterns.isEmpty else { return false }
            return accepts { value in set.values.contains { Predicate.equal(value).implies(.equal($0)) } }
        case .compare(let comparison, let bound):
            guard let wanted = Interval(comparison, bound) else { return false }
            switch self {
            case .compare(let comparison, let bound):
                return Interval(comparison, bound).map { $0.isSubset(of: wanted) } ?? false
            default: return accepts { value in Interval(point: value).map { $0.isSubset(of: wanted) } ?? false }
            }
        default: return false
        }
    }

    /// Whether `holds` is true of all the values that this predicate lets through, where it lists them.
    private func accepts(_ holds: (Value) -> Bool) -> Bool {
        switch self {
        case .equal(let value): holds(value)
        case .in(let set): set.patterns.isEmpty && set.values.allSatisfy(holds)
        default: false
        }
    }

    /// Whether a missing field cannot satisfy it.
    private var impliesPresence: Bool {
        switch self {
        case .exists, .type, .size, .elementMatchesFilter, .elementMatchesAll, .modulo, .regex, .bits: true
        case .equal(let value): !value.isNullish
        case .in(let set): !set.hasNull
        case .compare(_, let bound):
            switch bound {
            case .null, .undefined, .minKey, .maxKey: false
            default: true
            }
        default: false
        }
    }
}

extension TypeSet {
    /// The types whose values may equal or be compared with `value`; nil where a missing field is among them.
    fileprivate static func all(likeThoseOf value: Value) -> Set<BSONType>? {
        switch value {
        case .int32, .int64, .double, .decimal128: [.int32, .int64, .double, .decimal128]
        case .string, .symbol: [.string, .symbol]
        // Of an array its elements are asked as well.
        case .null, .undefined, .minKey, .maxKey, .array: nil
        default: [value.type]
        }
    }
}

/// The values of one family that a range lets through.
private struct Interval {
    let family: UInt8
    var lower: (value: Value, isIncluded: Bool)?
    var upper: (value: Value, isIncluded: Bool)?

    /// - Returns: nil for values that a range does not simply order: null, NaN, containers and the ends of all values.
    init?(_ comparison: Predicate.Comparison, _ bound: Value) {
        switch bound {
        case .int32, .int64, .double, .decimal128, .string, .symbol, .objectID, .bool, .date, .timestamp, .binary: break
        default: return nil
        }
        guard !bound.isNaN else { return nil }
        family = bound.type.canonicalOrder
        switch comparison {
        case .less: upper = (bound, false)
        case .lessOrEqual: upper = (bound, true)
        case .greater: lower = (bound, false)
        case .greaterOrEqual: lower = (bound, true)
        }
    }

    init?(point value: Value) {
        self.init(.greaterOrEqual, value)
        upper = (value, true)
    }

    func isSubset(of other: Interval) -> Bool {
        guard family == other.family else { return false }
        if let wanted = other.lower {
            guard let lower else { return false }
            let order = Value.compare(lower.value, wanted.value)
            guard order > 0 || (order == 0 && (wanted.isIncluded || !lower.isIncluded)) else { return false }
        }
        if let wanted = other.upper {
            guard let upper else { return false }
            let order = Value.compare(upper.value, wanted.value)
            guard order < 0 || (order == 0 && (wanted.isIncluded || !upper.isIncluded)) else { return false }
        }
        return true
    }
}
