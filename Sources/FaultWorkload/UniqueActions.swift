import CairnBSON
import CairnClient

/// Unique keys: clients fight over the values of a unique index, which the rig has made. Most are refused, which is certain.
struct UniqueActions: Actions {
    private static let names = 12

    mutating func act(_ client: WorkloadClient, elapsed: Double) async throws {
        let number = Int.random(in: 0..<Self.names, using: &client.random)
        let name = "\(number)/\(generation(elapsed, lengths: [2, 3]))"
        let value = client.fresh()
        try await client.record("claim", key: name, argument: .text(value)) { collection throws(ClientError) in
            try await collection.insertOne(
                ["_id": .string(BSONString(value)), "name": .string(BSONString(name))], timeout: WorkloadClient.timeout)
            return .none
        }
    }
}
