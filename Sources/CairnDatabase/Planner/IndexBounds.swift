import CairnBSON
import CairnQuery

/// A stretch of keys of a tablet: from `lower` up to, and without, `upper`.
struct KeyRange: Hashable {
    var lower: [UInt8]
    var upper: [UInt8]
}

/// The stretches of an index that a filter leaves to be looked at.
struct IndexBounds {
    /// The names of ``fields``; those of the key pattern, except for a wildcard index.
    var paths: [String]
    /// Per field of the index, the intervals that bound it; fields behind the first unbounded one have everything.
    var fields: [[ValueInterval]]
    /// How many leading fields are pinned to points.
    var pointFields = 0
    /// Whether the field after those has a range.
    var hasRange = false
    /// In key order, disjoint.
    var ranges: [KeyRange] = []
    /// Whether the leading points are one combination, so that what follows them in the index is in order.
    var isSinglePrefix = true
    /// Whether null, which stands for missing fields, is among the values of the first field.
    var includesMissing = true
    /// Whether a document without arrays may have several entries within the bounds.
    var mayRepeat = false
    /// Whether the entries within the bounds are those of the documents that match, and of no others.
    var isExact = false

    /// More combinations of points than this are not enumerated: the field that would make them is left to the filter.
    static let rangesMax = 4_096

    /// Works out what `filter` says about the fields of `index`, from the first on.
    init(_ index: IndexState, _ filter: Filter) {
        paths = index.paths
        fields = [[ValueInterval]](repeating: [.everything], count: index.paths.count)
        if let wildcard = index.extractor.wildcard {
            choosePath(index, wildcard, filter)
            return
        }
        var prefixes: [[UInt8]] = [index.prefix]
        var boundRoots: Set<Substring> = []
        var isEmpty = false
        for field in index.paths.indices {
            let path = index.paths[field]
            // Entries of one array's elements do not combine: a second field of the same array must not narrow the scan.
            let root = path.prefix { $0 != "." }
            if index.isMultikey, boundRoots.contains(root) { break }
            guard
                let bounds = filter.bounds(
                    on: path, multikey: index.isMultikey, collation: index.collation),
                bounds.intervals != [.everything]
            else { break }
            let isHashed = index.extractor.hashedField == field
            // Hashes are in no order: only points are found among them.
            if isHashed, !bounds.isPoints, !bounds.intervals.isEmpty { break }
            boundRoots.insert(root)
            if field == 0 { includesMissing = Self.includesMissing(bounds.intervals) }
            if bounds.intervals.isEmpty {
                isEmpty = true
                fields[field] = []
                pointFields = field + 1
                break
            }
            guard prefixes.count * bounds.intervals.count <= Self.rangesMax else { break }
            fields[field] = isHashed ? Self.hashed(bounds.intervals) : bounds.intervals
            guard bounds.isPoints else {
                hasRange = true
                ranges = prefixes.flatMap { prefix in
                    bounds.intervals.compactMap { Self.range(prefix, $0, index.descending[field]) }
                }
                break
            }
            prefixes = prefixes.flatMap { prefix in
                bounds.intervals.map { interval in
                    var key = prefix
                    index.extractor.append(folded: interval.lower, field: field, to: &key)
                    return key
                }
            }
            pointFields = field + 1
            isSinglePrefix = isSinglePrefix && bounds.intervals.count == 1
        }
        let bounded = Set(index.paths.prefix(pointFields + (hasRange ? 1 : 0)))
        isExact =
            !index.isMultikey && index.collation == nil && index.extractor.hashedField == nil
            && filter.keyedPaths?.isSubset(of: bounded) == true
        if !hasRange, !isEmpty {
            ranges = prefixes.map { KeyRange(lower: $0, upper: ByteOrder.successor(ofPrefix: $0) ?? []) }
        }
        ranges.sort { ByteOrder.compare($0.lower, $1.lower[...]) < 0 }
    }

