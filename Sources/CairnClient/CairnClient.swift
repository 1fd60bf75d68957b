public import CairnBSON
import CairnRaft
import CairnReplication
import CairnSharding
import CairnWire
public import NIOCore
import NIOPosix
import Synchronization

/// A client that routes for itself: it learns the cluster from any of its nodes, keeps the shard map, and sends each
/// operation straight to the leader that owns the key.
///
/// ```swift
/// let client = try await CairnClient.connect(to: "mongodb://127.0.0.1:27017/")
/// let stones = client.database("hill").collection("stones", of: Stone.self)
/// try await stones.insertOne(Stone(_id: 1, weight: 12))
/// for try await stone in stones.find(["weight": ["$gt": 10]]) { print(stone) }
/// ```
///
/// Operations that a change of leaders interrupts are repeated until their deadline; a write is applied once however often
/// it is sent. May be used from any task; one client serves many.
public final class CairnClient: Sendable {
    let core: RoutingCore
    private let isClosed = Atomic(false)
    /// The threads, when they are the client's own.
    private let eventLoops: MultiThreadedEventLoopGroup?

    private init(core: RoutingCore, eventLoops: MultiThreadedEventLoopGroup?) {
        self.core = core
        self.eventLoops = eventLoops
    }

    /// Learns the cluster from the first of the hosts that answers.
    ///
    /// - Throws: ``ClientError`` with code `badAddress` or `unreachable`.
    public static func connect(to address: String) async throws(ClientError) -> CairnClient {
        let hosts = try ConnectionString(address)
        let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = eventLoops.next()
        do throws(ClientError) {
            let layout = try await ClusterDiscovery.layout(from: hosts, on: eventLoop)
            let core = RoutingCore(eventLoop: eventLoop)
            await core.start(layout: layout)
            return CairnClient(core: core, eventLoops: eventLoops)
        } catch {
            try? await eventLoops.shutdownGracefully()
            throw error
        }
    }

    /// Another client of the same cluster on the same event loop, with connections of its own.
    public func sibling() async throws(ClientError) -> CairnClient {
        guard let layout = await core.layout else { throw ClientError(.closed, "the client is closed") }
        let other = RoutingCore(eventLoop: core.eventLoop)
        await other.start(layout: layout)
        return CairnClient(core: other, eventLoops: nil)
    }

    /// The client addresses of all nodes, `HOST:PORT`.
    public func nodeAddresses() async throws(ClientError) -> [String] {
        guard let layout = await core.layout else { throw ClientError(.closed, "the client is closed") }
        return layout.nodes.map(\.clientAddress)
    }

    /// The event loop on which the client and its connections live.
    public var eventLoop: any EventLoop { core.eventLoop }

    /// A handle on a database; it need not exist.
    public func database(_ name: String) -> ClientDatabase { ClientDatabase(client: self, name: name) }

    /// Runs a command and returns its whole reply.
    ///
    /// - Parameter timeout: how long the command may take, elections included; nil means 15 seconds.
    /// - Throws: ``ClientError`` when the reply has `ok: 0` or statements failed; `CancellationError` is thrown as
    ///   ``ClientError/Code/closed``.
    @discardableResult
    public func run(
        _ command: Document, sequences: [(name: String, documents: [Document])] = [], in database: String,
        timeout: Duration? = nil
    ) async throws(ClientError) -> Document {
        // The core lives on an event loop that ends with the client: nothing may be sent there afterwards.
        guard !isClosed.load(ordering: .acquiring) else { throw ClientError(.closed, "the client is closed") }
        let reply = try await core.run(command, sequences: sequences, in: database, timeout: timeout)
        if let error = ClientError.inside(reply) { throw error }
        return reply
    }

    /// Runs a command and calls back, for programs that keep many operations under way from one thread: a command about
    /// one document that its `_id` names costs no task and no wait. To be called on the client's event loop.
    ///
    /// - Parameter answer: called once, on the client's event loop, perhaps before this returns.
    package func send(
        _ command: Document, sequences: [(name: String, documents: [Document])] = [], in database: String,
        answer: @escaping @Sendable (Result<Document, ClientError>) -> Void
    ) {
        guard !isClosed.load(ordering: .acquiring) else {
            return answer(.failure(ClientError(.closed, "the client is closed")))
        }
        core.assumeIsolated { core in
            core.send(command, sequences: sequences, in: database) { result in
                answer(
                    result.flatMap { reply in ClientError.inside(reply).map { .failure($0) } ?? .success(reply) })
            }
        }
    }

    /// The executor of the client's event loop. An actor that shares it calls the client without a change of threads, which
    /// costs more than the client's own work.
    public var executor: any SerialExecutor { core.eventLoop.executor }

