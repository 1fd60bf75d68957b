import CairnBSON

/// The order that a `sort` document asks for.
///
/// A path through an array sorts by its least element, or its greatest when descending; a missing field sorts as
/// null, an empty array before it.
public struct SortSpecification: Sendable {
    struct Part: Sendable {
        let path: FieldPath
        let isDescending: Bool
    }

    public let source: Document
    let parts: [Part]
    /// The direction of `{$natural: 1}` or `-1`, the order in which documents are stored, when that was asked for.
    public let natural: Int?
    private let keys: IndexKeyExtractor
    /// How strings are compared; nil for by their bytes.
    public let collation: Collation?

    /// - Throws: code 15974 and its neighbours for what is no sort order.
    public init(parsing document: Document, collation: Collation? = nil) throws(QueryError) {
        source = document
        self.collation = collation
        var parts: [Part] = []
        for element in document {
            let name = element.name.string
            switch element.value {
            case .document(let inner) where inner.contains("$meta"):
                throw QueryError(.badValue, "$meta sort is not supported: there is no text index")
            case .document, .array:
                throw QueryError(ErrorCode(15974), "Illegal key in $sort specification: \(name): \(element.value)")
            default: break
            }
            guard let direction = element.value.int64Exactly, direction == 1 || direction == -1 else {
                throw QueryError(
                    ErrorCode(15975), "$sort key ordering must be 1 (for ascending) or -1 (for descending)")
            }
            if name == "$natural" && document.count == 1 {
                natural = Int(direction)
                self.parts = []
                keys = IndexKeyExtractor(paths: [])
                return
            }
            if name == "$natural" { throw QueryError(.badValue, "$natural sort cannot be combined with other keys") }
            guard !name.isEmpty else {
                throw QueryError(.emptyFieldPathComponent, "FieldPath cannot be constructed with empty string")
            }
            parts.append(Part(path: try ExpressionParser.fieldPath(name), isDescending: direction == -1))
        }
        guard parts.count <= 32 else { throw QueryError(.badValue, "too many compound keys") }
        self.parts = parts
        natural = nil
        keys = IndexKeyExtractor(paths: parts.map(\.path))
    }

    /// True for `{}`: no order asked for.
    public var isEmpty: Bool { parts.isEmpty }

    /// The paths and directions, for matching with an index.
    public var fields: [(path: String, isDescending: Bool)] { parts.map { ($0.path.string, $0.isDescending) } }

    /// The values that the document is sorted by, one a field; keys in the place of strings under a collation.
    ///
    /// - Throws: code 2 when two fields of the order lie in different arrays of the document.
    public func keyValues(of document: Document) throws(QueryError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(parts.count)
        for part in parts {
            switch part.path.plainValue(in: document) {
            case .value(let value): values.append(value)
            case .missing: values.append(.null)
            case .array: return try leastKey(of: document)
            }
        }
        return collation.map { values.map($0.folded) } ?? values
    }

    private func leastKey(of document: Document) throws(QueryError) -> [Value] {
        var candidates: [[Value]]
        do {
            candidates = try keys.keys(of: document)
        } catch {
            guard error.code == .cannotIndexParallelArrays else { throw error }
            throw QueryError(.badValue, "cannot sort with keys that are parallel arrays")
        }
        if let collation { candidates = candidates.map { $0.map(collation.folded) } }
        guard var least = candidates.first else { return parts.map { _ in .null } }
        for candidate in candidates.dropFirst() where compare(values: candidate, least) < 0 { least = candidate }
        return least
    }

    /// Less than 0 when the first document goes first.
    public func compare(_ left: Document, _ right: Document) throws(QueryError) -> Int {
        compare(values: try keyValues(of: left), try keyValues(of: right))
    }

    /// Compares what ``keyValues(of:)`` gave.
    public func compare(values left: [Value], _ right: [Value]) -> Int {
        for index in parts.indices {
            let order = Value.compare(left[index], right[index])
            if order != 0 { return parts[index].isDescending ? -order : order }
        }
        return 0
    }

    /// Bytes that order as the documents do, so that streams from several places can be merged by comparing bytes.
    public func sortKey(of document: Document) throws(QueryError) -> [UInt8] {
        encode(try keyValues(of: document))
    }

    /// The bytes of ``sortKey(of:)`` for values that ``keyValues(of:)`` gave.
    public func encode(_ values: [Value]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16 * parts.count)
        for index in parts.indices {
            KeyEncoding.append(values[index], descending: parts[index].isDescending, to: &bytes)
        }
        return bytes
    }
}

/// How `$sortArray` and `$push` with `$sort` order elements: as wholes, or by fields of documents.
enum ArrayOrder: Sendable {
    case wholes(isDescending: Bool, Collation?)
    case fields(SortSpecification)

    func sorted(_ values: [Value]) throws(QueryError) -> [Value] {
        switch self {
        case .wholes(let isDescending, let collation):
            let keyed = values.map { (key: collation?.folded($0) ?? $0, value: $0) }
            return try Self.stablySorted(keyed) { left, right in
                let order = Value.compare(left.key, right.key)
                return isDescending ? order > 0 : order < 0
            }.map(\.value)
        case .fields(let specification):
            var keyed: [(key: [Value], value: Value)] = []
            for value in values {
                let document = value.asDocument ?? Document()
                try WorkMeter.count(8)
                keyed.append((try specification.keyValues(of: document), value))
            }
            return try Self.stablySorted(keyed) { specification.compare(values: $0.key, $1.key) < 0 }.map(\.value)
        }
    }

    /// The standard library's sort keeps the order of equals but does not promise to.
    private static func stablySorted<T>(_ values: [T], by goesFirst: (T, T) -> Bool) throws(QueryError) -> [T] {
        var order = Array(values.indices)
        try order.meteredSort(steps: 8) { left, right in
            if goesFirst(values[left], values[right]) { return true }
            if goesFirst(values[right], values[left]) { return false }
            return left < right
        }
        return order.map { values[$0] }
    }
}
