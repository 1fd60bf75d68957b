import CairnBSON

/// The keys under which an index holds a document.
///
/// A path through an array gives a key for each element (a multikey index); an empty array gives undefined, a missing
/// field null. Only one array of a document may be spread out by one index.
///
/// A *hashed* field is kept as the hash of its value and may lead through no array. A *wildcard* index has a key of two
/// values for each value of a document: the path, and what is there; see ``WildcardPaths``.
public struct IndexKeyExtractor: Sendable {
    public let pattern: Document
    /// Skip documents that have none of the fields.
    public let isSparse: Bool
    /// Skip documents that do not match.
    public let partialFilter: Filter?
    let paths: [FieldPath]
    /// Per value of a key: whether it descends, and so how it is encoded.
    public let isDescending: [Bool]
    /// The position of the hashed field, when there is one.
    public let hashedField: Int?
    /// What a wildcard index takes in; nil for an index of fields.
    public let wildcard: WildcardPaths?

    /// How strings are ordered; nil for by their bytes.
    public let collation: Collation?

    /// The most fields of one index.
    static let fieldsMax = 32

    /// - Parameter wildcardProjection: which paths an index on `$**` takes in; nil for all but `_id`.
    /// - Throws: code 67 (CannotCreateIndex) for what is no key pattern, 31303 for two hashed fields, 238 for kinds of index
    ///   that do not exist here.
    public init(
        pattern: Document, isSparse: Bool = false, partialFilter: Filter? = nil, wildcardProjection: Document? = nil,
        collation: Collation? = nil
    ) throws(QueryError) {
        guard !pattern.isEmpty else {
            throw QueryError(.cannotCreateIndex, "Index keys cannot be an empty field pattern.")
        }
        self.pattern = pattern
        self.isSparse = isSparse
        self.partialFilter = partialFilter
        self.collation = collation
        if let wildcard = try WildcardPaths(pattern: pattern, projection: wildcardProjection) {
            self.wildcard = wildcard
            paths = []
            hashedField = nil
            isDescending = [false, try Self.direction(of: pattern.first!.value) == .descending]
            return
        }
        wildcard = nil
        var paths: [FieldPath] = []
        var directions: [Direction] = []
        for element in pattern {
            let name = element.name.string
            guard !name.isEmpty else {
                throw QueryError(.cannotCreateIndex, "Index keys cannot be an empty field name.")
            }
            let direction = try Self.direction(of: element.value)
            let path: FieldPath
            do {
                path = try FieldPath(name)
            } catch {
                throw QueryError(.cannotCreateIndex, "Index keys cannot contain an empty field.")
            }
            for component in path.components where component.name.utf8.first == 0x24 {
                // The parts of a DBRef are the only names that may start so.
                guard component.name == "$ref" || component.name == "$id" || component.name == "$db" else {
                    throw QueryError(
                        .cannotCreateIndex, "Index key contains an illegal field name: field name starts with '$'.")
                }
            }
            if paths.contains(path) {
                throw QueryError(.badValue, "Field '\(name)' appears twice in the key pattern")
            }
            paths.append(path)
            directions.append(direction)
        }
        guard paths.count <= Self.fieldsMax else {
            throw QueryError(ErrorCode(13103), "too many compound keys")
        }
        let hashed = directions.indices.filter { directions[$0] == .hashed }
        guard hashed.count <= 1 else {
            throw QueryError(
                ErrorCode(31303),
                "A maximum of one index field is allowed to be hashed but found \(hashed.count) for 'key' \(pattern)")
        }
        hashedField = hashed.first
        self.paths = paths
        isDescending = directions.map { $0 == .descending }
    }

    private enum Direction { case ascending, descending, hashed }

