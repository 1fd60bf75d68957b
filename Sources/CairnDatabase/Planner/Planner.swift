import CairnBSON
import CairnQuery
import CairnStorage

/// How the documents that may match are found. The whole filter is asked again about each of them.
enum Access {
    /// Nothing can match.
    case nothing
    /// The documents with these record keys, which are sorted.
    case records([[UInt8]])
    /// The entries of an index.
    case index(IndexState, IndexBounds, descending: Bool)
    /// Everything, in the order of slots.
    case collection(descending: Bool)
    /// What came into a capped collection after the document of that sequence, in the order of insertion.
    case tail(after: UInt64)
    /// One after the other, each document once.
    indirect case union([Access])
}

/// A way to answer a query.
struct Plan {
    var access: Access
    /// Whether documents come in the order that the query asks for.
    var providesSort: Bool

    /// Whether the access leads to no document that does not match.
    var isExact: Bool {
        if case .index(_, let bounds, _) = access { return bounds.isExact }
        return false
    }
}

/// Chooses how to find documents.
///
/// The rules, in this order: an `_id` that is named is looked up. Of the indexes whose first field the filter bounds, the
/// one with the most fields pinned to values is taken, then one with a range behind them, then one that gives the order
/// asked for, then the shortest. Without such an index, one that gives the order; else `$or`, branch by branch; else
/// everything is scanned. There are no statistics, so the choice depends on the query and the catalog alone and is the
/// same on every replica.
struct Planner {
    let collection: CollectionState
    /// nil: the newest state, where each ready index may be used.
    let readVersion: Version?
    /// How the query compares strings; nil for by their bytes.
    var collation: Collation?

    /// - Parameter window: what of the hinted index is to be looked at; nil for what the filter leaves.
    func plan(_ filter: Filter, sort: SortSpecification?, hint: Value?, window: KeyWindow? = nil) throws -> Plan {
        let sort = sort.flatMap { $0.isEmpty ? nil : $0 }
        if window != nil, hint == nil {
            throw QueryError(
                ErrorCode(51173), "When using min()/max() a hint of which index to use must be provided")
        }
        if let hint { return try hinted(filter, sort, hint, window) }
        if let access = recordAccess(filter) {
            // One document is in every order.
            if case .records(let keys) = access, keys.count > 1 {
                return Plan(access: access, providesSort: sort == nil)
            }
            return Plan(access: access, providesSort: true)
        }
        if let plan = bestIndex(filter, sort) { return plan }
        if let branches = filter.orBranches {
            let accesses = branches.compactMap { recordAccess($0) ?? bestIndex($0, nil)?.access }
            if accesses.count == branches.count, !accesses.isEmpty {
                return Plan(access: .union(accesses), providesSort: sort == nil)
            }
        }
        return Plan(access: .collection(descending: false), providesSort: sort == nil)
    }

    /// Ids that are looked for in every group, so that its plan shows what it was asked for.
    private static let fewIDs = 64

    private func recordAccess(_ filter: Filter) -> Access? {
        guard let ids = filter.idIn else { return nil }
        if ids.isEmpty { return .nothing }
        var keys: [[UInt8]] = []
        var scratch: [UInt8] = []
        for id in ids {
            let slot = KeySpace.makeRecordKey(collection.id, id: id, in: &scratch)
            // Of many, most are other groups'.
            if ids.count <= Self.fewIDs || collection.owned.contains(slot) { keys.append(Array(scratch)) }
        }
        guard keys.count > 1 else { return keys.isEmpty ? .nothing : .records(keys) }
        keys.sort { ByteOrder.compare($0, $1[...]) < 0 }
        var distinct: [[UInt8]] = []
        for key in keys where distinct.last != key { distinct.append(key) }
        return .records(distinct)
    }

    // MARK: - Indexes

    private struct Candidate {
        let index: IndexState
        let bounds: IndexBounds
        /// nil: does not give the order.
        let sortDescending: Bool?

        /// Larger is better.
        var score: (Int, Int, Int, Int) {
            // Each entry of a wildcard index has the path before the value.
            let length = index.extractor.wildcard == nil ? index.paths.count : 2
            return (bounds.pointFields, bounds.hasRange ? 1 : 0, sortDescending == nil ? 0 : 1, -length)
        }
    }

    private func bestIndex(_ filter: Filter, _ sort: SortSpecification?) -> Plan? {
        var best: Candidate?
        for index in collection.indexes where isUsable(index) {
            if index.extractor.wildcard != nil, sort != nil, filter.isAlwaysTrue { continue }
            let bounds = IndexBounds(index, filter)
            guard covers(index, bounds, filter) else { continue }
            let candidate = Candidate(index: index, bounds: bounds, sortDescending: direction(index, bounds, sort))
            guard bounds.isBounded || (sort != nil && candidate.sortDescending != nil) else { continue }
            if let best, best.score >= candidate.score { continue }
            best = candidate
        }
        return best.map { plan($0, sort) }
    }

