import CairnBSON

/// A range of values in MongoDB's order, for index scans.
public struct ValueInterval: Sendable, Hashable {
    public var lower: Value
    public var includesLower: Bool
    public var upper: Value
    public var includesUpper: Bool

    public init(_ lower: Value, includesLower: Bool = true, _ upper: Value, includesUpper: Bool = true) {
        self.lower = lower
        self.includesLower = includesLower
        self.upper = upper
        self.includesUpper = includesUpper
    }

    public init(point value: Value) { self.init(value, value) }

    /// Every value there is.
    public static let everything = ValueInterval(.minKey, .maxKey)

    public var isPoint: Bool { includesLower && includesUpper && lower == upper }

    public var isEmpty: Bool {
        let order = Value.compare(lower, upper)
        return order > 0 || (order == 0 && !(includesLower && includesUpper))
    }

    func intersection(_ other: ValueInterval) -> ValueInterval {
        var result = self
        let low = Value.compare(lower, other.lower)
        if low < 0 {
            result.lower = other.lower
            result.includesLower = other.includesLower
        } else if low == 0 {
            result.includesLower = includesLower && other.includesLower
        }
        let high = Value.compare(upper, other.upper)
        if high > 0 {
            result.upper = other.upper
            result.includesUpper = other.includesUpper
        } else if high == 0 {
            result.includesUpper = includesUpper && other.includesUpper
        }
        return result
    }
}

/// What a filter says about one path, for a scan of an index on it.
public struct PathBounds: Sendable, Hashable {
    /// Ascending and disjoint. Every document that matches the filter has an index key in one of them.
    public var intervals: [ValueInterval]
    /// True when only points are left (`$eq`, `$in`), so that an index can go on with its next field.
    public var isPoints: Bool { !intervals.isEmpty && intervals.allSatisfy(\.isPoint) }
}

extension Filter {
    /// Conditions that must all hold, each on one path.
    private var conjuncts: [(path: FieldPath, predicate: Predicate)] {
        var found: [(FieldPath, Predicate)] = []
        func collect(_ node: FilterNode) {
            switch node {
            case .and(let nodes): for node in nodes { collect(node) }
            case .path(let path, .allOnPath(let predicates)):
                for predicate in predicates { found.append((path, predicate)) }
            case .path(let path, let predicate): found.append((path, predicate))
            default: break
            }
        }
        collect(node)
        return found
    }

    /// The value that the path must equal, when a conjunct says so.
    ///
    /// An array or null is an equality that an index key does not decide by itself; see ``bounds(on:multikey:)``.
    public func equality(on path: String) -> Value? {
        for conjunct in conjuncts where conjunct.path.string == path {
            switch conjunct.predicate {
            case .equal(let value): return value
            case .in(let set) where set.values.count == 1 && set.patterns.isEmpty: return set.values[0]
            default: break
            }
        }
        return nil
    }

    /// The one `_id` that can match, when an equality names it: never an array, a regular expression or null.
    public var idEquality: Value? {
        guard let value = equality(on: "_id"), Self.isPlainKey(value) else { return nil }
        return value
    }

    /// The `_id`s that can match, when an `$in` (or an equality) lists them.
    public var idIn: [Value]? {
        if let id = idEquality { return [id] }
        for conjunct in conjuncts where conjunct.path.string == "_id" {
            if case .in(let set) = conjunct.predicate, set.patterns.isEmpty, set.values.allSatisfy(Self.isPlainKey) {
                return set.values
            }
        }
        return nil
    }

    /// True when the filter is nothing but an equality on `_id`, so that finding the document decides it.
    public var isIdEqualityOnly: Bool {
        guard case .path(let path, .equal(let value)) = node, path.string == "_id" else { return false }
        return Self.isPlainKey(value)
    }

    private static func isPlainKey(_ value: Value) -> Bool {
        switch value {
        case .array, .regex, .null, .undefined: false
        default: true
        }
    }