    private static func direction(of value: Value) throws(QueryError) -> Direction {
        if let kind = value.asString?.string {
            switch kind {
            case "hashed": return .hashed
            case "text", "2d", "2dsphere", "geoHaystack", "columnstore":
                throw QueryError(.notImplemented, "indexes of type '\(kind)' are not supported")
            default: throw QueryError(.cannotCreateIndex, "Unknown index plugin '\(kind)'")
            }
        }
        guard value.isNumber else {
            throw QueryError(
                .cannotCreateIndex,
                "Values in v:2 index key pattern cannot be of type \(value.type.alias). Only numbers > 0, numbers < 0, "
                    + "and strings are allowed.")
        }
        guard let number = value.numericDouble, number != 0, !number.isNaN else {
            throw QueryError(.cannotCreateIndex, "Values in the index key pattern cannot be 0.")
        }
        return number < 0 ? .descending : .ascending
    }

    /// For sorting, which spreads arrays as an index does.
    init(paths: [FieldPath]) {
        pattern = Document()
        isSparse = false
        partialFilter = nil
        collation = nil
        self.paths = paths
        hashedField = nil
        wildcard = nil
        isDescending = paths.map { _ in false }
    }

    /// The keys of one document: distinct, in no particular order, none when the index skips it.
    ///
    /// - Throws: code 171 (CannotIndexParallelArrays), 16766 for an array under a hashed index, or what the partial filter
    ///   throws.
    public func keys(of document: Document) throws(QueryError) -> [[Value]] {
        try extract(from: document).keys
    }

    /// The keys in ``KeyEncoding``, each field in its direction, ascending and distinct.
    public func encodedKeys(of document: Document) throws(QueryError) -> [[UInt8]] {
        let keys = try keys(of: document)
        if keys.count == 1 { return [encode(keys[0])] }
        var encoded = keys.map(encode)
        encoded.sort { $0.lexicographicallyPrecedes($1) }
        var distinct: [[UInt8]] = []
        for key in encoded where distinct.last != key { distinct.append(key) }
        return distinct
    }

    /// One key in ``KeyEncoding``, each field in its direction.
    public func encode(_ key: [Value]) -> [UInt8] {
        var bytes: [UInt8] = []
        append(key, to: &bytes)
        return bytes
    }

    /// Appends what ``encode(_:)`` returns.
    public func append(_ key: [Value], to bytes: inout [UInt8]) {
        for (field, value) in key.enumerated() { append(value, field: field, to: &bytes) }
    }

    /// Appends one value of a key as the index keeps it: under a collation with keys in the place of strings.
    public func append(_ value: Value, field: Int, to bytes: inout [UInt8]) {
        // The path of a wildcard key is no value of the document.
        if let collation, wildcard == nil || field > 0 {
            append(folded: collation.folded(value), field: field, to: &bytes)
        } else {
            append(folded: value, field: field, to: &bytes)
        }
    }

    /// Appends one value that has keys in the place of strings already, as bounds have.
    public func append(folded value: Value, field: Int, to bytes: inout [UInt8]) {
        if field == hashedField {
            KeyEncoding.append(.int64(Self.hash(value)), to: &bytes)
        } else {
            KeyEncoding.append(value, descending: isDescending[field], to: &bytes)
        }
    }

    /// What a hashed index keeps of a value: equal values have equal hashes, whatever their types.
    public static func hash(_ value: Value) -> Int64 {
        Int64(bitPattern: XXH64.hash(KeyEncoding.encode(value)))
    }

    /// Whether the keys of a document may change with the values at these paths and below.
    ///
    /// Only the first names are compared: further down, positions in arrays make one place have several paths.
    public func mayChange(with touched: [String]) -> Bool {
        if partialFilter != nil { return true }
        if let wildcard { return wildcard.mayChange(with: touched) }
        return paths.contains { path in
            touched.contains { $0.prefix { $0 != "." } == path.head.string }
        }
    }

    /// `{a: 1, b: 2}` for the error of a duplicate key.
    public func keyValueDocument(_ key: [Value]) -> Document {
        var builder = DocumentBuilder()
        for (path, value) in zip(paths, key) { builder.append(path.string, value) }
        return builder.finish()
    }

