import CairnBSON
import CairnClient
import CairnWire
import Histogram
import NIOCore
import NIOPosix
import Synchronization

/// The cluster under measurement and the ways into it.
struct BenchTarget {
    private let clients: [BenchConnection]
    private let control: CairnClient
    private static let database = "bench"
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
        _ workload: Bench.Workload, connections: Int, perConnection: Int, duration: Duration, documents: Int,
        batch: Int
    ) async throws -> BenchResult {
        let start = ContinuousClock.now
        let end = start + duration
        let executor = control.executor
        let results = await withTaskGroup(of: BenchResult.self) { group in
            for index in 0..<connections * perConnection {
                let worker = BenchWorker(
                    executor: executor, connection: clients[index % connections], seed: UInt64(index + 1) &* 0x9E37_79B9
                )
                group.addTask { await worker.run(workload, until: end, documents: documents, batch: batch) }
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

    func run(_ command: Document, sequence: (name: String, documents: [Document])?) async throws {
        switch self {
        case .routing(let client): try await client.run(command, sequences: sequence.map { [$0] } ?? [], in: "bench")
        case .driver(let connection):
            var body = command
            body.set("$db", "bench")
            let reply = try await connection.call(
                body, sequences: sequence.map { [OpMsg.Sequence(name: $0.name, documents: $0.documents)] } ?? [])
            if reply["ok"]?.numericDouble != 1 || reply["writeErrors"] != nil { throw BenchFailure(reply: reply) }
        }
    }

    func close() async {
        switch self {
        case .routing(let client): await client.close()
        case .driver(let connection): await connection.close()
        }
    }
}

struct BenchFailure: Error, CustomStringConvertible {
    let reply: Document
    var description: String { "the node answered \(ExtendedJSON.string(from: reply))" }
}

/// One caller of a connection: an operation, its time, the next. Lives on the client's event loop, so that no thread is changed
/// within what is measured.
actor BenchWorker {
    nonisolated let unownedExecutorHolder: any SerialExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe unownedExecutorHolder.asUnownedSerialExecutor() }
    private let connection: BenchConnection
    private var text: BenchText
    private var generator: SplitMix64
    /// The fields of 2,000 documents, as bytes, for all workers: making text would be most of what is measured.
    private static let stock: [ArraySlice<UInt8>] = {
        var text = BenchText(seed: 1)
        return (0..<2_000).map { _ in text.document(id: nil).elementBytes }
    }()
    private let seconds: UInt32
    private let processID: UInt64
    private var counter: UInt32 = 0

    init(executor: any SerialExecutor, connection: BenchConnection, seed: UInt64) {
        unownedExecutorHolder = executor
        self.connection = connection
        text = BenchText(seed: seed)
        generator = SplitMix64(state: seed)
        seconds = UInt32.random(in: 1_700_000_000...1_800_000_000)
        processID = UInt64.random(in: 0 ... .max)
    }

    func run(_ workload: Bench.Workload, until end: ContinuousClock.Instant, documents: Int, batch: Int) async
        -> BenchResult
    {
        var result = BenchResult()
        var now = ContinuousClock.now
        while now < end {
            let operation = makeOperation(workload, documents: documents, batch: batch)
            let began = ContinuousClock.now
            do {
                try await connection.run(operation.command, sequence: operation.sequence)
                result.documents += operation.count
            } catch {
                result.errors += 1
                result.lastError = "\(error)"
            }
            now = ContinuousClock.now
            result.histogram.record(UInt64((now - began).nanoseconds / 1_000))
            result.operations += 1
        }
        return result
    }

    private func makeOperation(
        _ workload: Bench.Workload, documents: Int, batch: Int
    ) -> (command: Document, sequence: (name: String, documents: [Document])?, count: Int) {
        switch workload {
        case .insert:
            return (["insert": "stones"], ("documents", [stone(id: .objectID(objectID()))]), 1)
        case .insertMany:
            let stones = (0..<batch).map { _ in stone(id: .objectID(objectID())) }
            return (["insert": "stones", "ordered": false], ("documents", stones), batch)
        case .read:
            return (
                [
                    "find": "stones", "filter": ["_id": .int64(randomID(documents))], "limit": 1,
                    "singleBatch": .bool(true),
                ],
                nil, 1
            )
        case .update:
            let change: Document = [
                "q": ["_id": .int64(randomID(documents))], "u": ["$set": ["field3": .string(text.field())]],
            ]
            return (["update": "stones"], ("updates", [change]), 1)
        }
    }

    /// A document with that `_id` and fields from the stock.
    private func stone(id: Value) -> Document {
        var builder = DocumentBuilder()
        builder.reserve(1100)
        builder.append("_id", id)
        builder.append(rawElements: Self.stock[Int(generator.next() % UInt64(Self.stock.count))])
        return builder.finish()
    }

    private func randomID(_ documents: Int) -> Int64 { Int64(generator.next() % UInt64(documents)) }

    /// As a driver makes them: rising within a connection, apart between connections.
    private func objectID() -> ObjectID {
        counter &+= 1
        return ObjectID(seconds: seconds, random: processID, counter: counter)
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

    func cells(workload: String, connections: String) -> [String] {
        [
            workload, connections, "\(Int(Double(operations) / seconds))", "\(Int(documentsPerSecond))",
            milliseconds(50), milliseconds(95), milliseconds(99), milliseconds(99.9),
            errors == 0 ? "0" : "\(errors) (\(lastError ?? ""))",
        ]
    }

    func json(workload: String, connections: String) -> String {
        """
        {"row": "\(workload) \(connections)", "ours": \(Int(documentsPerSecond)), "unit": "documents/s", \
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
