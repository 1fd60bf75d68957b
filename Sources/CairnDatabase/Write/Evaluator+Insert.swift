import CairnBSON
import CairnQuery
import CairnStorage

extension Evaluator {
    func insert(
        _ request: GroupRequest, _ collection: CollectionState, _ context: EvaluationContext
    ) throws -> GroupReply {
        var run = try beginStatements(request, context)
        var keys: [[UInt8]?] = []
        if request.documents.count > 1 {
            // All or none of a request meets this group's slots, so that a stale sender repeats the whole of it.
            keys.reserveCapacity(request.documents.count)
            for document in request.documents { keys.append(try recordKeyForInsertion(of: document, into: collection)) }
        }
        let isAbsent = try lookAhead(keys)
        for (index, document) in request.documents.enumerated() {
            if run.isStopped { break }
            if run.earlierResult(index) != nil {
                run.count(index, StatementResult())
                continue
            }
            try statement(index, of: &run, context) { run throws in
                let key =
                    try (index < keys.count ? keys[index] : nil)
                    ?? recordKeyForInsertion(of: document, into: collection)
                guard let key else { throw Self.badID(document) }
                try insert(
                    document, record: key, into: collection, isAbsent: index < isAbsent.count && isAbsent[index])
                run.count(index, StatementResult())
                run.executed(index, StatementResult())
            }
        }
        run.flush(into: self)
        return run.reply(counts: false)
    }

    /// The key of a new document's record; nil when its `_id` cannot be one, which is the statement's affair.
    ///
    /// - Throws: ``GroupFailure/staleEpoch(current:)`` when its slot is another group's.
    func recordKeyForInsertion(of document: Document, into collection: CollectionState) throws -> [UInt8]? {
        guard let first = document.first, first.isNamed("_id") else { return nil }
        let id = first.value
        guard Self.canBeID(id) else { return nil }
        var key: [UInt8] = []
        key.reserveCapacity(40)
        let slot = KeySpace.makeRecordKey(collection.id, id: id, in: &key)
        guard collection.owned.contains(slot) else { throw GroupFailure.staleEpoch(current: collection.epoch) }
        return key
    }

    /// In mode `cacheOnly`, asks the engine for all keys of a request before the first is written.
    ///
    /// - Returns: which of them the engine does not have; nothing in mode `any`.
    /// - Throws: ``ReadLimit/Reached`` when one of them may be on the disk.
    private func lookAhead(_ keys: [[UInt8]?]) throws -> [Bool] {
        guard !limit.mayUseDisk else { return [] }
        let view = view
        return try keys.map { key in try key.map { try view.applied($0[...]) == nil } ?? false }
    }

    /// Inserts a document whose `_id` is its first field.
    ///
    /// - Parameter isAbsent: whether the engine is known not to have the key, so that only the tip can.
    func insert(
        _ document: Document, record key: [UInt8], into collection: CollectionState, isAbsent: Bool = false
    ) throws {
        guard document.byteCount <= options.documentBytesMax else { throw Self.tooLarge(document) }
        let existing = isAbsent ? tip.lookup(key[...]) ?? nil : try view.get(key[...])
        if existing != nil {
            let id = document["_id"] ?? .null
            throw QueryError.duplicateKey(
                namespace: collection.descriptor.namespace, index: "_id_", pattern: ["_id": 1], value: ["_id": id])
        }
        try validation(of: collection)?.check(document, replacing: nil)
        let room = try makeRoom(for: document, in: collection)
        if collection.indexes.isEmpty {
            put(key, document.bytes)
        } else {
            let changes = try indexChanges(collection, record: key, old: nil, new: document)
            try write(collection, record: key, document: document, changes)
        }
        if let room { try append(document, record: key, room, to: collection) }
    }

    /// Arrays, regular expressions and undefined cannot be an `_id`.
    static func canBeID(_ value: Value) -> Bool {
        switch value {
        case .array, .regex, .undefined: false
        default: true
        }
    }

    static func badID(_ document: Document) -> QueryError {
        switch document["_id"] {
        case nil: QueryError(.badValue, "a document has no _id as its first field")
        case .array: QueryError(.invalidIdField, "The '_id' value cannot be of type array")
        case .regex: QueryError(.invalidIdField, "The '_id' value cannot be of type regex")
        case .undefined: QueryError(.invalidIdField, "The '_id' value cannot be of type undefined")
        default: QueryError(.badValue, "_id is not the first field of the document")
        }
    }

    static func tooLarge(_ document: Document) -> QueryError {
        QueryError(
            .bsonObjectTooLarge, "object to insert too large. size in bytes: \(document.byteCount), max size: 16777216")
    }
}
