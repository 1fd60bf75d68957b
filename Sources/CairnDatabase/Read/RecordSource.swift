import CairnBSON
import CairnQuery
import CairnStorage

/// Brings the documents that an access path leads to, one at a time.
///
/// Documents in slots that the group does not own (what a move has not deleted yet) are passed over.
final class RecordSource {
    let view: ReadView
    let collection: CollectionState
    let access: Access
    private let ownsEverything: Bool

    /// The record key and the document that ``next()`` has come to.
    private(set) var key: [UInt8] = []
    private(set) var document = Document()
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

    init(view: ReadView, collection: CollectionState, access: Access) {
        self.view = view
        self.collection = collection
        self.access = access
        ownsEverything = collection.owned.isAll
    }

    /// Moves to the next document; false when there is none.
    func next() throws -> Bool {
        switch access {
        case .nothing: return false
        case .records(let keys): return try nextRecord(keys)
        case .index(let index, let bounds, let descending): return try nextEntry(index, bounds, descending)
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
            key = candidate
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
            guard isOwned(cursor.key) else { continue }
            key = Array(cursor.key)
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
        key = record
        document = Document(trusted: value)
        return true
    }

    private func nextEntry(_ index: IndexState, _ bounds: IndexBounds, _ descending: Bool) throws -> Bool {
        while true {
            guard let cursor else {
                guard position < bounds.ranges.count else { return false }
                let range = bounds.ranges[descending ? bounds.ranges.count - 1 - position : position]
                position += 1
                self.cursor = try view.range(
                    lower: range.lower[...], upper: range.upper[...], descending: descending)
                continue
            }
            guard try cursor.next() else {
                self.cursor = nil
                continue
            }
            keysExamined += 1
            try view.limit?.count()
            guard
                let record = KeySpace.recordKey(
                    ofEntry: cursor.key, collection: collection.id, descending: index.descending)
            else {
                throw DatabaseError(.corruption, "an entry of index \(index.descriptor.name) does not decode")
            }
            guard isOwned(record[...]) else { continue }
            if index.isMultikey || bounds.mayRepeat, !seen.insert(record).inserted { continue }
            guard let value = try view.get(record[...]) else {
                throw DatabaseError(
                    .corruption, "an entry of index \(index.descriptor.name) points to a document that is not there")
            }
            documentsExamined += 1
            key = record
            entry = cursor.key
            document = Document(trusted: value)
            return true
        }
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
            key = branch.key
            document = branch.document
            return true
        }
    }
}
