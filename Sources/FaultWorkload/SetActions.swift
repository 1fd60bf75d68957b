import CairnBSON
import CairnClient

/// A set: inserts, one and twenty at a time, and reads of everything.
struct SetActions: Actions {
    private static let parts = 4
    private static let readEvery = 60
    private static let batch = 20
    /// Less than a part, so that a read fetches several batches.
    private static let batchSize = 50

    mutating func act(_ client: WorkloadClient, elapsed: Double) async throws {
        // Reads of everything stay affordable if each is of a part, to which nothing is added after a while.
        let number = Int.random(in: 0..<Self.parts, using: &client.random)
        let part = "\(number)/\(generation(elapsed, lengths: [20, 33]))"
        switch Int.random(in: 0..<Self.readEvery, using: &client.random) {
        case 0:
            try await client.record("read", key: part) { collection throws(ClientError) in
                let found = collection.find(
                    ["part": .string(BSONString(part))], projection: ["_id": 1], batchSize: Self.batchSize,
                    timeout: WorkloadClient.timeout)
                return .list(try await found.all().map { .text($0["_id"]?.stringValue ?? "") })
            }
        case 1:
            let values = (0..<Self.batch).map { _ in client.fresh() }
            try await client.record(
                "insert", key: part, argument: .list(values.map { .text($0) }), isOneStatement: false
            ) { collection throws(ClientError) in
                .number(
                    try await collection.insertMany(
                        values.map { Self.document($0, part, words: 8) }, ordered: false,
                        timeout: WorkloadClient.timeout))
            }
        default:
            let value = client.fresh()
            try await client.record("insert", key: part, argument: .list([.text(value)])) {
                collection throws(ClientError) in
                try await collection.insertOne(
                    Self.document(value, part, words: 40), timeout: WorkloadClient.timeout)
                return .flag(true)
            }
        }
    }

    private static func document(_ value: String, _ part: String, words: Int) -> Document {
        [
            "_id": .string(BSONString(value)), "part": .string(BSONString(part)),
            "text": .string(BSONString(String(repeating: "granite ", count: words))),
        ]
    }
}