    /// The keys, and whether an array was spread out to get them.
    public func extract(from document: Document) throws(QueryError) -> (keys: [[Value]], isMultikey: Bool) {
        if let partialFilter, try !partialFilter.matches(document) { return ([], false) }
        if let wildcard { return wildcard.keys(of: document) }
        var key: [Value] = []
        key.reserveCapacity(paths.count)
        var hasAny = false
        for path in paths {
            switch path.plainValue(in: document) {
            case .value(let value):
                key.append(value)
                hasAny = true
            case .missing: key.append(.null)
            case .array:
                if hashedField != nil {
                    throw QueryError(
                        ErrorCode(16766),
                        "hashed indexes do not currently support array values. Found array at path: \(path)")
                }
                var spread = ArraySpread(paths: paths)
                try spread.run(document)
                if isSparse && !spread.foundAny { return ([], spread.isMultikey) }
                return (spread.keys, spread.isMultikey)
            }
        }
        if isSparse && !hasAny { return ([], false) }
        return ([key], false)
    }
}

/// Extraction when an array is in the way: follow every path to the first array, spread that array for all paths that
/// reach it, and go on with each of its elements.
private struct ArraySpread {
    private enum Slot {
        case done(Value)
        /// The value reached so far, and the next component to resolve in it.
        case open(Value, Int)
    }

    let paths: [FieldPath]
    private(set) var keys: [[Value]] = []
    private(set) var isMultikey = false
    private(set) var foundAny = false

    init(paths: [FieldPath]) { self.paths = paths }

    mutating func run(_ document: Document) throws(QueryError) {
        try step(paths.map { _ in .open(.document(document), 0) })
        var seen: Set<[Value]> = []
        keys = keys.filter { seen.insert($0).inserted }
    }

    private mutating func step(_ slots: [Slot]) throws(QueryError) {
        var slots = slots
        var arrayPrefix: ArraySlice<FieldPath.Component>?
        for index in slots.indices {
            let reached = resolve(slots[index], paths[index])
            slots[index] = reached
            guard case .open(.array, let next) = reached else { continue }
            let prefix = paths[index].components[..<next]
            if let arrayPrefix, arrayPrefix != prefix {
                throw QueryError(
                    .cannotIndexParallelArrays,
                    "cannot index parallel arrays [\(prefix.last?.name ?? "")] [\(arrayPrefix.last?.name ?? "")]")
            }
            arrayPrefix = prefix
        }
        guard let arrayPrefix, let array = array(in: slots) else {
            keys.append(slots.map { if case .done(let value) = $0 { value } else { .null } })
            return
        }
        isMultikey = true
        if array.isEmpty {
            try step(
                slots.enumerated().map { index, slot in
                    guard case .open = slot else { return slot }
                    return .done(paths[index].components.count == arrayPrefix.count ? .undefined : .null)
                })
            foundAny = true
            return
        }
        for element in array {
            var next = slots
            for index in slots.indices {
                guard case .open(_, let component) = slots[index] else { continue }
                if component == paths[index].components.count {
                    next[index] = .done(element)
                    foundAny = true
                } else if case .document = element {
                    next[index] = .open(element, component)
                } else {
                    next[index] = .done(.null)
                }
            }
            try step(next)
        }
    }

    private func array(in slots: [Slot]) -> BSONArray? {
        for slot in slots {
            if case .open(.array(let array), _) = slot { return array }
        }
        return nil
    }

    /// Follows a path until it ends, is missing or stands before an array that has to be spread.
    private mutating func resolve(_ slot: Slot, _ path: FieldPath) -> Slot {
        guard case .open(var value, var index) = slot else { return slot }
        while true {
            switch value {
            case .array(let array):
                // A position in the path picks one element instead of spreading the array.
                if index < path.components.count, let position = path.components[index].index,
                    let element = array[position]
                {
                    value = element
                    index += 1
                    if index == path.components.count {
                        foundAny = true
                        return .done(element)
                    }
                } else {
                    return .open(value, index)
                }
            case .document(let document) where index < path.components.count:
                guard let inner = document[path.components[index].name] else { return .done(.null) }
                value = inner
                index += 1
                if index == path.components.count {
                    if case .array = inner { continue }
                    foundAny = true
                    return .done(inner)
                }
            default: return .done(.null)
            }
        }
    }
}
