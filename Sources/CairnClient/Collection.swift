public import CairnBSON

/// A database of the cluster.
public struct ClientDatabase: Sendable {
    let client: CairnClient
    public let name: String

    /// A collection of documents as they are.
    public func collection(_ name: String) -> Collection<Document> {
        Collection(client: client, database: self.name, name: name, encode: { $0 }, decode: { $0 })
    }

    /// A collection whose documents are values of `Element`.
    public func collection<Element: Codable & Sendable>(_ name: String, of type: Element.Type) -> Collection<Element> {
        Collection(
            client: client, database: self.name, name: name,
            encode: { try BSONEncoder().encode($0) }, decode: { try BSONDecoder().decode(Element.self, from: $0) })
    }

    /// Makes a collection that takes only documents from which an `Element` can be read, as ``BSONSchema`` describes it.
    ///
    /// - Parameter allowsOtherFields: whether documents may have fields that the type does not know.
    /// - Throws: ``ClientError``: with code `coding` for a type that cannot be described, with `serverCode` 48 when there is a
    ///   collection of that name with other options.
    @discardableResult
    public func createCollection<Element: Codable & Sendable>(
        _ name: String, of type: Element.Type, allowsOtherFields: Bool = true, timeout: Duration? = nil
    ) async throws(ClientError) -> Collection<Element> {
        let schema: BSONSchema
        do throws(BSONSchema.Indescribable) {
            schema = try BSONSchema(of: type, allowsOtherFields: allowsOtherFields)
        } catch {
            throw ClientError(.coding, "\(error)")
        }
        try await run(
            ["create": .string(BSONString(name)), "validator": ["$jsonSchema": .document(schema.document)]],
            timeout: timeout)
        return collection(name, of: type)
    }

    /// Runs a command on this database and returns its whole reply.
    ///
    /// - Throws: ``ClientError``.
    @discardableResult
    public func run(_ command: Document, timeout: Duration? = nil) async throws(ClientError) -> Document {
        try await client.run(command, in: name, timeout: timeout)
    }

    /// Deletes the database and all its collections.
    ///
    /// - Throws: ``ClientError``.
    public func drop() async throws(ClientError) { try await run(["dropDatabase": 1]) }
}

/// A collection and the type of its elements.
///
/// Every operation takes a `timeout`, elections included (nil: 15 seconds), and ends early when its task is cancelled; a
/// write that was cancelled may or may not have been carried out.
public struct Collection<Element: Sendable>: Sendable {
    let client: CairnClient
    public let database: String
    public let name: String
    let encode: @Sendable (Element) throws -> Document
    let decode: @Sendable (Document) throws -> Element

    /// Stores one element. Without an `_id` it gets one.
    ///
    /// - Throws: ``ClientError``; `serverCode` 11000 means that a unique key is taken.
    public func insertOne(_ element: Element, timeout: Duration? = nil) async throws(ClientError) {
        try await insertMany([element], timeout: timeout)
    }

    /// Stores elements, on all groups that own some of them at once.
    ///
    /// - Parameter ordered: whether nothing after the first element that fails may be stored.
    /// - Returns: how many were stored.
    /// - Throws: ``ClientError`` for the first element that could not be; its `reply` names all.
    @discardableResult
    public func insertMany(
        _ elements: [Element], ordered: Bool = true, timeout: Duration? = nil
    ) async throws(ClientError) -> Int {
        var documents: [Document] = []
        documents.reserveCapacity(elements.count)
        for element in elements { documents.append(try encoded(element)) }
        let reply = try await client.run(
            ["insert": .string(BSONString(name)), "ordered": .bool(ordered)],
            sequences: [("documents", documents)], in: database, timeout: timeout)
        return reply.integer("n")
    }

    /// The elements that match, as a sequence that fetches them in batches.
    public func find(
        _ filter: Document = [:], sort: Document? = nil, skip: Int = 0, limit: Int = 0, projection: Document? = nil,
        batchSize: Int? = nil, timeout: Duration? = nil
    ) -> Cursor<Element> {
        var command = DocumentBuilder()
        command.append("find", .string(BSONString(name)))
        command.append("filter", .document(filter))
        if let sort { command.append("sort", .document(sort)) }
        if let projection { command.append("projection", .document(projection)) }
        if skip > 0 { command.append("skip", .int64(Int64(skip))) }
        if limit > 0 { command.append("limit", .int64(Int64(limit))) }
        if let batchSize { command.append("batchSize", .int64(Int64(batchSize))) }
        return Cursor(
            client: client, database: database, collection: name, command: command.finish(), batchSize: batchSize,
            timeout: timeout, decode: decode)
    }

    /// The first element that matches, or nil.
    ///
    /// - Throws: ``ClientError``.
    public func findOne(
        _ filter: Document = [:], sort: Document? = nil, timeout: Duration? = nil
    ) async throws(ClientError) -> Element? {
        var command = DocumentBuilder()
        command.append("find", .string(BSONString(name)))
        command.append("filter", .document(filter))
        if let sort { command.append("sort", .document(sort)) }
        command.append("limit", .int64(1))
        command.append("singleBatch", .bool(true))
        let reply = try await client.run(command.finish(), in: database, timeout: timeout)
        guard case .document(let cursor)? = reply["cursor"], case .array(let batch)? = cursor["firstBatch"] else {
            throw ClientError(.malformedAnswer, "find answered without a cursor", reply: reply)
        }
        guard case .document(let document)? = batch[0] else { return nil }
        return try decoded(document)
    }

