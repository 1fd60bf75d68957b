import CairnBSON
import CairnQuery
import CairnStorage

// The order of a capped collection, kept with every change of its documents. What a change needs to know is read before
// anything is written; so each comes in two halves.
extension Evaluator {
    /// What the insertion of a document does to the order.
    struct CappedInsertion {
        fileprivate var state: CappedOrder.State
        /// Those that make room, oldest first; documents are there only when they have index entries.
        fileprivate var evicted: [(sequence: UInt64, record: [UInt8], document: Document?)] = []
    }

    /// Documents that one insertion may push out. More are to go only after the limits were lowered; the insertions that
    /// follow see to the rest.
    private static let evictionsMax = 10_000

    /// - Throws: ``QueryError`` 2 when the document is larger than the collection may be.
    func makeRoom(for document: Document, in collection: CollectionState) throws -> CappedInsertion? {
        guard let limits = collection.cappedLimits else { return nil }
        guard document.byteCount <= limits.bytes else {
            throw QueryError(.badValue, "object to insert exceeds cappedMaxSize")
        }
        var insertion = CappedInsertion(state: try view.cappedState(collection.id))
        var state = insertion.state
        state.count += 1
        state.bytes += UInt64(document.byteCount)
        func isOver(_ state: CappedOrder.State) -> Bool {
            state.bytes > UInt64(limits.bytes) || limits.documents.map { state.count > UInt64($0) } ?? false
        }
        if isOver(state) {
            let lower = CappedOrder.orderKey(collection.id, state.first)
            let upper = CappedOrder.orderKey(collection.id, state.next)
            let cursor = try view.range(lower: lower[...], upper: upper[...])
            while isOver(state), insertion.evicted.count < Self.evictionsMax, try cursor.next() {
                let entry = try CappedOrder.Entry(decoding: cursor.value)
                let record = entry.recordKey(collection.id)
                var old: Document?
                if !collection.indexes.isEmpty { old = try view.get(record[...]).map { Document(trusted: $0) } }
                let sequence = CappedOrder.sequence(ofOrder: cursor.key)
                insertion.evicted.append((sequence, record, old))
                state.first = sequence + 1
                state.count -= 1
                state.bytes -= UInt64(entry.size)
            }
        }
        insertion.state = state
        return insertion
    }

    /// Gives a document that has been stored its place, and takes those away that made room for it.
    func append(
        _ document: Document, record: [UInt8], _ insertion: CappedInsertion, to collection: CollectionState
    ) throws {
        for (sequence, record, document) in insertion.evicted {
            delete(CappedOrder.orderKey(collection.id, sequence))
            delete(CappedOrder.placeKey(collection.id, record: record[...]))
            if let document {
                let changes = try indexChanges(collection, record: record, old: document, new: nil)
                try write(collection, record: record, document: nil, changes)
            } else {
                delete(record)
            }
        }
        var state = insertion.state
        let entry = CappedOrder.Entry(size: document.byteCount, record: record[...])
        put(CappedOrder.orderKey(collection.id, state.next), entry.encoded[...])
        put(CappedOrder.placeKey(collection.id, record: record[...]), SystemKey.bytes(state.next)[...])
        state.next += 1
        put(CappedOrder.stateKey(collection.id), state.encoded[...])
    }

    /// Where a document is that is to be changed or deleted.
    struct CappedPlace {
        fileprivate var state: CappedOrder.State
        fileprivate var sequence: UInt64
    }

    func place(of record: [UInt8], in collection: CollectionState) throws -> CappedPlace? {
        guard collection.cappedLimits != nil else { return nil }
        return CappedPlace(
            state: try view.cappedState(collection.id),
            sequence: try view.cappedSequence(collection.id, record: record[...]))
    }

    /// Notes that a document has another size. What is too much then goes with the next insertion.
    func resize(
        _ old: Document, to new: Document, record: [UInt8], at place: CappedPlace, of collection: CollectionState
    ) {
        guard old.byteCount != new.byteCount else { return }
        var state = place.state
        state.bytes = state.bytes - UInt64(old.byteCount) + UInt64(new.byteCount)
        let entry = CappedOrder.Entry(size: new.byteCount, record: record[...])
        put(CappedOrder.orderKey(collection.id, place.sequence), entry.encoded[...])
        put(CappedOrder.stateKey(collection.id), state.encoded[...])
    }

    /// Takes a document that was deleted out of the order.
    func forget(_ old: Document, record: [UInt8], at place: CappedPlace, of collection: CollectionState) {
        var state = place.state
        state.count -= 1
        state.bytes -= UInt64(old.byteCount)
        if state.first == place.sequence { state.first += 1 }
        delete(CappedOrder.orderKey(collection.id, place.sequence))
        delete(CappedOrder.placeKey(collection.id, record: record[...]))
        put(CappedOrder.stateKey(collection.id), state.encoded[...])
    }
}
