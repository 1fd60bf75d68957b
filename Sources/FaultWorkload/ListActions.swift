import CairnBSON
import CairnClient

/// Lists: clients append to a document's array what nobody has appended before, and read it.
struct ListActions: Actions {
    private static let keys = 3

    mutating func act(_ client: WorkloadClient, elapsed: Double) async throws {
        let key = "\(Int.random(in: 0..<Self.keys, using: &client.random))/\(generation(elapsed))"
        let filter: Document = ["_id": .string(BSONString(key))]
        if Bool.random(using: &client.random) {
            try await client.record("read", key: key) { collection throws(ClientError) in
                let found = try await collection.findOne(filter, timeout: WorkloadClient.timeout)
                guard case .array(let values)? = found?["values"] else { return .list([]) }
                return .list(values.map { .text($0.stringValue ?? "") })
            }
        } else {
            let value = client.fresh()
            try await client.record("append", key: key, argument: .text(value)) { collection throws(ClientError) in
                try await collection.updateOne(
                    filter, ["$push": ["values": .string(BSONString(value))]], upsert: true,
                    timeout: WorkloadClient.timeout)
                return .none
            }
        }
    }
}