    /// Ends all connections; operations under way fail.
    public func close() async {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        await core.close()
        try? await eventLoops?.shutdownGracefully()
    }
}

/// The part of a client that lives on its event loop.
actor RoutingCore {
    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe eventLoop.executor.asUnownedSerialExecutor() }

    private let clock: ClientClock
    private let tasks: EventLoopTaskExecutor
    private var router: Router?
    private var gateway: ClusterGateway?
    private var seconds: RepeatedTask?
    private(set) var layout: ClusterLayout?
    private static let secondsBetweenLooks = 5
    private var secondsUntilLook = secondsBetweenLooks
    /// Commands that have no reply yet.
    private var running = 0
    /// Waits for the last of them.
    private var drained: CheckedContinuation<Void, Never>?

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        clock = ClientClock(eventLoop: eventLoop)
        tasks = EventLoopTaskExecutor(eventLoop)
    }

    func start(layout: ClusterLayout) {
        let gateway = ClusterGateway(layout: layout, eventLoop: eventLoop)
        self.gateway = gateway
        self.layout = layout
        router = Router(layout: layout, gateway: gateway, clock: clock) { UInt64.random(in: 0 ... .max) }
        seconds = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { [weak self] _ in
            self?.assumeIsolated { $0.everySecond() }
        }
    }

    private func everySecond() {
        router?.tick()
        secondsUntilLook -= 1
        guard secondsUntilLook <= 0, running > 0, let layout else { return }
        secondsUntilLook = Self.secondsBetweenLooks
        running += 1
        Task.immediate {
            await follow(layout)
            ended()
        }
    }

    /// Asks whether nodes have come or gone.
    private func follow(_ known: ClusterLayout) async {
        for node in known.nodes {
            guard let address = try? ConnectionString(node.clientAddress),
                let newest = try? await ClusterDiscovery.layout(from: address, on: eventLoop)
            else { continue }
            if newest.version > known.version {
                layout = newest
                router?.adopt(newest)
            }
            return
        }
    }

    func run(
        _ command: Document, sequences: [(name: String, documents: [Document])], in database: String, timeout: Duration?
    ) async throws(ClientError) -> Document {
        var (router, request) = try prepare(command, sequences: sequences, in: database)
        if Task.isCancelled { throw ClientError(.closed, "the operation was cancelled") }
        if let timeout {
            let parts = timeout.components
            let nanoseconds =
                UInt64(max(parts.seconds, 0)) * 1_000_000_000 + UInt64(max(parts.attoseconds, 0)) / 1_000_000_000
            request.deadline = clock.nanoseconds + nanoseconds
        }
        running += 1
        defer { ended() }
        // Whoever calls: the waits of the router are over on this loop.
        return await withTaskExecutorPreference(tasks) { await router.run(request) }
    }

    /// As ``run(_:sequences:in:timeout:)``, with the usual time, for a caller that waits in no task.
    func send(
        _ command: Document, sequences: [(name: String, documents: [Document])], in database: String,
        answer: @escaping @Sendable (Result<Document, ClientError>) -> Void
    ) {
        let router: Router
        let request: ClientCommand
        do throws(ClientError) {
            (router, request) = try prepare(command, sequences: sequences, in: database)
        } catch {
            return answer(.failure(error))
        }
        running += 1
        let isBegun = router.begin(request) { outcome in
            self.assumeIsolated { core in
                switch outcome {
                case .reply(let reply):
                    core.ended()
                    answer(.success(reply))
                case .startOver(let again): core.finish(again, answer)
                }
            }
        }
        if !isBegun { finish(request, answer) }
    }

    private func finish(_ request: ClientCommand, _ answer: @escaping @Sendable (Result<Document, ClientError>) -> Void)
    {
        Task.immediate(executorPreference: tasks) {
            defer { ended() }
            guard let router else { return answer(.failure(ClientError(.closed, "the client is closed"))) }
            answer(.success(await router.run(request)))
        }
    }

    private func prepare(
        _ command: Document, sequences: [(name: String, documents: [Document])], in database: String
    ) throws(ClientError) -> (Router, ClientCommand) {
        guard let router else { throw ClientError(.closed, "the client is closed") }
        guard let name = command.first?.name.string else { throw ClientError(.coding, "a command without a name") }
        return (router, ClientCommand(name: name, database: database, body: command, sequences: sequences))
    }

    private func ended() {
        running -= 1
        if running == 0 { drained?.resume() }
    }

    /// Ends what is under way, and returns once nothing needs the event loop any more.
    func close() async {
        seconds?.cancel()
        gateway?.close()
        router = nil
        guard running > 0 else { return }
        await withCheckedContinuation { waiter in
            // The last command may have ended on the way here.
            if running == 0 { waiter.resume() } else { drained = waiter }
        }
    }
}
