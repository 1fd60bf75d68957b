import CairnBSON

/// The results of a query, fetched in batches as they are asked for.
///
/// Iterating twice runs the query twice. An iterator that is dropped before its end leaves a cursor behind that the
/// cluster closes after ten idle minutes.
public struct Cursor<Element: Sendable>: AsyncSequence, Sendable {
    public typealias Failure = ClientError

    let client: CairnClient
    let database: String
    let collection: String
    let command: Document
    let batchSize: Int?
    let timeout: Duration?
    let decode: @Sendable (Document) throws -> Element

    public func makeAsyncIterator() -> Iterator { Iterator(cursor: self) }

    /// All results at once.
    ///
    /// - Throws: ``ClientError``.
    public func all() async throws(ClientError) -> [Element] {
        var all: [Element] = []
        var iterator = makeAsyncIterator()
        while let element = try await iterator.next(isolation: #isolation) { all.append(element) }
        return all
    }

    public struct Iterator: AsyncIteratorProtocol {
        public typealias Failure = ClientError

        private let cursor: Cursor
        private var batch: BSONArray.Iterator?
        /// 0 once the cluster holds no more.
        private var id: Int64 = 0

        init(cursor: Cursor) { self.cursor = cursor }

        public mutating func next() async throws(ClientError) -> Element? { try await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(ClientError) -> Element? {
            while true {
                if let value = batch?.next() {
                    guard case .document(let document) = value else {
                        throw ClientError(.malformedAnswer, "a batch holds something that is no document")
                    }
                    do { return try cursor.decode(document) } catch {
                        throw ClientError(.coding, "a document is no \(Element.self): \(error)", reply: document)
                    }
                }
                if batch != nil, id == 0 { return nil }
                try await fetch()
            }
        }

        private mutating func fetch() async throws(ClientError) {
            let isFirst = batch == nil
            var command = cursor.command
            if !isFirst {
                var builder = DocumentBuilder()
                builder.append("getMore", .int64(id))
                builder.append("collection", .string(BSONString(cursor.collection)))
                if let size = cursor.batchSize { builder.append("batchSize", .int64(Int64(size))) }
                command = builder.finish()
            }
            let reply = try await cursor.client.run(command, in: cursor.database, timeout: cursor.timeout)
            guard case .document(let body)? = reply["cursor"],
                case .array(let documents)? = body[isFirst ? "firstBatch" : "nextBatch"]
            else { throw ClientError(.malformedAnswer, "an answer without a cursor", reply: reply) }
            id = body["id"]?.int64Exactly ?? 0
            batch = documents.makeIterator()
        }
    }
}
