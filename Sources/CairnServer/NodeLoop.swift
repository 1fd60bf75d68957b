import CairnBSON
import CairnClient
import CairnDatabase
import CairnFiles
import CairnQuery
import CairnRaft
import CairnReplication
import CairnSharding
import CairnStorage
import CairnWire
import Glibc
import Logging
import NIOCore

/// All of a node that lives on one event loop: connections, a router, and the replicas of some of the groups.
///
/// The loop is this actor's executor, so whatever belongs to it is touched by one thread and needs no lock. Work that
/// arrived in one turn of the loop is gathered and carried out together at the turn's end (``flush()``): one log batch,
/// one frame a peer.
actor NodeLoop {
    nonisolated let eventLoop: any EventLoop
    /// The loop's place among those of the node.
    nonisolated let index: Int
    nonisolated let shared: NodeShared
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe eventLoop.executor.asUnownedSerialExecutor() }

    let clock: LoopClock
    let tasks: EventLoopTaskExecutor
    /// All loops of the node, this one included.
    private(set) var siblings: [NodeLoop] = []
    var connections: [ConnectionID: ClientConnection] = [:]
    private(set) var router: Router?
    var recentSessions = RecentSessions()
    var collectionUses = CollectionUses()
    /// How often it is asked for the plan of an operation that is only logged.
    var planQuestions = PlanQuestions(perSecond: 10)
    /// What the router may ask this node about itself.
    private var reports: LoopReports?
    private(set) var host: GroupHost?
    var groups: [GroupID: DataGroup] = [:]
    var groupsInOrder: [DataGroup] = []
    /// Those of them that have something under way: a turn of the loop costs nothing for the others.
    private var busyGroups: [DataGroup] = []
    /// Replicas that left, whose files go as soon as the log has forgotten them.
    var retired: [DataGroup] = []
    private(set) var storage: NodeStorage?
    private(set) var peers: PeerNetwork?
    private(set) var transport: NodeTransport?
    /// Whether a replica that belongs here could not be made.
    var owesReplicas = false
    var isWatchingLayout = false
    /// Since when this node leads the meta group, as far as ``watchLayout()`` has seen.
    var leadsMetaSince: UInt64?
    private var nextConnection: UInt64
    private var nextOperation: Int32 = 1
    private var flushScheduled = false
    /// Connections that were written to in this turn of the loop.
    private var unflushed: [ClientConnection] = []
    private var ticker: RepeatedTask?
    private var seconds: RepeatedTask?
    private var randomSource = SystemRandomNumberGenerator()

    init(eventLoop: any EventLoop, index: Int, shared: NodeShared) {
        self.eventLoop = eventLoop
        self.index = index
        self.shared = shared
        clock = LoopClock(eventLoop: eventLoop)
        tasks = EventLoopTaskExecutor(eventLoop)
        // Numbers of connections are unique within the node, and say which loop has them.
        nextConnection = UInt64(index) << 40 | 1
    }

    // MARK: Life

    /// Gives the loop its router; connections may come from then on.
    func start(siblings: [NodeLoop], makeGateway: @Sendable (isolated NodeLoop) -> any GroupGateway) {
        self.siblings = siblings
        clock.afterWork = { [unowned self] in assumeIsolated { $0.setNeedsFlush() } }
        let threads = shared.longQueryThreads
        let workers = LoopReaderPool(
            threads: threads, longThreads: threads, eventLoop: eventLoop, afterWork: clock.afterWork)
        var options = RouterOptions()
        options.queryMemory = shared.queryMemory
        options.stageMemory = shared.stageMemory
        router = Router(
            layout: shared.layout, gateway: makeGateway(self), clock: clock, options: options, workers: workers
        ) {
            UInt64.random(in: 0 ... .max)
        }
        reports = LoopReports(self)
        router?.reports = reports
        seconds = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { [weak self] _ in
            self?.assumeIsolated { $0.everySecond() }
        }
    }

    /// Opens the replicas that live on this loop and starts their clock.
    ///
    /// - Throws: what keeps a replica from being opened.
    func host(in storage: NodeStorage, peers: PeerNetwork) throws {
        self.storage = storage
        router?.spill = storage.spill
        self.peers = peers
        let transport = NodeTransport(eventLoop: eventLoop)
        transport.use(peers.hostConnections())
        self.transport = transport
        let host = try storage.makeHost(on: self, transport: transport)
        self.host = host
        let logger = shared.logger
        host.onGroupFailure = { error in
            logger.error("a replica has trouble", metadata: ["reason": "\(error)"])
        }
        host.onSpaceChange = { space in
            let metadata: Logger.Metadata = [
                "free": "\(space.freeBytes)", "reserve": "\(space.reserveBytes)", "state": "\(space.state)",
            ]
            if space.state == .ample {
                logger.notice("the disk has room again, writes go on", metadata: metadata)
            } else {
                logger.error("the disk is nearly full: deletes are taken, if anything", metadata: metadata)
            }
        }
        try hostGroups(of: shared.layout)
        let interval = TimeAmount.milliseconds(Int64(max(shared.configuration.heartbeatMilliseconds / 2, 5)))
        ticker = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in
            self?.assumeIsolated { $0.tick() }
        }
    }

    /// Begins to write what the tablets hold in memory to tables.
    func requestFlush() { for group in groupsInOrder { group.advanceDurability() } }

    /// The engines of the replicas on this loop.
    func engines() -> [Engine] { groupsInOrder.map(\.database.engine) }

    /// Hands every leadership to another node; true once there is none left.
    func drain() -> Bool {
        guard let host else { return true }
        host.beginShutdown()
        setNeedsFlush()
        return host.isDrained
    }

    func stop() {
        ticker?.cancel()
        seconds?.cancel()
        for connection in connections.values { connection.channel.close(promise: nil) }
    }

    /// Closes the tablets; nothing may use them afterwards.
    func closeGroups() {
        for group in groupsInOrder {
            do { try group.close() } catch {
                shared.logger.error(
                    "a tablet did not close cleanly; its log is replayed at the next start",
                    metadata: ["group": "\(group.group.rawValue)", "reason": "\(error)"])
            }
        }
        groupsInOrder = []
        busyGroups = []
        groups = [:]
        host = nil
    }

    private func tick() {
        host?.tick(now: clock.nanoseconds)
        flush()
        if let failure = host?.failure {
            shared.logger.critical("the node cannot go on", metadata: ["reason": "\(failure)"])
            fatalExit()
        }
    }

    private func everySecond() {
        router?.tick()
        for group in groupsInOrder {
            group.tick()
            if !group.isIdle { list(group) }
        }
        keepReplicas()
        watchLayout()
        setNeedsFlush()
        if groups[.meta]?.role.isLeader == true, let router {
            Task.immediate(executorPreference: tasks) { await router.resumeCatalogWork() }
        }
    }

    // MARK: Groups

    /// Sees to it that what has gathered is carried out at the end of this turn of the loop.
    func setNeedsFlush() {
        guard !flushScheduled, host != nil else { return }
        flushScheduled = true
        eventLoop.execute { [self] in assumeIsolated { $0.flush() } }
    }

    private func flush() {
        flushScheduled = false
        guard let host else { return }
        for group in busyGroups { group.flush() }
        host.flush()
        busyGroups.removeAll { group in
            group.isListed = !group.isIdle
            return group.isIdle
        }
        // What the host applied may have answers to give and writes to propose: those go with the next turn.
        if busyGroups.contains(where: { $0.needsFlush }) { setNeedsFlush() }
    }

    /// Has a group flushed at the end of each turn until it is idle again.
    private func list(_ group: DataGroup) {
        guard !group.isListed else { return }
        group.isListed = true
        busyGroups.append(group)
    }

    /// Raft messages or a piece of a snapshot, already known to be for groups of this loop or for all.
    func receive(_ frame: ArraySlice<UInt8>, from peer: NodeID, over channel: PeerChannel) {
        if let error = host?.receive(frame: frame, from: peer, over: channel, now: clock.nanoseconds) {
            shared.logger.warning(
                "a peer's frame was refused", metadata: ["peer": "\(peer.rawValue)", "reason": "\(error)"])
        }
        setNeedsFlush()
    }

    func receive(_ messages: [PeerMessage]) {
        for message in messages { host?.receive(message, now: clock.nanoseconds) }
        setNeedsFlush()
    }

    /// The loop of this node on which a group lives.
    func loop(of group: GroupID) -> NodeLoop { siblings[Int(group.rawValue) % siblings.count] }

    /// Carries out a request that came as bytes, on whichever loop its group lives, and answers in bytes.
    ///
    /// `answer` is called once, on some loop of the node.
    nonisolated func call(
        _ bytes: ArraySlice<UInt8>, group: GroupID, among loops: [NodeLoop],
        answer: @escaping @Sendable ([UInt8]) -> Void
    ) {
        let request: GroupRequest
        do throws(DatabaseError) { request = try GroupRequest(decoding: bytes) } catch {
            return answer(
                GroupAnswer.failure(.error(QueryError(.failedToParse, "the request cannot be read: \(error)")))
                    .encoded())
        }
        let owner = loops[Int(group.rawValue) % loops.count]
        owner.onLoop {
            $0.execute(request, in: group) { result in
                switch result {
                case .success(let reply): answer(GroupAnswer.reply(reply).encoded())
                case .failure(let failure): answer(GroupAnswer.failure(failure).encoded())
                }
            }
        }
    }

    /// Runs `work` on this loop: at once when the caller is on it.
    nonisolated func onLoop(_ work: @escaping @Sendable (isolated NodeLoop) -> Void) {
        if eventLoop.inEventLoop { assumeIsolated(work) } else { eventLoop.execute { [self] in assumeIsolated(work) } }
    }

    /// A connection to a peer broke; what was under way on it is lost.
    func peerDisconnected(_ peer: NodeID) {
        host?.peerDisconnected(peer)
        setNeedsFlush()
    }

    /// Carries out a request to a group's replica on this loop.
    func execute(
        _ request: GroupRequest, in group: GroupID, completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        guard let replica = groups[group] else {
            return completion(.failure(.unavailable("group \(group.rawValue) has no replica on this node")))
        }
        replica.execute(request, completion: completion)
        list(replica)
        setNeedsFlush()
    }

    /// A batch of the log is on the disk.
    func logPersisted(_ batch: UInt64) {
        host?.logPersisted(batch)
        setNeedsFlush()
    }

    func leader(of group: GroupID) -> NodeID? { host?.leader(of: group) }

    // MARK: Connections

    func open(_ channel: any Channel) -> ConnectionID {
        let id = ConnectionID(rawValue: nextConnection)
        nextConnection += 1
        connections[id] = ClientConnection(id: id, channel: channel)
        return id
    }

    func close(_ id: ConnectionID) {
        guard let connection = connections.removeValue(forKey: id) else { return }
        // A write goes on without its client, who may not even wait for an answer (`w: 0`).
        if connection.current.flatMap({ shared.commands[$0.name] })?.isWrite != true { connection.task?.cancel() }
        connection.endWait()
    }

    /// Takes one message of a client. Messages of a connection are answered in order, one at a time.
    func receive(_ message: ArraySlice<UInt8>, on id: ConnectionID) {
        guard let connection = connections[id] else { return }
        if connection.isAnswering {
            connection.waiting.append(message)
            if connection.waiting.count >= ClientConnection.waitingCountMax, !connection.isThrottled {
                connection.isThrottled = true
                connection.channel.setOption(.autoRead, value: false).whenFailure { _ in }
            }
        } else {
            begin(message, on: connection)
        }
    }

    private func begin(_ message: ArraySlice<UInt8>, on connection: ClientConnection) {
        let request: ClientRequest
        do throws(WireError) { request = try ClientRequest(parsing: message) } catch {
            if case .document(let problem) = error, let header = try? MessageHeader(parsing: message) {
                // The frame was whole, only what is in it is not BSON: the client hears of it and may go on.
                let reply = Router.errorReply(QueryError(.invalidBSON, "\(problem)"))
                return write(
                    OpMsg(body: reply).encoded(requestID: nextRequestID(), responseTo: header.requestID), to: connection
                )
            }
            shared.logger.warning(
                "client sent a malformed message", metadata: ["client": "\(connection.remote)", "reason": "\(error)"])
            connection.channel.close(promise: nil)
            return
        }
        if request.name == GroupCallCommand.name {
            // Calls of a routing client say which group they are for and may overtake each other.
            return GroupCallCommand.begin(request, on: connection, node: self)
        }
        // The hot path runs to its end here, on the stack of the socket's read, unless it has to wait.
        connection.isAnswering = true
        connection.answerCount &+= 1
        let number = connection.answerCount
        let task = Task.immediate(executorPreference: tasks) { await self.answer(request, on: connection) }
        // It may have ended already, and begun the next message, whose task is the one to cancel then.
        if connection.isAnswering, connection.answerCount == number { connection.task = task }
    }

    private func answer(_ request: ClientRequest, on connection: ClientConnection) async {
        connection.isKilled = false
        let number = nextOperationNumber()
        connection.current = ClientConnection.Operation(
            number: number, name: request.name, database: request.database, command: request.body, startedAt: .now())
        if let reply = await run(request, on: connection) {
            // A connection may have ended while it was answered.
            if request.expectsReply, connections[connection.id] != nil {
                await stream(reply, to: request, on: connection)
            }
        } else {
            connection.channel.close(promise: nil)
        }
        connection.current = nil
        connection.isAnswering = false
        connection.task = nil
        guard let next = connection.waiting.popFirst() else { return }
        if connection.isThrottled, connection.waiting.count < ClientConnection.waitingCountMax / 2 {
            connection.isThrottled = false
            connection.channel.setOption(.autoRead, value: true).whenFailure { _ in }
        }
        begin(next, on: connection)
    }

    /// Writes an answer. All that a turn of the loop has for a connection leaves in one system call, at the turn's end.
    func write(_ bytes: [UInt8], to connection: ClientConnection) {
        var buffer = connection.channel.allocator.buffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        connection.channel.write(buffer, promise: nil)
        guard !connection.needsFlush else { return }
        connection.needsFlush = true
        unflushed.append(connection)
        if unflushed.count == 1 { eventLoop.execute { [self] in assumeIsolated { $0.flushConnections() } } }
    }

    private func flushConnections() {
        let written = unflushed
        unflushed = []
        for connection in written {
            connection.needsFlush = false
            connection.channel.flush()
        }
    }

    /// A number that no operation has on another loop of the node.
    private func nextOperationNumber() -> Int32 {
        let number = Int64(nextRequestID()) * Int64(max(siblings.count, 1)) + Int64(index)
        return Int32(truncatingIfNeeded: number & Int64(Int32.max))
    }

    func nextRequestID() -> Int32 {
        defer { nextOperation &+= 1 }
        return nextOperation
    }

    /// Sixteen random bytes with the marks of a version 4 UUID.
    func randomUUID() -> [UInt8] {
        var bytes = (0..<16).map { _ in UInt8.random(in: 0...255, using: &randomSource) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes
    }
}

/// Ends the process at once: after a failed sync nothing that it believes about its disk may be acted upon.
func fatalExit() -> Never {
    exit(70)
}
