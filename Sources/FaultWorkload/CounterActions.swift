import CairnBSON
import CairnClient

/// Counters: clients add one, with and without asking what came of it, and read.
struct CounterActions: Actions {
    private static let keys = 4

    mutating func act(_ client: WorkloadClient, elapsed: Double) async throws {
        let key = "\(Int.random(in: 0..<Self.keys, using: &client.random))/\(generation(elapsed))"
        let filter: Document = ["_id": .string(BSONString(key))]
        let change: Document = ["$inc": ["count": 1]]
        switch Double.random(in: 0..<1, using: &client.random) {
        case ..<0.4:
            try await client.record("read", key: key) { collection throws(ClientError) in
                .number(try await Self.count(collection.findOne(filter, timeout: WorkloadClient.timeout)))
            }
        case ..<0.7:
            try await client.record("add", key: key) { collection throws(ClientError) in
                try await collection.updateOne(filter, change, upsert: true, timeout: WorkloadClient.timeout)
                return .none
            }
        default:
            try await client.record("add", key: key) { collection throws(ClientError) in
                .number(
                    try await Self.count(
                        collection.findOneAndUpdate(
                            filter, change, upsert: true, returning: .after, timeout: WorkloadClient.timeout)))
            }
        }
    }

    private static func count(_ document: Document?) -> Int {
        document?["count"]?.int64Exactly.map { Int($0) } ?? 0
    }
}
