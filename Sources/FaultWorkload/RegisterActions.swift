import CairnBSON
import CairnClient

/// Registers: clients read, write, and compare and set, on a few documents at a time.
struct RegisterActions: Actions {
    private static let keys = 6
    /// What this client has read last, which is what it expects when it compares.
    private var seen: (key: String, value: String)?

    mutating func act(_ client: WorkloadClient, elapsed: Double) async throws {
        let key = "\(Int.random(in: 0..<Self.keys, using: &client.random))/\(generation(elapsed))"
        switch Double.random(in: 0..<1, using: &client.random) {
        case ..<0.45: try await read(client, key)
        case ..<0.65:
            let value = client.fresh()
            try await client.record("write", key: key, argument: .text(value)) { collection throws(ClientError) in
                try await collection.updateOne(
                    ["_id": .string(BSONString(key))], ["$set": ["value": .string(BSONString(value))]], upsert: true,
                    timeout: WorkloadClient.timeout)
                return .none
            }
        default:
            if seen?.key != key { try await read(client, key) }
            guard let old = seen?.value, seen?.key == key else { return }
            let new = client.fresh()
            try await client.record("cas", key: key, argument: .list([.text(old), .text(new)])) {
                collection throws(ClientError) in
                let found = try await collection.findOneAndUpdate(
                    ["_id": .string(BSONString(key)), "value": .string(BSONString(old))],
                    ["$set": ["value": .string(BSONString(new))]], returning: .after, timeout: WorkloadClient.timeout)
                return .flag(found != nil)
            }
        }
    }

    private mutating func read(_ client: WorkloadClient, _ key: String) async throws {
        let value = try await client.record("read", key: key) { collection throws(ClientError) in
            let found = try await collection.findOne(
                ["_id": .string(BSONString(key))], timeout: WorkloadClient.timeout)
            return found?["value"]?.stringValue.map { .text($0) } ?? .none
        }
        seen = if case .text(let text)? = value { (key, text) } else { nil }
    }
}