    private func plan(_ candidate: Candidate, _ sort: SortSpecification?) -> Plan {
        guard !candidate.bounds.ranges.isEmpty else { return Plan(access: .nothing, providesSort: true) }
        return Plan(
            access: .index(candidate.index, candidate.bounds, descending: candidate.sortDescending ?? false),
            providesSort: sort == nil || candidate.sortDescending != nil)
    }

    private func isUsable(_ index: IndexState) -> Bool {
        index.isReady && !index.descriptor.isHidden && (readVersion.map { $0 >= index.readySince } ?? true)
    }

    /// Whether every document that matches is in the index.
    private func covers(_ index: IndexState, _ bounds: IndexBounds, _ filter: Filter) -> Bool {
        // A wildcard index has no entry of a document that lacks the path.
        if index.extractor.wildcard != nil, !bounds.isBounded { return false }
        // A document with none of a sparse index's fields is not in it; one that has the first field is.
        if index.descriptor.isSparse, !bounds.isBounded || bounds.includesMissing { return false }
        guard let partial = index.extractor.partialFilter else { return true }
        return filter.implies(partial)
    }

    /// Whether the index gives the order read backwards (true) or forwards (false); nil when it does not give it.
    private func direction(_ index: IndexState, _ bounds: IndexBounds, _ sort: SortSpecification?) -> Bool? {
        guard let sort, !index.isMultikey, bounds.isSinglePrefix, !bounds.mayRepeat, index.collation == collation else {
            return nil
        }
        if index.extractor.wildcard != nil {
            guard sort.fields.count == 1, sort.fields[0].path == bounds.paths[1] else { return nil }
            return index.descending[1] != sort.fields[0].isDescending
        }
        let pinned = Set(index.paths.prefix(bounds.pointFields))
        var field = 0
        var isReversed: Bool?
        for wanted in sort.fields where !pinned.contains(wanted.path) {
            while field < index.paths.count, pinned.contains(index.paths[field]) { field += 1 }
            guard field < index.paths.count, index.paths[field] == wanted.path,
                field != index.extractor.hashedField
            else { return nil }
            let reversed = index.descending[field] != wanted.isDescending
            if let isReversed, isReversed != reversed { return nil }
            isReversed = reversed
            field += 1
        }
        return isReversed ?? false
    }

    // MARK: - Hints

    /// Whether a hint names the index on `_id`, in whose place the documents themselves are.
    static func meansID(_ hint: Value?) -> Bool {
        switch hint {
        case .string(let name)?: name == "_id_"
        case .document(let pattern)?: pattern.count == 1 && pattern["_id"]?.isNumber == true
        default: false
        }
    }

    private func hinted(
        _ filter: Filter, _ sort: SortSpecification?, _ hint: Value, _ window: KeyWindow?
    ) throws -> Plan {
        if case .document(let pattern) = hint, let natural = pattern["$natural"] {
            let isBackwards = (natural.numericDouble ?? 1) < 0
            return Plan(access: .collection(descending: isBackwards), providesSort: sort == nil)
        }
        guard hint.asString != nil || hint.asDocument != nil else {
            throw QueryError(.failedToParse, "hint must be a string or an object")
        }
        if Self.meansID(hint) {
            let access = recordAccess(filter) ?? .collection(descending: false)
            return Plan(access: access, providesSort: sort == nil)
        }
        let hinted = collection.indexes.filter { index in
            switch hint {
            case .string(let name): name == index.descriptor.name
            case .document(let pattern): Value.document(pattern) == .document(index.descriptor.key)
            default: false
            }
        }
        guard hinted.count <= 1 else {
            throw QueryError(
                .badValue, "Hint matched multiple indexes, must hint by index name: \(hint)")
        }
        let index = hinted.first
        guard let index, isUsable(index) else {
            throw QueryError(
                .badValue,
                "error processing query: planner returned error :: caused by :: hint provided does not correspond to an "
                    + "existing index")
        }
        if let window {
            let bounds = IndexBounds(index, try window.range(of: index))
            return plan(
                Candidate(index: index, bounds: bounds, sortDescending: direction(index, bounds, sort)), sort)
        }
        let bounds = IndexBounds(index, filter)
        guard index.extractor.wildcard == nil || bounds.isBounded else {
            throw QueryError(
                .noQueryExecutionPlans,
                "error processing query: planner returned error :: caused by :: the hinted wildcard index has no key for "
                    + "what the filter asks for")
        }
        return plan(Candidate(index: index, bounds: bounds, sortDescending: direction(index, bounds, sort)), sort)
    }
}
