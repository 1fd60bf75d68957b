import CairnBSON
import CairnDefects
import CairnQuery

/// What a change of one document does to the index entries of its collection, worked out before anything is written.
struct IndexChanges {
    var added: [[UInt8]] = []
    var removed: [[UInt8]] = []
    /// Indexes that have to be marked, because the document gives them several entries for the first time.
    var newlyMultikey: [IndexID] = []
}

extension Evaluator {
    /// Compares the entries of `old` and `new`, which have the same record key, and checks uniqueness against the tip.
    ///
    /// - Parameters:
    ///   - old: nil for an insertion.
    ///   - new: nil for a deletion.
    ///   - touched: the paths that may differ, when that is known; indexes that have nothing to do with them are left out.
    /// - Throws: ``QueryError`` 11000 when a unique index has another document under one of the new entries.
    func indexChanges(
        _ collection: CollectionState, record: [UInt8], old: Document?, new: Document?, touched: [String]? = nil
    ) throws -> IndexChanges {
        var changes = IndexChanges()
        for index in collection.indexes {
            if let touched, !index.extractor.mayChange(with: touched) { continue }
            let bytesMax = options.indexEntryBytesMax
            let before = try old.map { try index.entries(of: $0, record: record, bytesMax: bytesMax).keys } ?? []
            var after: [[UInt8]] = []
            if let new {
                let entries = try index.entries(of: new, record: record, bytesMax: bytesMax)
                after = entries.keys
                if entries.multikey, !index.flags.contains(.multikey) { changes.newlyMultikey.append(index.id) }
            }
            if before == after { continue }
            let firstAdded = changes.added.count
            difference(before, after, &changes)
            guard index.descriptor.isUnique, let new else { continue }
            for entry in changes.added[firstAdded...] where try isTaken(index, entry, record: record) {
                throw index.duplicate(entry, of: new, namespace: collection.descriptor.namespace)
            }
        }
        return changes
    }

    /// Whether another document has an entry with the same fields.
    func isTaken(_ index: IndexState, _ entry: [UInt8], record: [UInt8]) throws -> Bool {
        let fields = index.uniquePart(of: entry, record: record)
        guard let upper = ByteOrder.successor(ofPrefix: fields) else { return false }
        let cursor = try view.range(lower: fields, upper: upper[...])
        while try cursor.next() {
            // Encoded values end where they say, so what begins with these fields has exactly these fields.
            if ByteOrder.compare(cursor.key, entry[...]) != 0 { return true }
        }
        return false
    }

    /// Both are sorted and free of repetitions.
    private func difference(_ before: [[UInt8]], _ after: [[UInt8]], _ changes: inout IndexChanges) {
        var old = before.startIndex
        var new = after.startIndex
        while old < before.count || new < after.count {
            let order =
                old == before.count
                ? 1 : new == after.count ? -1 : ByteOrder.compare(before[old], after[new][...])
            if order < 0 {
                changes.removed.append(before[old])
                old += 1
            } else if order > 0 {
                changes.added.append(after[new])
                new += 1
            } else {
                old += 1
                new += 1
            }
        }
    }

    /// Writes a document with the changes of its index entries; nil deletes it.
    func write(
        _ collection: CollectionState, record: [UInt8], document: Document?, _ changes: IndexChanges
    ) throws {
        for id in changes.newlyMultikey {
            let flags = catalog.flags(of: collection.id, id).union(.multikey)
            try putSystem(.indexFlags(collection.id, id), [flags.rawValue])
        }
        if !options.defects.contains(.leaveOldIndexEntries) { for entry in changes.removed { delete(entry) } }
        for entry in changes.added { put(entry, []) }
        if let document { put(record, document.bytes) } else { delete(record) }
    }
}