    /// The paths that the filter is about, when the values there decide whether a document matches: comparisons with plain values
    /// and nothing else. Then an index that has one key a document, and all these paths, needs no look at the document.
    ///
    /// - Returns: nil when more than the values has to be known.
    public var keyedPaths: Set<String>? {
        var paths: Set<String> = []
        func collect(_ node: FilterNode) -> Bool {
            switch node {
            case .and(let nodes): return nodes.allSatisfy(collect)
            case .path(let path, .allOnPath(let predicates)):
                paths.insert(path.string)
                return predicates.allSatisfy(Self.isDecidedByKey)
            case .path(let path, let predicate):
                paths.insert(path.string)
                return Self.isDecidedByKey(predicate)
            case .always, .or, .nor, .expression, .schema: return false
            }
        }
        return collect(node) ? paths : nil
    }

    private static func isDecidedByKey(_ predicate: Predicate) -> Bool {
        switch predicate {
        case .equal(let value), .compare(_, let value): isKeyItself(value)
        case .in(let set): set.patterns.isEmpty && set.values.allSatisfy(isKeyItself)
        default: false
        }
    }

    /// Whether a value has one key, which no other kind of value has.
    private static func isKeyItself(_ value: Value) -> Bool {
        switch value {
        case .int32, .int64, .decimal128, .string, .objectID, .bool, .date, .timestamp: !value.isNaN
        case .double(let number): !number.isNaN
        default: false
        }
    }

    /// The paths that a conjunct constrains, in the order of the filter.
    public var constrainedPaths: [String] {
        var seen: Set<String> = []
        var paths: [String] = []
        for conjunct in conjuncts {
            for (path, _) in Self.expanded(conjunct.path.string, conjunct.predicate) where seen.insert(path).inserted {
                paths.append(path)
            }
        }
        return paths
    }

    /// The values of `path` that documents in the answer can have in an index, or nil when the filter does not say.
    ///
    /// The scan may meet documents that do not match: the filter stays to be asked.
    ///
    /// - Parameters:
    ///   - multikey: Whether a document can have several keys for the path. Then two conditions may hold of two different
    ///     elements, so only one of them bounds the scan.
    ///   - collation: The index's. A condition on strings bounds a scan only when it was parsed under the same; the intervals
    ///     then have keys in the place of strings, as the index has.
    public func bounds(on path: String, multikey: Bool, collation: Collation? = nil) -> PathBounds? {
        var candidates: [[ValueInterval]] = []
        for conjunct in conjuncts {
            for (name, predicate) in Self.expanded(conjunct.path.string, conjunct.predicate) where name == path {
                if let intervals = Self.intervals(of: predicate, in: collation) { candidates.append(intervals) }
            }
        }
        guard var best = candidates.first else { return nil }
        if multikey {
            func cost(_ intervals: [ValueInterval]) -> Int {
                if intervals.allSatisfy(\.isPoint) { return intervals.count }
                let isBounded = intervals.allSatisfy { $0 != .everything }
                return isBounded ? 1_000_000 + intervals.count : .max
            }
            for candidate in candidates.dropFirst() where cost(candidate) < cost(best) { best = candidate }
        } else {
            for candidate in candidates.dropFirst() {
                var intersected: [ValueInterval] = []
                for left in best {
                    for right in candidate {
                        let both = left.intersection(right)
                        if !both.isEmpty { intersected.append(both) }
                    }
                }
                best = intersected
            }
        }
        return PathBounds(intervals: Self.normalized(best))
    }

    /// What the filter says about a path of a wildcard index, which has no key for what is missing and none for documents
    /// and arrays as wholes.
    public enum WildcardCondition: Sendable {
        /// Documents in the answer have a key at the path with one of these values.
        case values(PathBounds)
        /// Documents in the answer have a key at the path or below it.
        case exists
    }

    /// How a wildcard index finds the documents in the answer by one path, or nil when it cannot.
    ///
    /// - Parameter multikey: as in ``bounds(on:multikey:)``.
    public func wildcardCondition(
        on path: String, in paths: WildcardPaths, multikey: Bool, collation: Collation? = nil
    ) -> WildcardCondition? {
        guard let parsed = try? FieldPath(path), paths.covers(parsed, below: false) else { return nil }
        if let bounds = bounds(on: path, multikey: multikey, collation: collation),
            bounds.intervals.allSatisfy(Self.isKeptByWildcard)
        {
            return .values(bounds)
        }
        let mustExist = conjuncts.contains { conjunct in
            Self.expanded(conjunct.path.string, conjunct.predicate).contains { name, predicate in
                if case .exists = predicate { return name == path }
                return false
            }
        }
        return mustExist && paths.covers(parsed, below: true) ? .exists : nil
    }

