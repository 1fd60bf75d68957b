import CairnBSON
import CairnQuery
import CairnStorage

/// Brings the documents that an access path leads to, one at a time.
///
/// Documents in slots that the group does not own (what a move has not deleted yet) are passed over.
final class RecordSource {
    let view: ReadView
    let collection: CollectionState
    private let way: Way
    private let ownsEverything: Bool

    /// The document that ``next()`` has come to.
    private(set) var document = Document()
    /// Its record key; nil when it is that of the cursor, of which it is only taken when somebody asks.
    private var foundKey: [UInt8]?
    /// The place of ``document`` in the order of a capped collection that is read in it.
    private(set) var sequence: UInt64 = 0
    /// Index entries and documents that were read, for `explain`.
    private(set) var keysExamined = 0
    private(set) var documentsExamined = 0

    private var position = 0
    private var cursor: RangeCursor?
    private(set) var branch: RecordSource?
    /// Of an index, the entry that led to ``document``.
    private(set) var entry: ArraySlice<UInt8> = []
    /// Records that were given out already, where an access path can meet one twice.
    private var seen: Set<[UInt8]> = []

    /// An access path in a form whose use for one document copies nothing but a reference.
    private enum Way {
        case nothing
        case records([[UInt8]])
        case index(IndexWay)
        case collection(descending: Bool)
        case tail(after: UInt64)
        case union([Access])
    }

    private final class IndexWay {
        let index: IndexState
        let bounds: IndexBounds
        let isDescending: Bool
        /// Whether a record may have several entries that are looked at.
        let mayRepeat: Bool
        /// Of the index, for each field.
        let descending: [Bool]

        init(_ index: IndexState, _ bounds: IndexBounds, descending: Bool) {
            self.index = index
            self.bounds = bounds
            isDescending = descending
            mayRepeat = index.isMultikey || bounds.mayRepeat
            self.descending = index.descending
        }
    }

    init(view: ReadView, collection: CollectionState, access: Access) {
        self.view = view
        self.collection = collection
        way =
            switch access {
            case .nothing: .nothing
            case .records(let keys): .records(keys)
            case .index(let index, let bounds, let descending):
                .index(IndexWay(index, bounds, descending: descending))
            case .collection(let descending): .collection(descending: descending)
            case .tail(let sequence): .tail(after: sequence)
            case .union(let accesses): .union(accesses)
            }
        ownsEverything = collection.owned.isAll
    }

    /// The record key of ``document``.
    var key: [UInt8] { foundKey ?? cursor.map { Array($0.key) } ?? [] }

    /// The index that leads to the documents, if one does.
    var index: IndexState? {
        if case .index(let way) = way { return way.index }
        return nil
    }

    /// Whether the documents are those of certain `_id`s.
    var looksUpRecords: Bool {
        if case .records = way { return true }
        return false
    }

    /// Moves to the next document; false when there is none.
    func next() throws -> Bool {
        switch way {
        case .nothing: return false
        case .records(let keys): return try nextRecord(keys)
        case .index(let index): return try nextEntry(index)
        case .collection(let descending):
            guard collection.cappedLimits == nil else { return try nextInOrder(descending, after: nil) }
            return try nextInCollection(descending)
        case .tail(let sequence): return try nextInOrder(false, after: sequence)
        case .union(let accesses): return try nextInUnion(accesses)
        }
    }

    /// Goes on without the view's limit.
    func liftLimit() {
        view.limit?.lift()
        cursor?.allowDisk()
        branch?.liftLimit()
    }

    private func isOwned(_ key: ArraySlice<UInt8>) -> Bool {
        ownsEverything || collection.owned.contains(KeySpace.slot(ofRecord: key))
    }

    private func nextRecord(_ keys: [[UInt8]]) throws -> Bool {
        while position < keys.count {
            let candidate = keys[position]
            position += 1
            keysExamined += 1
            try view.limit?.count()
            guard isOwned(candidate[...]), let value = try view.get(candidate[...]) else { continue }
            documentsExamined += 1
            foundKey = candidate
            document = Document(trusted: value)
            return true
        }
        return false
    }

    private func nextInCollection(_ descending: Bool) throws -> Bool {
        let cursor: RangeCursor
        if let open = self.cursor {
            cursor = open
        } else {
            let lower = KeySpace.prefix(collection.id, .records)
            let upper = KeySpace.prefix(collection.id, IndexID(1))
            cursor = try view.range(lower: lower[...], upper: upper[...], descending: descending)
            self.cursor = cursor
        }
        while try cursor.next() {
            documentsExamined += 1
            try view.limit?.count()
            guard ownsEverything || isOwned(cursor.key) else { continue }
            document = Document(trusted: cursor.value)
            return true
        }
        return false
    }

