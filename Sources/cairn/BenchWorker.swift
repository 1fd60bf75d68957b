import CairnBSON
import CairnClient
import CairnWire
import FoundationEssentials
import NIOCore
import Synchronization

/// What the callers of a benchmark do, over and over.
enum BenchLoad: Sendable {
    case insert
    case insertMany(batch: Int)
    /// One document by its `_id`, among so many.
    case read(documents: Int)
    case update(documents: Int)
    case command(BenchCommand)

    var database: String {
        if case .command(let command) = self { command.database } else { BenchTarget.database }
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

    func run(_ load: BenchLoad, until end: ContinuousClock.Instant) async -> BenchResult {
        await withCheckedContinuation { waiter in
            self.waiter = waiter
            began = ContinuousClock.now
            goOn(load, until: end)
        }
        return result
    }

    /// One operation after the other, until one is not answered at once.
    private func goOn(_ load: BenchLoad, until end: ContinuousClock.Instant) {
        repeat {
            guard began < end else {
                waiter?.resume()
                waiter = nil
                return
            }
            let operation = makeOperation(load)
            let count = operation.count
            isAnswered = false
            isCalling = true
            connection.send(operation.command, sequence: operation.sequence, in: load.database) { [self] error in
                assumeIsolated { $0.answered(error, documents: count, load, until: end) }
            }
            isCalling = false
        } while isAnswered
    }

    private func answered(
        _ error: String?, documents: Int, _ load: BenchLoad, until end: ContinuousClock.Instant
    ) {
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
        if !isCalling { goOn(load, until: end) }
    }

    private func makeOperation(
        _ load: BenchLoad
    ) -> (command: Document, sequence: (name: String, documents: [Document])?, count: Int) {
        switch load {
        case .insert:
            return (Self.insert, ("documents", [stone(id: .objectID(objectID()))]), 1)
        case .insertMany(let batch):
            let stones = (0..<batch).map { _ in stone(id: .objectID(objectID())) }
            return (Self.insertUnordered, ("documents", stones), batch)
        case .read(let documents):
            return (
                [
                    "find": "stones", "filter": ["_id": .int64(randomID(documents))], "limit": 1,
                    "singleBatch": .bool(true),
                ],
                nil, 1
            )
        case .update(let documents):
            let change: Document = [
                "q": ["_id": .int64(randomID(documents))], "u": ["$set": ["field3": .string(text.field())]],
            ]
            return (["update": "stones"], ("updates", [change]), 1)
        case .command(let command): return (command.next(&generator), nil, 1)
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