    /// Whether a wildcard index has a key for every value of the interval, wherever it is found.
    private static func isKeptByWildcard(_ interval: ValueInterval) -> Bool {
        let missing = ValueInterval(.undefined, .null)
        let containers = ValueInterval(
            .document(Document()), .binary(Binary([], subtype: .generic)), includesUpper: false)
        if interval.isPoint, interval.lower == .document(Document()) { return true }
        return interval.intersection(missing).isEmpty && interval.intersection(containers).isEmpty
    }

    /// The branches when the whole filter is one `$or`; an index scan for each of them answers it.
    public var orBranches: [Filter]? {
        guard case .or(let nodes) = node else { return nil }
        return nodes.map { Filter(node: $0) }
    }

    private init(node: FilterNode) {
        source = Document()
        self.node = node
    }

    /// A condition inside `$elemMatch` on documents is a condition on the longer path.
    private static func expanded(_ path: String, _ predicate: Predicate) -> [(String, Predicate)] {
        guard case .elementMatchesFilter(let node) = predicate else { return [(path, predicate)] }
        var found: [(String, Predicate)] = []
        func collect(_ node: FilterNode) {
            switch node {
            case .and(let nodes): for node in nodes { collect(node) }
            case .path(let inner, let predicate): found += expanded(path + "." + inner.string, predicate)
            default: break
            }
        }
        collect(node)
        return found
    }

    /// The keys in an index of this collation that a value may have which satisfies the predicate.
    private static func intervals(of predicate: Predicate, in collation: Collation?) -> [ValueInterval]? {
        switch predicate {
        case .collated(let given, let folded, let own):
            guard own == collation, var intervals = plainIntervals(of: folded, in: collation) else { return nil }
            if case .in(let set) = given {
                for pattern in set.patterns { intervals += Self.intervals(of: pattern, in: collation) }
            }
            return intervals
        case .elementMatchesAll, .regex, .exists: return plainIntervals(of: predicate, in: collation)
        case .in(let set) where !set.patterns.isEmpty && !set.values.contains(where: Collation.concerns):
            return plainIntervals(of: predicate, in: collation)
        default:
            guard let intervals = plainIntervals(of: predicate, in: collation) else { return nil }
            // Bytes say nothing about the order of an index that has keys of strings.
            let affected = ValueInterval("", .binary(Binary([], subtype: .generic)), includesUpper: false)
            if collation != nil, intervals.contains(where: { !$0.intersection(affected).isEmpty }) { return nil }
            return intervals
        }
    }

    private static func plainIntervals(of predicate: Predicate, in collation: Collation?) -> [ValueInterval]? {
        switch predicate {
        case .equal(let value): return points(for: value)
        case .in(let set):
            var intervals: [ValueInterval] = []
            for value in set.values { intervals += points(for: value) }
            for pattern in set.patterns { intervals += Self.intervals(of: pattern, in: collation) }
            return intervals
        case .compare(let comparison, let bound):
            guard let family = family(of: bound) else { return nil }
            switch comparison {
            case .less:
                if bound.isNaN { return [] }
                return [ValueInterval(family.lower, bound, includesUpper: false)]
            case .lessOrEqual:
                return bound.isNaN || bound.isNullish ? points(for: bound) : [ValueInterval(family.lower, bound)]
            case .greater:
                if bound.isNaN || bound.isNullish { return [] }
                return [ValueInterval(bound, includesLower: false, family.upper, includesUpper: family.includesUpper)]
            case .greaterOrEqual:
                if bound.isNaN || bound.isNullish { return points(for: bound) }
                return [ValueInterval(bound, family.upper, includesUpper: family.includesUpper)]
            }
        case .regex(let program): return intervals(of: program, in: collation)
        case .elementMatchesAll(let predicates):
            var best: ValueInterval?
            for predicate in predicates {
                guard let intervals = intervals(of: predicate, in: collation), intervals.count == 1 else { continue }
                best = best.map { $0.intersection(intervals[0]) } ?? intervals[0]
            }
            return best.map { [$0] }
        case .exists: return [.everything]
        default: return nil
        }
    }

