import CairnBSON
import CairnQuery

/// A stretch of keys of a tablet: from `lower` up to, and without, `upper`.
struct KeyRange: Hashable {
    var lower: [UInt8]
    var upper: [UInt8]
}

/// The stretches of an index that a filter leaves to be looked at.
struct IndexBounds {
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

    /// More combinations of points than this are not enumerated: the field that would make them is left to the filter.
    static let rangesMax = 4_096

    /// Works out what `filter` says about the fields of `index`, from the first on.
    init(_ index: IndexState, _ filter: Filter) {
        fields = [[ValueInterval]](repeating: [.everything], count: index.paths.count)
        var prefixes: [[UInt8]] = [index.prefix]
        var boundRoots: Set<Substring> = []
        var isEmpty = false
        for field in index.paths.indices {
            let path = index.paths[field]
            // Entries of one array's elements do not combine: a second field of the same array must not narrow the scan.
            let root = path.prefix { $0 != "." }
            if index.isMultikey, boundRoots.contains(root) { break }
            guard let bounds = filter.bounds(on: path, multikey: index.isMultikey),
                bounds.intervals != [.everything]
            else { break }
            boundRoots.insert(root)
            if bounds.intervals.isEmpty {
                isEmpty = true
                fields[field] = []
                pointFields = field + 1
                break
            }
            guard prefixes.count * bounds.intervals.count <= Self.rangesMax else { break }
            fields[field] = bounds.intervals
            let isDescending = index.descending[field]
            guard bounds.isPoints else {
                hasRange = true
                ranges = prefixes.flatMap { prefix in
                    bounds.intervals.compactMap { Self.range(prefix, $0, isDescending) }
                }
                break
            }
            prefixes = prefixes.flatMap { prefix in
                bounds.intervals.map { interval in
                    var key = prefix
                    KeyEncoding.append(interval.lower, descending: isDescending, to: &key)
                    return key
                }
            }
            pointFields = field + 1
            isSinglePrefix = isSinglePrefix && bounds.intervals.count == 1
        }
        if !hasRange, !isEmpty {
            ranges = prefixes.map { KeyRange(lower: $0, upper: ByteOrder.successor(ofPrefix: $0) ?? []) }
        }
        ranges.sort { ByteOrder.compare($0.lower, $1.lower[...]) < 0 }
    }

    /// Whether the filter narrows the scan at all.
    var isBounded: Bool { pointFields > 0 || hasRange }

    /// Whether null, which stands for missing fields, is among the values of the first field.
    var includesMissing: Bool {
        fields[0].contains { interval in
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

    /// As `explain` shows them: `{a: ["[1, 1]"], b: ["(5, inf]"]}`.
    func document(of index: IndexState) -> Document {
        var builder = DocumentBuilder()
        for (path, intervals) in zip(index.paths, fields) {
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
