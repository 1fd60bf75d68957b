import CairnBSON
import CairnClient
import CairnWire
import Histogram
import NIOCore

/// The cluster under measurement and the ways into it.
struct BenchTarget {
    private let clients: [BenchConnection]
    private let control: CairnClient
    static let database = "bench"
    private static let collection = "stones"

    /// Opens `connections` connections before anything is measured.
    static func connect(to address: String, viaRouter: Bool, connections: Int) async throws -> BenchTarget {
        let control = try await CairnClient.connect(to: address)
        if !viaRouter {
            var clients: [BenchConnection] = []
            for _ in 0..<connections {
                clients.append(.routing(try await control.sibling()))
            }
            return BenchTarget(clients: clients, control: control)
        }
        let nodes = try await control.nodeAddresses()
        var clients: [BenchConnection] = []
        for index in 0..<connections {
            let node = try ConnectionString(nodes[index % nodes.count]).hosts[0]
            clients.append(
                .driver(try await WireConnection.connect(host: node.host, port: node.port, on: control.eventLoop)))
        }
        return BenchTarget(clients: clients, control: control)
    }

    /// A collection with the documents that `read` and `update` choose from: a fresh one, unless what is there may stay.
    func prepare(documents count: Int, keepsCollection: Bool) async throws {
        let stones = control.database(Self.database).collection(Self.collection)
        if keepsCollection {
            if try await stones.findOne(["_id": .int64(Int64(count - 1))]) != nil { return }
            _ = try await stones.deleteMany(["_id": ["$type": "long"]])
        } else {
            _ = try? await stones.drop()
        }
        var text = BenchText(seed: 1)
        for start in stride(from: 0, to: count, by: 1_000) {
            try await stones.insertMany(
                (start..<min(start + 1_000, count)).map { text.document(id: .int64(Int64($0))) }, ordered: false)
        }
    }

    func finish(keepsCollection: Bool) async throws {
        if !keepsCollection { try await control.database(Self.database).drop() }
        for client in clients { await client.close() }
        await control.close()
    }

    func measure(
        _ load: BenchLoad, connections: Int, perConnection: Int, duration: Duration
    ) async throws -> BenchResult {
        let start = ContinuousClock.now
        let end = start + duration
        let executor = control.executor
        let results = await withTaskGroup(of: BenchResult.self) { group in
            for index in 0..<connections * perConnection {
                let worker = BenchWorker(
                    executor: executor, connection: clients[index % connections], seed: UInt64(index + 1) &* 0x9E37_79B9
                )
                group.addTask { await worker.run(load, until: end) }
            }
            var all: [BenchResult] = []
            for await result in group { all.append(result) }
            return all
        }
        var total = BenchResult()
        for result in results { total.merge(result) }
        total.seconds = (ContinuousClock.now - start).seconds
        return total
    }
}

/// One connection of the benchmark.
enum BenchConnection: Sendable {
    /// Routes for itself.
    case routing(CairnClient)
    /// Speaks to one node, as a driver does.
    case driver(WireConnection)

    /// To be called on the event loop; `answer` is called there once, with what went wrong.
    func send(
        _ command: Document, sequence: (name: String, documents: [Document])?, in database: String,
        answer: @escaping @Sendable (_ error: String?) -> Void
    ) {
        switch self {
        case .routing(let client):
            client.send(command, sequences: sequence.map { [$0] } ?? [], in: database) { result in
                switch result {
                case .success: answer(nil)
                case .failure(let error): answer("\(error)")
                }
            }
        case .driver(let connection):
            var body = command
            body.set("$db", .string(BSONString(database)))
            let sequences = sequence.map { [OpMsg.Sequence(name: $0.name, documents: $0.documents)] } ?? []
            connection.assumeIsolated { connection in
                _ = connection.send(body, sequences: sequences) { result in
                    switch result {
                    case .failure(let error): answer("\(error)")
                    case .success(let reply):
                        let isDone = reply["ok"]?.numericDouble == 1 && reply["writeErrors"] == nil
                        answer(isDone ? nil : "the node answered \(ExtendedJSON.string(from: reply))")
                    }
                }
            }
        }
    }

    func close() async {
        switch self {
        case .routing(let client): await client.close()
        case .driver(let connection): await connection.close()
        }
    }
}

/// What one line of the table is made of.
struct BenchResult: Sendable {
    var operations = 0
    var documents = 0
    var errors = 0
    var lastError: String?
    var seconds = 0.0
    /// Microseconds, to three digits.
    var histogram = Histogram<UInt64>(highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: .three)

    var documentsPerSecond: Double { Double(documents) / seconds }

    mutating func merge(_ other: BenchResult) {
        operations += other.operations
        documents += other.documents
        errors += other.errors
        lastError = lastError ?? other.lastError
        for bucket in other.histogram.recordedValues() { histogram.record(bucket.value, count: bucket.count) }
    }

    private func milliseconds(_ percentile: Double) -> String {
        let microseconds = histogram.valueAtPercentile(percentile)
        let hundredths = (microseconds + 5) / 10
        return "\(hundredths / 100)." + (hundredths % 100 < 10 ? "0" : "") + "\(hundredths % 100)"
    }

    /// A number for people: with a decimal where whole ones would hide a difference.
    private static func rate(_ perSecond: Double) -> String {
        guard perSecond < 1_000 else { return "\(Int(perSecond))" }
        let tenths = Int(perSecond * 10 + 0.5)
        return "\(tenths / 10).\(tenths % 10)"
    }

    func cells(workload: String, connections: String) -> [String] {
        [
            workload, connections, Self.rate(Double(operations) / seconds), Self.rate(documentsPerSecond),
            milliseconds(50), milliseconds(95), milliseconds(99), milliseconds(99.9),
            errors == 0 ? "0" : "\(errors) (\(lastError ?? ""))",
        ]
    }

    func json(workload: String, connections: String) -> String {
        """
        {"row": "\(workload) \(connections)", "ours": \(Self.rate(documentsPerSecond)), "unit": "documents/s", \
        "documents": \(documents), \
        "p50": \(milliseconds(50)), "p95": \(milliseconds(95)), "p99": \(milliseconds(99)), "p99.9": \(milliseconds(99.9)), \
        "errors": \(errors)}
        """
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
    var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