    /// The index keys that a document equal to `value` has one of.
    private static func points(for value: Value) -> [ValueInterval] {
        switch value {
        case .null, .undefined: return [ValueInterval(point: .undefined), ValueInterval(point: .null)]
        case .array(let array):
            // An index holds an array's elements: the first of them, or undefined for none. The whole array is a key
            // where it is itself an element.
            return [ValueInterval(point: array[0] ?? .undefined), ValueInterval(point: value)]
        default: return [ValueInterval(point: value)]
        }
    }

    private static func intervals(of program: RegexProgram, in collation: Collation?) -> [ValueInterval] {
        let regex = Value.regex(
            RegularExpression(pattern: BSONString(program.pattern), options: BSONString(program.options)))
        // The keys of texts that begin alike need not.
        let prefix = collation == nil ? program.literalPrefix : []
        let text: ValueInterval
        if prefix.isEmpty {
            text = ValueInterval("", .document(Document()), includesUpper: false)
        } else {
            text = ValueInterval(
                .string(BSONString(utf8: prefix[...])),
                successor(of: prefix).map { .string(BSONString(utf8: $0[...])) }
                    ?? .document(Document()), includesUpper: false)
        }
        return [text, ValueInterval(point: regex)]
    }

    /// The first text after all that begin with `prefix`.
    private static func successor(of prefix: [UInt8]) -> [UInt8]? {
        var bytes = prefix
        while let last = bytes.last {
            if last < 0xFF {
                bytes[bytes.count - 1] = last + 1
                return bytes
            }
            bytes.removeLast()
        }
        return nil
    }

    /// The ends of the type family that a range stays in.
    private static func family(of value: Value) -> (lower: Value, upper: Value, includesUpper: Bool)? {
        switch value {
        case .int32, .int64, .double, .decimal128: (.double(-.infinity), .double(.infinity), true)
        case .string, .symbol: ("", .document(Document()), false)
        case .document: (.document(Document()), .array(BSONArray()), false)
        case .array: nil
        case .objectID: (.objectID(ObjectID(high: 0, low: 0)), .objectID(ObjectID(high: .max, low: .max)), true)
        case .bool: (.bool(false), .bool(true), true)
        case .date: (.date(milliseconds: .min), .date(milliseconds: .max), true)
        case .timestamp: (.timestamp(Timestamp(rawValue: 0)), .timestamp(Timestamp(rawValue: .max)), true)
        case .null, .undefined: (.undefined, .null, true)
        case .minKey, .maxKey: (.minKey, .maxKey, true)
        default: nil
        }
    }

    /// Whether each interval lies behind the one before it, as those of `$in` mostly do.
    private static func areInOrder(_ intervals: [ValueInterval]) -> Bool {
        for index in intervals.indices {
            if intervals[index].isEmpty { return false }
            if index > 0, Value.compare(intervals[index - 1].upper, intervals[index].lower) >= 0 { return false }
        }
        return true
    }

    private static func normalized(_ intervals: [ValueInterval]) -> [ValueInterval] {
        if areInOrder(intervals) { return intervals }
        let sorted = intervals.filter { !$0.isEmpty }.sorted { left, right in
            let order = Value.compare(left.lower, right.lower)
            return order != 0 ? order < 0 : left.includesLower && !right.includesLower
        }
        var merged: [ValueInterval] = []
        for interval in sorted {
            guard let last = merged.last else {
                merged.append(interval)
                continue
            }
            let order = Value.compare(interval.lower, last.upper)
            guard order < 0 || (order == 0 && (interval.includesLower || last.includesUpper)) else {
                merged.append(interval)
                continue
            }
            let upper = Value.compare(interval.upper, last.upper)
            if upper > 0 {
                merged[merged.count - 1].upper = interval.upper
                merged[merged.count - 1].includesUpper = interval.includesUpper
            } else if upper == 0 && interval.includesUpper {
                merged[merged.count - 1].includesUpper = true
            }
        }
        return merged
    }

    // MARK: Upserts

    /// The fields that an upsert takes from the filter: equalities that must hold, in the filter's order.
    var equalityFields: [(path: FieldPath, value: Value)] {
        var found: [(FieldPath, Value)] = []
        for conjunct in conjuncts {
            switch conjunct.predicate {
            case .equal(let value), .collated(.equal(let value), _, _): found.append((conjunct.path, value))
            default: break
            }
        }
        return found
    }
}
