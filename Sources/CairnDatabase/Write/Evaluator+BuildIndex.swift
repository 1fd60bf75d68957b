import CairnBSON
import CairnQuery
import CairnStorage

extension Evaluator {
    /// Reads some documents and writes the entries that they lack in an index which writes maintain already.
    ///
    /// Steps may be repeated and may be split between leaders: an entry that is there is not written again, and the
    /// place to go on comes back with the answer, which is given only when what it rests on has committed.
    func buildIndex(
        _ request: GroupRequest, _ collection: CollectionState, _ context: EvaluationContext
    ) throws -> GroupReply {
        guard let number = request.body["index"]?.int64Exactly.flatMap({ UInt16(exactly: $0) }),
            let index = collection.index(IndexID(number))
        else { throw QueryError(.indexNotFound, "no such index in \(collection.descriptor.namespace)") }
        if index.isReady { return GroupReply(body: ["done": true, "scanned": 0]) }

        let prefix = KeySpace.prefix(collection.id, .records)
        var lower = prefix
        if let resume = request.body["resume"]?.asBinary {
            lower = prefix + resume.data
        }
        let upper = KeySpace.prefix(collection.id, IndexID(1))
        let limit = min(max(request.body["steps"]?.intExactly ?? 1_000, 1), 100_000)

        var records: [(key: [UInt8], document: Document)] = []
        var bytes = 0
        var isDone = true
        let cursor = try view.range(lower: lower[...], upper: upper[...])
        while try cursor.next() {
            if records.count == limit || bytes >= options.proposalBytesMax {
                isDone = false
                lower = Array(cursor.key)
                break
            }
            records.append((Array(cursor.key), Document(trusted: cursor.value)))
            bytes += cursor.value.count
        }

        // A step is one statement: what collides is found before anything is written. Documents of the step itself may
        // collide too, so the fields that it adds are remembered.
        var added: [[UInt8]] = []
        var fields: [ArraySlice<UInt8>: Int] = [:]
        var isMultikey = false
        for (position, record) in records.enumerated() {
            let entries = try index.entries(
                of: record.document, record: record.key, bytesMax: options.indexEntryBytesMax)
            isMultikey = isMultikey || entries.multikey
            for entry in entries.keys {
                if index.descriptor.isUnique {
                    let part = index.uniquePart(of: entry, record: record.key)
                    let first = fields.updateValue(position, forKey: part)
                    if try first.map({ $0 != position }) ?? isTaken(index, entry, record: record.key) {
                        throw index.duplicate(entry, of: record.document, namespace: collection.descriptor.namespace)
                    }
                }
                if try view.get(entry[...]) == nil { added.append(entry) }
            }
        }
        for entry in added { put(entry, []) }
        var flags = index.flags
        if isMultikey { flags.insert(.multikey) }
        if isDone { flags.insert(.ready) }
        if flags != index.flags { try putSystem(.indexFlags(collection.id, index.id), [flags.rawValue]) }
        if isBatchFull { closeBatch(nowMilliseconds: context.nowMilliseconds) }

        var body = DocumentBuilder()
        body.append("done", isDone)
        body.append("scanned", Int32(records.count))
        if !isDone {
            body.append("resume", .binary(Binary(lower.dropFirst(KeySpace.prefixBytes))))
            body.append("slots", Int32(collection.owned.count(below: KeySpace.slot(ofRecord: lower[...]))))
        }
        return GroupReply(body: body.finish())
    }
}

extension GroupDatabase {
    /// The indexes of the applied state that are not filled yet, with the collection's epoch.
    public var unfinishedIndexes: [(collection: CollectionID, epoch: UInt64, index: IndexID)] {
        catalog.collections.values.flatMap { collection in
            collection.indexes.compactMap { index in
                index.isReady || collection.owned.isEmpty ? nil : (collection.id, collection.epoch, index.id)
            }
        }.sorted { ($0.0, $0.2) < ($1.0, $1.2) }
    }
}
