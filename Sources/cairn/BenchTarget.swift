import CairnBSON
import CairnClient
import CairnWire
import FoundationEssentials
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

    /// To be called on the event loop; `answer` is called there once, with what went wrong.
    func send(
        _ command: Document, sequence: (name: String, documents: [Document])?,
        answer: @escaping @Sendable (_ error: String?) -> Void
    ) {
        switch self {
        case .routing(let client):
            client.send(command, sequences: sequence.map { [$0] } ?? [], in: "bench") { result in
                switch result {
                case .success: answer(nil)
                case .failure(let error): answer("\(error)")
                }
            }
        case .driver(let connection):
            var body = command
            body.set("$db", "bench")
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

/// One caller of a connection: an operation, its time, the next. Lives on the client's event loop and has no task of its own, so
/// that little is measured besides the cluster.
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
    private static let insert: Document = ["insert": "stones"]
    private static let insertUnordered: Document = ["insert": "stones", "ordered": false]
    /// What the ids of a process's documents have in common, and their number within it, as drivers make them.
    private static let processID = UInt64.random(in: 0 ... .max)
    private static let counter = Atomic(UInt32.random(in: 0 ... .max))

    private let start = ContinuousClock.now
    /// The wall clock's seconds at `start`.
    private let wallStart = UInt32(Date().timeIntervalSince1970)
    private var result = BenchResult()
    /// When the operation under way began.
    private var began = ContinuousClock.now
    /// Whether an answer came before the call that asked for it returned.
    private var isAnswered = false
    private var isCalling = false
    private var waiter: CheckedContinuation<Void, Never>?

    init(executor: any SerialExecutor, connection: BenchConnection, seed: UInt64) {
        unownedExecutorHolder = executor
        self.connection = connection
        text = BenchText(seed: seed)
        generator = SplitMix64(state: seed)
    }

    func run(_ workload: Bench.Workload, until end: ContinuousClock.Instant, documents: Int, batch: Int) async
        -> BenchResult
    {
        await withCheckedContinuation { waiter in
            self.waiter = waiter
            began = ContinuousClock.now
            goOn(Load(workload: workload, end: end, documents: documents, batch: batch))
        }
        return result
    }

    private struct Load {
        let workload: Bench.Workload
        let end: ContinuousClock.Instant
        let documents: Int
        let batch: Int
    }

    /// One operation after the other, until one is not answered at once.
    private func goOn(_ load: Load) {
        repeat {
            guard began < load.end else {
                waiter?.resume()
                waiter = nil
                return
            }
            let operation = makeOperation(load.workload, documents: load.documents, batch: load.batch)
            let count = operation.count
            isAnswered = false
            isCalling = true
            connection.send(operation.command, sequence: operation.sequence) { [self] error in
                assumeIsolated { $0.answered(error, documents: count, load) }
            }
            isCalling = false
        } while isAnswered
    }

    private func answered(_ error: String?, documents: Int, _ load: Load) {
        let now = ContinuousClock.now
        if let error {
            result.errors += 1
            result.lastError = error
        } else {
            result.documents += documents
        }
        result.histogram.record(UInt64((now - began).nanoseconds / 1_000))
        result.operations += 1
        began = now
        isAnswered = true
        if !isCalling { goOn(load) }
    }

    private func makeOperation(
        _ workload: Bench.Workload, documents: Int, batch: Int
    ) -> (command: Document, sequence: (name: String, documents: [Document])?, count: Int) {
        switch workload {
        case .insert:
            return (Self.insert, ("documents", [stone(id: .objectID(objectID()))]), 1)
        case .insertMany:
            let stones = (0..<batch).map { _ in stone(id: .objectID(objectID())) }
            return (Self.insertUnordered, ("documents", stones), batch)
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

    /// As a driver makes them: the time, the process, a number.
    private func objectID() -> ObjectID {
        ObjectID(
            seconds: wallStart &+ UInt32((began - start).seconds), random: Self.processID,
            counter: Self.counter.wrappingAdd(1, ordering: .relaxed).newValue)
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
