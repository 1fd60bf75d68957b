import CairnBSON

/// Which values of a document a wildcard index takes in, and under which keys.
///
/// Every value that is no document has a key `(path, value)`, where the path is written with dots and without positions:
/// the elements of an array are kept under the array's path, documents among them are gone into, and an array inside an
/// array is one value. An empty document is kept as it is, an empty array as undefined. A field that is missing has no
/// key, so what a missing field would match cannot be found here.
///
/// - Invariant: exactly one of a subtree (`a.$**`) and a projection limits the paths; `_id` is out unless it is named.
public struct WildcardPaths: Sendable {
    /// The whole document is below it when nil.
    let subtree: FieldPath?
    /// The paths of the projection.
    private let listed: [FieldPath]
    /// Whether the listed paths are those that are in, or those that are out.
    private let isInclusion: Bool
    private let includesID: Bool

    /// Documents nested deeper are kept whole, so that no document exhausts the stack.
    private static let depthMax = 200

    /// - Returns: nil when the pattern is not that of a wildcard index.
    /// - Throws: code 2, 9, 67 or 238 for what cannot be such an index.
    init?(pattern: Document, projection: Document?) throws(QueryError) {
        let wild = pattern.filter { $0.name == "$**" || $0.name.string.hasSuffix(".$**") }
        guard let field = wild.first else {
            if projection != nil {
                throw QueryError(
                    .badValue, "The field 'wildcardProjection' is only allowed in an 'wildcard' index")
            }
            return nil
        }
        guard wild.count == 1 else {
            throw QueryError(.cannotCreateIndex, "Wildcard indexes can contain only one wildcard field")
        }
        guard pattern.count == 1 else {
            throw QueryError(.notImplemented, "compound wildcard indexes are not supported")
        }
        guard field.value.isNumber else {
            throw QueryError(.cannotCreateIndex, "Wildcard index fields must be numbers, not \(field.value.type.alias)")
        }
        let name = field.name.string
        if name == "$**" {
            subtree = nil
        } else {
            do {
                subtree = try FieldPath(String(name.dropLast(4)))
            } catch {
                throw QueryError(.cannotCreateIndex, "Index keys cannot contain an empty field.")
            }
            if subtree!.components.contains(where: { $0.name.utf8.first == 0x24 }) {
                throw QueryError(
                    .cannotCreateIndex, "Index key contains an illegal field name: field name starts with '$'.")
            }
        }
        guard let projection else {
            listed = []
            isInclusion = false
            includesID = subtree != nil
            return
        }
        guard subtree == nil else {
            throw QueryError(
                .failedToParse, "The field 'wildcardProjection' is only allowed when 'key' is {\"$**\": ±1}")
        }
        guard !projection.isEmpty else {
            throw QueryError(.failedToParse, "The 'wildcardProjection' field can't be an empty object")
        }
        (listed, isInclusion, includesID) = try Self.parse(projection)
    }

    private static func parse(_ projection: Document) throws(QueryError) -> ([FieldPath], Bool, Bool) {
        var included: [FieldPath] = []
        var excluded: [FieldPath] = []
        var includesID: Bool?
        func collect(_ document: Document, _ prefix: String, depth: Int) throws(QueryError) {
            guard depth < 100 else { throw QueryError(.overflow, "wildcardProjection is nested too deeply") }
            for element in document {
                let name = prefix + element.name.string
                switch element.value {
                case .bool, .int32, .int64, .double, .decimal128:
                    let path = try FieldPath(name)
                    if path.components.contains(where: { $0.name.utf8.first == 0x24 }) {
                        throw QueryError(.failedToParse, "wildcardProjection: '\(name)' is no path of a field")
                    }
                    if name == "_id" {
                        includesID = element.value.isTruthy
                    } else if element.value.isTruthy {
                        included.append(path)
                    } else {
                        excluded.append(path)
                    }
                case .document(let inner) where !inner.isEmpty: try collect(inner, name + ".", depth: depth + 1)
                default:
                    throw QueryError(
                        .failedToParse, "wildcardProjection may only include or exclude fields: \(name)")
                }
            }
        }
        try collect(projection, "", depth: 0)
        guard included.isEmpty || excluded.isEmpty else {
            throw QueryError(
                .failedToParse, "wildcardProjection cannot both include and exclude fields, except for '_id'")
        }
        // `{_id: 1}` alone is an inclusion of `_id` and nothing else.
        let isInclusion = !included.isEmpty || (excluded.isEmpty && includesID == true)
        return (isInclusion ? included : excluded, isInclusion, includesID ?? false)
    }

