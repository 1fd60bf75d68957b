import CairnBSON
import CairnQuery
import CairnStorage

// What led to a document, for those who want to see it (`returnKey`, `showRecordId`).
extension RecordSource {
    /// The key of the index entry that led to the document at hand; empty where no index did.
    func currentKey() throws -> Document {
        if let branch { return try branch.currentKey() }
        guard let index else { return key(of: document) }
        let keys = try index.extractor.keys(of: document)
        let found = keys.first { key in
            ByteOrder.hasPrefix(entry[...], (index.prefix + index.extractor.encode(key))[...])
        }
        return index.extractor.keyValueDocument(found ?? [])
    }

    /// A key of a document that came before: the only one, unless there are arrays.
    func key(of document: Document) -> Document {
        if let index {
            return index.extractor.keyValueDocument((try? index.extractor.keys(of: document).first) ?? [])
        }
        return looksUpRecords ? document["_id"].map { ["_id": $0] } ?? Document() : Document()
    }

    /// What names the place of a document: its number in the order of a capped collection; elsewhere, where documents are
    /// filed under slot and `_id`, those.
    func recordID(of document: Document) throws -> Value {
        let record = KeySpace.recordKey(collection.id, id: document["_id"] ?? .null)
        if collection.cappedLimits != nil {
            return .int64(Int64(try view.cappedSequence(collection.id, record: record[...])))
        }
        return .binary(Binary(record[KeySpace.prefixBytes...]))
    }
}
