import CairnBSON
import CairnQuery

extension IndexState {
    /// The keys of a document's entries, sorted and without repetition, and whether an array is the cause of them.
    ///
    /// - Parameters:
    ///   - document: the document; it has no entries when it is sparse or partial and the document is not meant.
    ///   - record: the key of the document's record.
    /// - Throws: ``QueryError`` 171 for two arrays, 16766 for one under a hashed index, 17280 for an entry that is too long.
    func entries(of document: Document, record: [UInt8], bytesMax: Int) throws -> (keys: [[UInt8]], multikey: Bool) {
        let (values, isMultikey) = try extractor.extract(from: document)
        var keys: [[UInt8]] = []
        keys.reserveCapacity(values.count)
        for fields in values {
            var key = prefix
            key.reserveCapacity(prefix.count + record.count + 16 * fields.count)
            extractor.append(fields, to: &key)
            key.append(contentsOf: record[KeySpace.prefixBytes...])
            guard key.count <= bytesMax else {
                throw QueryError(
                    ErrorCode(17280), "key of \(key.count) bytes is too large for index \(descriptor.name)")
            }
            keys.append(key)
        }
        guard keys.count > 1 else { return (keys, isMultikey) }
        keys.sort { ByteOrder.compare($0, $1[...]) < 0 }
        var distinct: [[UInt8]] = []
        distinct.reserveCapacity(keys.count)
        for key in keys where distinct.last != key { distinct.append(key) }
        // A wildcard index has several entries of a document without any array.
        return (distinct, isMultikey || extractor.wildcard == nil)
    }

    /// The part of an entry that a unique index allows once: everything before slot and `_id`.
    func uniquePart(of entry: [UInt8], record: [UInt8]) -> ArraySlice<UInt8> {
        entry.dropLast(record.count - KeySpace.prefixBytes)
    }

    /// The error of a second document with the same fields.
    ///
    /// - Parameters:
    ///   - entry: of the document that came second.
    ///   - document: that document, whose fields the message shows.
    func duplicate(_ entry: [UInt8], of document: Document, namespace: String) -> QueryError {
        // Of several keys the one that collided is shown.
        let keys = (try? extractor.keys(of: document)) ?? []
        let collided = keys.first { entry[prefix.count...].starts(with: extractor.encode($0)) }
        return .duplicateKey(
            namespace: namespace, index: descriptor.name, pattern: descriptor.key,
            value: extractor.keyValueDocument(collided ?? keys.first ?? []))
    }
}

extension QueryError {
    /// MongoDB's error 11000.
    static func duplicateKey(namespace: String, index: String, pattern: Document, value: Document) -> QueryError {
        var text = ""
        for element in value {
            text += text.isEmpty ? "" : ", "
            text += "\(element.name): \(element.value)"
        }
        var details = DocumentBuilder()
        details.append("keyPattern", pattern)
        details.append("keyValue", value)
        return QueryError(
            .duplicateKey, "E11000 duplicate key error collection: \(namespace) index: \(index) dup key: { \(text) }",
            details: details.finish())
    }
}
