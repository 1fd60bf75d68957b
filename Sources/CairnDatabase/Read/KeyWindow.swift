import CairnBSON
import CairnQuery

/// The stretch of an index that `min` and `max` of a find leave: from one key on, and up to, without it, another.
struct KeyWindow {
    var minimum: Document?
    var maximum: Document?

    /// The keys of an index within.
    ///
    /// - Throws: ``QueryError`` 51174 when a bound names other fields than the index.
    func range(of index: IndexState) throws -> KeyRange {
        guard index.extractor.wildcard == nil else {
            throw QueryError(
                ErrorCode(51174), "min and max cannot be used with the wildcard index \(index.descriptor.name)")
        }
        let end = ByteOrder.successor(ofPrefix: index.prefix) ?? []
        return KeyRange(
            lower: try minimum.map { try key($0, of: index) } ?? index.prefix,
            upper: try maximum.map { try key($0, of: index) } ?? end)
    }

    private func key(_ bound: Document, of index: IndexState) throws -> [UInt8] {
        guard bound.map(\.name.string) == index.paths else {
            throw QueryError(
                ErrorCode(51174), "The hint provided does not work with min or max: \(index.descriptor.name)")
        }
        var key = index.prefix
        index.extractor.append(bound.map(\.value), to: &key)
        return key
    }

    /// A filter that leaves the same documents, for the order of `_id`s, in which no index lies.
    func narrowing(_ filter: Document) throws -> Document {
        var conditions: [Value] = []
        for (bound, comparison) in [(minimum, "$gte"), (maximum, "$lt")] {
            guard let bound else { continue }
            guard bound.count == 1, let id = bound["_id"] else {
                throw QueryError(ErrorCode(51174), "The hint provided does not work with min or max: _id_")
            }
            conditions.append(.document(Document([(comparison, .array(["$_id", ["$literal": id]]))])))
        }
        return [
            "$and": [.document(filter), ["$expr": ["$and": .array(BSONArray(conditions))]]]
        ]
    }
}

extension IndexBounds {
    /// Exactly one stretch of an index.
    init(_ index: IndexState, _ range: KeyRange) {
        self.init(index, .all)
        ranges = ByteOrder.compare(range.lower, range.upper[...]) < 0 ? [range] : []
    }
}