    /// Changes the first document that matches.
    ///
    /// - Returns: how many matched and how many were changed.
    /// - Throws: ``ClientError``.
    @discardableResult
    public func updateOne(
        _ filter: Document, _ update: Document, upsert: Bool = false, timeout: Duration? = nil
    ) async throws(ClientError) -> (matched: Int, modified: Int) {
        try await self.update(filter, update, many: false, upsert: upsert, timeout: timeout)
    }

    /// Changes all documents that match.
    ///
    /// - Throws: ``ClientError``.
    @discardableResult
    public func updateMany(
        _ filter: Document, _ update: Document, upsert: Bool = false, timeout: Duration? = nil
    ) async throws(ClientError) -> (matched: Int, modified: Int) {
        try await self.update(filter, update, many: true, upsert: upsert, timeout: timeout)
    }

    private func update(
        _ filter: Document, _ update: Document, many: Bool, upsert: Bool, timeout: Duration?
    ) async throws(ClientError) -> (matched: Int, modified: Int) {
        let statement: Document = [
            "q": .document(filter), "u": .document(update), "multi": .bool(many), "upsert": .bool(upsert),
        ]
        let reply = try await client.run(
            ["update": .string(BSONString(name))], sequences: [("updates", [statement])], in: database, timeout: timeout
        )
        return (reply.integer("n"), reply.integer("nModified"))
    }

    /// Removes the first document that matches, and returns whether there was one.
    ///
    /// - Throws: ``ClientError``.
    @discardableResult
    public func deleteOne(_ filter: Document, timeout: Duration? = nil) async throws(ClientError) -> Bool {
        try await delete(filter, limit: 1, timeout: timeout) == 1
    }

    /// Removes all documents that match, and returns how many.
    ///
    /// - Throws: ``ClientError``.
    @discardableResult
    public func deleteMany(_ filter: Document, timeout: Duration? = nil) async throws(ClientError) -> Int {
        try await delete(filter, limit: 0, timeout: timeout)
    }

    private func delete(_ filter: Document, limit: Int32, timeout: Duration?) async throws(ClientError) -> Int {
        let reply = try await client.run(
            ["delete": .string(BSONString(name))],
            sequences: [("deletes", [["q": .document(filter), "limit": .int32(limit)]])], in: database, timeout: timeout
        )
        return reply.integer("n")
    }

    /// How many documents match.
    ///
    /// - Throws: ``ClientError``.
    public func count(_ filter: Document = [:], timeout: Duration? = nil) async throws(ClientError) -> Int {
        try await client.run(
            ["count": .string(BSONString(name)), "query": .document(filter)], in: database, timeout: timeout
        ).integer("n")
    }

    /// What a pipeline makes of the collection.
    public func aggregate(
        _ pipeline: [Document], batchSize: Int? = nil, timeout: Duration? = nil
    ) -> Cursor<Document> {
        var options = DocumentBuilder()
        if let batchSize { options.append("batchSize", .int64(Int64(batchSize))) }
        return Cursor(
            client: client, database: database, collection: name,
            command: [
                "aggregate": .string(BSONString(name)), "pipeline": .array(BSONArray(pipeline.map { .document($0) })),
                "cursor": .document(options.finish()),
            ], batchSize: batchSize, timeout: timeout, decode: { $0 })
    }

    /// Creates an index unless it exists, and returns its name.
    ///
    /// - Throws: ``ClientError``.
    @discardableResult
    public func createIndex(
        _ keys: Document, unique: Bool = false, timeout: Duration? = nil
    ) async throws(ClientError) -> String {
        let indexName = keys.map { "\($0.name.string)_\($0.value.int64Exactly.map(String.init) ?? "1")" }.joined(
            separator: "_")
        try await client.run(
            [
                "createIndexes": .string(BSONString(name)),
                "indexes": [["key": .document(keys), "name": .string(BSONString(indexName)), "unique": .bool(unique)]],
            ], in: database, timeout: timeout)
        return indexName
    }

    /// Deletes the collection.
    ///
    /// - Throws: ``ClientError``.
    public func drop(timeout: Duration? = nil) async throws(ClientError) {
        try await client.run(["drop": .string(BSONString(name))], in: database, timeout: timeout)
    }

    func encoded(_ element: Element) throws(ClientError) -> Document {
        do { return try encode(element) } catch { throw ClientError(.coding, "cannot be encoded: \(error)") }
    }

    func decoded(_ document: Document) throws(ClientError) -> Element {
        do { return try decode(document) } catch {
            throw ClientError(.coding, "a document is no \(Element.self): \(error)", reply: document)
        }
    }
}

extension Document {
    func integer(_ name: String) -> Int { self[name]?.int64Exactly.map { Int($0) } ?? 0 }
}