    /// Of the paths that the filter constrains, a wildcard index is scanned at the one that leaves least.
    private mutating func choosePath(_ index: IndexState, _ wildcard: WildcardPaths, _ filter: Filter) {
        ranges = [KeyRange(lower: index.prefix, upper: ByteOrder.successor(ofPrefix: index.prefix) ?? [])]
        mayRepeat = true
        var best = Int.max
        for path in filter.constrainedPaths {
            let condition = filter.wildcardCondition(
                on: path, in: wildcard, multikey: index.isMultikey, collation: index.collation)
            switch condition {
            case .values(let bounds):
                guard bounds.intervals.count <= Self.rangesMax else { continue }
                let cost = bounds.isPoints || bounds.intervals.isEmpty ? 0 : 1
                guard cost < best else { continue }
                best = cost
                take(index, path, bounds)
            case .exists:
                guard best == .max else { continue }
                best = 2
                takeExisting(index, path)
            case nil: continue
            }
        }
    }

    private mutating func take(_ index: IndexState, _ path: String, _ bounds: PathBounds) {
        let name = Value(path)
        paths = ["$_path", path]
        fields = [[ValueInterval(point: name)], bounds.intervals]
        var prefix = index.prefix
        index.extractor.append(name, field: 0, to: &prefix)
        ranges = bounds.intervals.compactMap { Self.range(prefix, $0, index.descending[1]) }
        ranges.sort { ByteOrder.compare($0.lower, $1.lower[...]) < 0 }
        let isPoints = bounds.isPoints || bounds.intervals.isEmpty
        pointFields = isPoints ? 1 : 0
        hasRange = !isPoints
        isSinglePrefix = true
        includesMissing = false
        mayRepeat = false
    }

    /// The path itself, and all paths that go on with a dot.
    private mutating func takeExisting(_ index: IndexState, _ path: String) {
        let below = ValueInterval(Value(path + "."), Value(path + "/"), includesUpper: false)
        paths = ["$_path", path]
        fields = [[ValueInterval(point: Value(path)), below], [.everything]]
        ranges = fields[0].compactMap { Self.range(index.prefix, $0, false) }
        pointFields = 0
        hasRange = true
        includesMissing = false
        mayRepeat = true
    }

    private static func hashed(_ intervals: [ValueInterval]) -> [ValueInterval] {
        intervals.map { ValueInterval(point: .int64(IndexKeyExtractor.hash($0.lower))) }
    }

    /// Whether the filter narrows the scan at all.
    var isBounded: Bool { pointFields > 0 || hasRange }

    private static func includesMissing(_ intervals: [ValueInterval]) -> Bool {
        intervals.contains { interval in
            Value.compare(interval.lower, .null) <= 0 && Value.compare(.null, interval.upper) <= 0
        }
    }

    private static func range(_ prefix: [UInt8], _ interval: ValueInterval, _ isDescending: Bool) -> KeyRange? {
        func key(_ value: Value, after: Bool) -> [UInt8] {
            var key = prefix
            KeyEncoding.append(value, descending: isDescending, to: &key)
            return after ? ByteOrder.successor(ofPrefix: key) ?? key : key
        }
        let range =
            isDescending
            ? KeyRange(
                lower: key(interval.upper, after: !interval.includesUpper),
                upper: key(interval.lower, after: interval.includesLower))
            : KeyRange(
                lower: key(interval.lower, after: !interval.includesLower),
                upper: key(interval.upper, after: interval.includesUpper))
        return ByteOrder.compare(range.lower, range.upper[...]) < 0 ? range : nil
    }

    /// The key pattern as `explain` shows it: of a wildcard index, with the path that is scanned.
    func keyPattern(of index: IndexState) -> Document {
        guard index.extractor.wildcard != nil, paths.count == 2 else { return index.descriptor.key }
        return Document([("$_path", 1), (paths[1], index.descending[1] ? -1 : 1)])
    }

    /// As `explain` shows them: `{a: ["[1, 1]"], b: ["(5, inf]"]}`.
    var document: Document {
        var builder = DocumentBuilder()
        for (path, intervals) in zip(paths, fields) {
            let texts: [Value] = intervals.map { interval in
                let open = interval.includesLower ? "[" : "("
                let close = interval.includesUpper ? "]" : ")"
                return Value("\(open)\(Self.text(interval.lower)), \(Self.text(interval.upper))\(close)")
            }
            builder.append(path, BSONArray(texts))
        }
        return builder.finish()
    }

    private static func text(_ value: Value) -> String {
        switch value {
        case .minKey: "MinKey"
        case .maxKey: "MaxKey"
        case .undefined: "undefined"
        case .null: "null"
        case .double(let number) where number.isInfinite: number < 0 ? "-inf" : "inf"
        default: "\(value)"
        }
    }
}