    // MARK: - Which paths

    /// Whether every value at `path`, and with `below` everything under it, has a key.
    func covers(_ path: FieldPath, below: Bool) -> Bool {
        // A position in a path is no part of a key's path.
        if path.components.contains(where: { $0.index != nil }) { return false }
        if let subtree { return Self.begins(path, with: subtree) }
        if path.head == "_id" { return includesID }
        if isInclusion { return listed.contains { Self.begins(path, with: $0) } }
        return !listed.contains { Self.begins(path, with: $0) || (below && Self.begins($0, with: path)) }
    }

    func mayChange(with touched: [String]) -> Bool {
        guard let subtree else { return true }
        return touched.contains { $0.prefix { $0 != "." } == subtree.head.string }
    }

    private static func begins(_ path: FieldPath, with prefix: FieldPath) -> Bool {
        path.components.count >= prefix.components.count
            && zip(path.components, prefix.components).allSatisfy { $0.name == $1.name }
    }

    // MARK: - Keys

    /// The keys of a document, and whether one of them comes out of an array.
    func keys(of document: Document) -> (keys: [[Value]], isMultikey: Bool) {
        var walk = Walk(paths: self)
        walk.enter(document, [], "", depth: 0)
        guard walk.isMultikey else { return (walk.keys, false) }
        var seen: Set<[Value]> = []
        return (walk.keys.filter { seen.insert($0).inserted }, true)
    }

    private enum Verdict { case all, some, none }

    /// What of the values at and below the path of these names is taken in.
    private func verdict(_ names: [BSONString]) -> Verdict {
        func begins(_ longer: some Collection<BSONString>, _ shorter: some Collection<BSONString>) -> Bool {
            longer.count >= shorter.count && zip(longer, shorter).allSatisfy { $0 == $1 }
        }
        func compare(_ path: FieldPath, whenIn: Verdict) -> Verdict {
            let wanted = path.components.map(\.name)
            if begins(names, wanted) { return whenIn }
            return begins(wanted, names) ? .some : .none
        }
        if let subtree { return compare(subtree, whenIn: .all) }
        if names[0] == "_id" { return includesID ? .all : .none }
        var isPartly = false
        for path in listed {
            switch compare(path, whenIn: .all) {
            case .all: return isInclusion ? .all : .none
            case .some: isPartly = true
            case .none: break
            }
        }
        if isPartly { return .some }
        return isInclusion ? .none : .all
    }

    private struct Walk {
        let paths: WildcardPaths
        var keys: [[Value]] = []
        var isMultikey = false

        /// Goes through the fields of a document at a path.
        mutating func enter(_ document: Document, _ names: [BSONString], _ prefix: String, depth: Int) {
            for element in document {
                let inner = names + [element.name]
                let verdict = paths.verdict(inner)
                if verdict == .none { continue }
                visit(element.value, inner, prefix + element.name.string, takesLeaves: verdict == .all, depth: depth)
            }
        }

        private mutating func visit(
            _ value: Value, _ names: [BSONString], _ path: String, takesLeaves: Bool, depth: Int
        ) {
            switch value {
            case .document(let document) where !document.isEmpty && depth < WildcardPaths.depthMax:
                enter(document, names, path + ".", depth: depth + 1)
            case .array(let array):
                isMultikey = true
                if array.isEmpty { take(.undefined, path, takesLeaves) }
                for element in array {
                    if case .document(let document) = element, !document.isEmpty, depth < WildcardPaths.depthMax {
                        enter(document, names, path + ".", depth: depth + 1)
                    } else {
                        take(element, path, takesLeaves)
                    }
                }
            default: take(value, path, takesLeaves)
            }
        }

        private mutating func take(_ value: Value, _ path: String, _ takesLeaves: Bool) {
            // Between an excluded and an included path a value is in only when the projection excludes.
            guard takesLeaves || (!paths.isInclusion && paths.subtree == nil) else { return }
            keys.append([.string(BSONString(path)), value])
        }
    }
}
