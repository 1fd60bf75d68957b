import CairnBSON
import CairnQuery
import CairnStorage

extension Query {
    // MARK: - count, distinct

    func count() throws -> GroupReply {
        var arguments = try FindArguments(request.body)
        arguments.sort = nil
        arguments.projection = nil
        let limit = arguments.limit
        let skip = arguments.skip
        var n = 0
        if arguments.filter.isEmpty, arguments.hint == nil {
            n = try countRecords()
            n = max(0, n - skip)
            if limit > 0 { n = min(n, limit) }
        } else {
            let stream = try QueryStream(
                view: makeView(), collection: collection, arguments: arguments, context: queryContext(),
                options: options)
            while try stream.next() != nil { n += 1 }
        }
        return GroupReply(body: ["n": .int64(Int64(n))])
    }

    /// Counts keys; no document is looked at.
    private func countRecords() throws -> Int {
        let view = makeView()
        let lower = KeySpace.prefix(collection.id, .records)
        let upper = KeySpace.prefix(collection.id, IndexID(1))
        let iterator = try view.iterator(lower: lower[...], upper: upper[...])
        try iterator.seekToFirst()
        var n = 0
        while iterator.isValid {
            try view.limit?.count()
            if collection.owned.isAll || collection.owned.contains(KeySpace.slot(ofRecord: iterator.key)) { n += 1 }
            try iterator.next()
        }
        return n
    }

    func distinct() throws -> GroupReply {
        guard let key = request.body["key"]?.stringValue else {
            throw QueryError(.typeMismatch, "distinct needs a key, which is a string")
        }
        var arguments = try FindArguments(request.body)
        arguments.sort = nil
        arguments.projection = nil
        var values = try Distinct(path: key)
        let stream = try QueryStream(
            view: makeView(), collection: collection, arguments: arguments, context: queryContext(), options: options)
        while let document = try stream.next() { try values.add(document) }
        return GroupReply(body: ["values": .array(BSONArray(values.values))])
    }

    // MARK: - statistics, validate

    /// Counts what the group holds of a collection. Asked of any epoch: operators and the catalog want to know too.
    func statistics() throws -> GroupReply {
        let view = makeView()
        let records = try measure(KeySpace.prefix(collection.id, .records), view)
        var indexes: [Value] = []
        var indexBytes: Int64 = 0
        for index in collection.indexes {
            let entries = try measure(index.prefix, view)
            indexBytes += entries.keyBytes
            var builder = DocumentBuilder()
            builder.append("id", Int32(index.id.rawValue))
            builder.append("name", index.descriptor.name)
            builder.append("ready", index.isReady)
            builder.append("entries", entries.count)
            builder.append("size", entries.keyBytes)
            indexes.append(.document(builder.finish()))
        }
        var body = DocumentBuilder()
        body.append("count", records.count)
        body.append("size", records.valueBytes)
        body.append("avgObjSize", records.count == 0 ? 0 : records.valueBytes / records.count)
        body.append("storageSize", records.keyBytes + records.valueBytes)
        body.append("totalIndexSize", indexBytes)
        body.append("indexes", BSONArray(indexes))
        return GroupReply(body: body.finish())
    }

    private func measure(
        _ prefix: [UInt8], _ view: ReadView
    ) throws -> (count: Int64, keyBytes: Int64, valueBytes: Int64) {
        guard let upper = ByteOrder.successor(ofPrefix: prefix) else { return (0, 0, 0) }
        let cursor = try view.range(lower: prefix[...], upper: upper[...])
        var result: (count: Int64, keyBytes: Int64, valueBytes: Int64) = (0, 0, 0)
        while try cursor.next() {
            result.count += 1
            result.keyBytes += Int64(cursor.key.count)
            result.valueBytes += Int64(cursor.value.count)
        }
        return result
    }

    /// Compares the entries of each index with those that the documents ought to have.
    func validate() throws -> GroupReply {
        let view = makeView()
        var body = DocumentBuilder()
        var totalMissing: Int64 = 0
        var totalExtra: Int64 = 0
        var records: Int64 = 0
        var results: [Value] = []
        let lower = KeySpace.prefix(collection.id, .records)
        let upper = KeySpace.prefix(collection.id, IndexID(1))
        if collection.indexes.isEmpty { records = try measure(lower, view).count }
        for index in collection.indexes {
            var entries: Int64 = 0
            var missing: Int64 = 0
            var expected: Int64 = 0
            records = 0
            let documents = try view.range(lower: lower[...], upper: upper[...])
            while try documents.next() {
                records += 1
                let wanted = try index.entries(
                    of: Document(trusted: documents.value), record: Array(documents.key),
                    bytesMax: options.indexEntryBytesMax)
                for entry in wanted.keys {
                    if try view.get(entry[...]) == nil { missing += 1 } else { expected += 1 }
                }
            }
            entries = try measure(index.prefix, view).count
            // An index that is being built lacks what the build has not come to.
            if !index.isReady { missing = 0 }
            let extra = entries - expected
            totalMissing += missing
            totalExtra += extra
            var builder = DocumentBuilder()
            builder.append("name", index.descriptor.name)
            builder.append("entries", entries)
            builder.append("missing", missing)
            builder.append("extra", extra)
            results.append(.document(builder.finish()))
        }
        body.append("valid", totalMissing == 0 && totalExtra == 0)
        body.append("nrecords", records)
        body.append("missing", totalMissing)
        body.append("extra", totalExtra)
        body.append("indexes", BSONArray(results))
        return GroupReply(body: body.finish())
    }
}