    /// The documents of a capped collection in the order of their insertion.
    private func nextInOrder(_ descending: Bool, after: UInt64?) throws -> Bool {
        let cursor: RangeCursor
        if let open = self.cursor {
            cursor = open
        } else {
            // What went before the first is not looked at: the engine may still have its deletions.
            let state = try view.cappedState(collection.id)
            let lower = CappedOrder.orderKey(collection.id, max(state.first, after.map { $0 + 1 } ?? 0))
            let upper = CappedOrder.orderKey(collection.id, max(state.next, after.map { $0 + 1 } ?? 0))
            cursor = try view.range(lower: lower[...], upper: upper[...], descending: descending)
            self.cursor = cursor
        }
        guard try cursor.next() else { return false }
        try view.limit?.count()
        let record = try CappedOrder.Entry(decoding: cursor.value).recordKey(collection.id)
        guard let value = try view.get(record[...]) else {
            throw DatabaseError(.corruption, "a place in the order of a capped collection has no document")
        }
        documentsExamined += 1
        sequence = CappedOrder.sequence(ofOrder: cursor.key)
        foundKey = record
        document = Document(trusted: value)
        return true
    }

    private func nextEntry(_ way: IndexWay) throws -> Bool {
        while let record = try nextOwnEntry(way) {
            if way.mayRepeat, !seen.insert(record).inserted { continue }
            guard let value = try view.get(record[...]) else {
                throw DatabaseError(
                    .corruption,
                    "an entry of index \(way.index.descriptor.name) points to a document that is not there")
            }
            documentsExamined += 1
            foundKey = record
            entry = cursor?.key ?? []
            document = Document(trusted: value)
            return true
        }
        return false
    }

    /// Moves to the next entry of the index, without a look at its document; false when there is none.
    ///
    /// - Precondition: it goes by an index that has one entry a document.
    func nextKey() throws -> Bool {
        guard case .index(let way) = way, !way.mayRepeat else { preconditionFailure("there is not one key a document") }
        return try nextOwnEntry(way) != nil
    }

    /// The record that the next entry of the index is about; nil when there is none.
    private func nextOwnEntry(_ way: IndexWay) throws -> [UInt8]? {
        while let cursor = try moveCursor(way) {
            keysExamined += 1
            try view.limit?.count()
            guard
                let record = KeySpace.recordKey(
                    ofEntry: cursor.key, collection: collection.id, descending: way.descending)
            else {
                throw DatabaseError(.corruption, "an entry of index \(way.index.descriptor.name) does not decode")
            }
            if isOwned(record[...]) { return record }
        }
        return nil
    }

    /// The cursor at the next entry in the ranges of the index; nil when there is none.
    private func moveCursor(_ way: IndexWay) throws -> RangeCursor? {
        let ranges = way.bounds.ranges
        if ranges.count > 1, !way.isDescending { return try moveThrough(ranges) }
        while true {
            if let cursor {
                if try cursor.next() { return cursor }
                self.cursor = nil
            }
            guard position < ranges.count else { return nil }
            let range = ranges[way.isDescending ? ranges.count - 1 - position : position]
            position += 1
            cursor = try view.range(lower: range.lower[...], upper: range.upper[...], descending: way.isDescending)
        }
    }

    /// One cursor for several ranges, which ascend: a search for the next costs less than another cursor.
    private func moveThrough(_ ranges: [KeyRange]) throws -> RangeCursor? {
        let cursor: RangeCursor
        if let open = self.cursor {
            cursor = open
        } else {
            cursor = try view.range(lower: ranges[0].lower[...], upper: ranges[ranges.count - 1].upper[...])
            self.cursor = cursor
        }
        guard try cursor.next() else { return nil }
        while position < ranges.count {
            if ByteOrder.compare(ranges[position].upper, cursor.key) <= 0 {
                position += 1
            } else if ByteOrder.compare(ranges[position].lower, cursor.key) <= 0 {
                return cursor
            } else {
                try cursor.skip(to: ranges[position].lower[...])
                guard try cursor.next() else { return nil }
            }
        }
        return nil
    }

    private func nextInUnion(_ accesses: [Access]) throws -> Bool {
        while true {
            guard let branch else {
                guard position < accesses.count else { return false }
                self.branch = RecordSource(view: view, collection: collection, access: accesses[position])
                position += 1
                continue
            }
            let before = (branch.keysExamined, branch.documentsExamined)
            let found = try branch.next()
            keysExamined += branch.keysExamined - before.0
            documentsExamined += branch.documentsExamined - before.1
            guard found else {
                self.branch = nil
                continue
            }
            guard seen.insert(branch.key).inserted else { continue }
            foundKey = branch.key
            document = branch.document
            return true
        }
    }
}
