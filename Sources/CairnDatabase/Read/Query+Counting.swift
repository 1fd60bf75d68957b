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
            noteUse(of: stream.plan)
            n = try stream.count()
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
        var values = try Distinct(path: key, collation: arguments.collation(in: collection))
        let stream = try QueryStream(
            view: makeView(), collection: collection, arguments: arguments, context: queryContext(), options: options)
        noteUse(of: stream.plan)
        while let document = try stream.next() { try values.add(document) }
        return GroupReply(body: ["values": .array(BSONArray(values.values))])
    }

    // MARK: - statistics, validate

    /// Counts what the group holds of a collection. Asked of any epoch: operators and the catalog want to know too.
    func statistics() throws -> GroupReply {
        if request.body["usage"]?.isTruthy == true { return usage() }
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

    /// How often queries went by each index, counted by this replica.
    private func usage() -> GroupReply {
        let uses =
            [("_id_", true, collection.idUse)] + collection.indexes.map { ($0.descriptor.name, $0.isReady, $0.use) }
        let indexes = uses.map { name, isReady, use -> Value in
            let (count, since) = use.read(now: context.nowMilliseconds)
            return .document([
                "name": .string(BSONString(name)), "ready": .bool(isReady), "ops": .int64(count),
                "since": .date(milliseconds: since),
            ])
        }
        return GroupReply(body: ["indexes": .array(BSONArray(indexes))])
    }

    private func measure(
        _ prefix: [UInt8], _ view: ReadView
    ) throws -> (count: Int64, keyBytes: Int64, valueBytes: Int64) {
        guard let upper = ByteOrder.successor(ofPrefix: prefix) else { return (0, 0, 0) }
        let cursor = try view.range(lower: prefix[...], upper: upper[...])
        var result: (count: Int64, keyBytes: Int64, valueBytes: Int64) = (0, 0, 0)
        while try cursor.next() {
            try view.limit?.count()
            result.count += 1
            result.keyBytes += Int64(cursor.key.count)
            result.valueBytes += Int64(cursor.value.count)
        }
        return result
    }

    /// Looks whether the documents are valid BSON, and compares the entries of each index with those that they ought to have.
    func validate() throws -> GroupReply {
        let view = makeView()
        let (records, invalid) = try checkDocuments(view)
        var isValid = invalid == 0
        var totalMissing: Int64 = 0
        var totalExtra: Int64 = 0
        var results: [Value] = []
        for index in collection.indexes {
            let found = try compare(index, view)
            isValid = isValid && found.missing == 0 && found.extra == 0
            totalMissing += found.missing
            totalExtra += found.extra
            results.append(
                .document([
                    "name": .string(BSONString(index.descriptor.name)), "entries": .int64(found.entries),
                    "missing": .int64(found.missing), "extra": .int64(found.extra),
                ]))
        }
        var body: Document = [
            "nrecords": .int64(records), "invalid": .int64(invalid), "missing": .int64(totalMissing),
            "extra": .int64(totalExtra), "indexes": .array(BSONArray(results)),
        ]
        if collection.cappedLimits != nil {
            let order = try checkOrder(view)
            isValid = isValid && order == (0, 0)
            body.set("order", ["missing": .int64(order.missing), "extra": .int64(order.extra)])
        }
        body.set("valid", .bool(isValid))
        return GroupReply(body: body)
    }

    private func documents(in view: ReadView) throws -> RangeCursor {
        let lower = KeySpace.prefix(collection.id, .records)
        let upper = KeySpace.prefix(collection.id, IndexID(1))
        return try view.range(lower: lower[...], upper: upper[...])
    }

    private func checkDocuments(_ view: ReadView) throws -> (records: Int64, invalid: Int64) {
        var result: (records: Int64, invalid: Int64) = (0, 0)
        let cursor = try documents(in: view)
        while try cursor.next() {
            try view.limit?.count()
            result.records += 1
            if (try? Document(validating: cursor.value)) == nil { result.invalid += 1 }
        }
        return result
    }

    private func compare(
        _ index: IndexState, _ view: ReadView
    ) throws -> (entries: Int64, missing: Int64, extra: Int64) {
        var missing: Int64 = 0
        var expected: Int64 = 0
        let cursor = try documents(in: view)
        while try cursor.next() {
            try view.limit?.count()
            let wanted = try index.entries(
                of: Document(trusted: cursor.value), record: Array(cursor.key), bytesMax: options.indexEntryBytesMax)
            for entry in wanted.keys {
                if try view.get(entry[...]) == nil { missing += 1 } else { expected += 1 }
            }
        }
        let entries = try measure(index.prefix, view).count
        // An index that is being built lacks what the build has not come to.
        return (entries, index.isReady ? missing : 0, entries - expected)
    }
}
