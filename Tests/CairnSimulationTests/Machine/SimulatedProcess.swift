import CairnBSON
import CairnDatabase
import CairnFiles
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator
import CairnStorage

/// A node's process: everything that the server has between its sockets and its files, put together as the server does.
///
/// One loop with all groups of the node, a router on it, and the log's writer, whose thread is a state that events drive.
final class SimulatedProcess {
    unowned let machine: SimulatedMachine
    let simulation: Simulation
    private(set) var hasEnded = false

    private(set) var clock: ProcessClock!
    private(set) var router: Router!
    private(set) var gateway: SimulatedGateway!
    private(set) var host: GroupHost?
    private(set) var groups: [GroupID: DataGroup] = [:]
    private(set) var layout: ClusterLayout
    private(set) var refused: [GroupID: ReplicationError] = [:]
    private(set) var groupFailures: [ReplicationError] = []
    private var groupsInOrder: [DataGroup] = []
    private var retired: [DataGroup] = []
    private var log: SharedLog?
    private var writer: SimulatedLogWriter?
    private let folders: ReplicaFolders
    private let background = ManualBackgroundExecutor()
    private let readers: SimulatedReaders
    private var turnScheduled = false
    private var isWatchingLayout = false

    init(machine: SimulatedMachine) throws {
        self.machine = machine
        simulation = machine.simulation
        layout = simulation.firstLayout
        folders = ReplicaFolders(in: "groups", machine.disk)
        readers = SimulatedReaders()
        clock = ProcessClock(process: self)
        gateway = SimulatedGateway(process: self)
    }

    var fatalFailure: String? { host?.failure?.description ?? writer?.failure }
    var node: NodeID { machine.id }

    /// Opens what the disk holds and starts the clock.
    func open() throws {
        readers.process = self
        machine.disk.use(nil)
        if simulation.plan.encrypts { try machine.disk.encrypt(masterByte: UInt8(node.rawValue)) }
        try folders.removeUnfinished()
        let stored = try storedLayout()
        layout = stored ?? layout
        let log = try SharedLog.open(directory: "raft", fileSystem: machine.disk, options: simulation.logOptions)
        self.log = log
        try folders.finishLeaving(log)
        let writer = SimulatedLogWriter(log: log, process: self)
        self.writer = writer
        let host = try GroupHost(
            node: node, log: log, sink: writer, transport: self, fileSystem: machine.disk, directory: folders.directory,
            options: simulation.hostOptions, seed: machine.random.next() | 1, now: clock.nanoseconds)
        host.onGroupFailure = { [unowned self] error in
            groupFailures.append(error)
            simulation.trace("\(node): \(error)")
        }
        host.learnPeers(layout.nodes.map(\.id))
        self.host = host
        var random = machine.random.split()
        router = Router(
            layout: layout, gateway: gateway, clock: clock, options: simulation.routerOptions, random: { random.next() }
        )
        try hostGroups()
        scheduleTick()
        scheduleSecond()
    }

    /// Ends everything; what waits is told so.
    func end() {
        hasEnded = true
        host = nil
        log = nil
        writer = nil
        groups = [:]
        groupsInOrder = []
        retired = []
        background.discardAll()
        repeat { simulation.executor.drain() } while gateway.failAll() || clock.fireAll()
    }

    // MARK: Time

    /// Does `work` after a while, unless the process has ended by then; a paused one does it when it goes on.
    func schedule(after nanoseconds: UInt64, _ work: @escaping () -> Void) {
        simulation.schedule(after: nanoseconds) { [weak self] in self?.run(work) }
    }

    /// Does `work` now, or when the process goes on, and then whatever follows from it.
    func run(isRequest: Bool = false, _ work: @escaping () -> Void) {
        guard !hasEnded else { return }
        guard !machine.isPaused else {
            return machine.postpone(isRequest: isRequest) { [weak self] in self?.run(work) }
        }
        work()
        simulation.executor.drain()
        setNeedsTurn()
        machine.settle()
    }

    private func scheduleTick() {
        schedule(after: machine.clock.trueDuration(simulation.tickNanoseconds)) { [unowned self] in
            host?.tick(now: clock.nanoseconds)
            scheduleTick()
        }
    }

    private func scheduleSecond() {
        schedule(after: machine.clock.trueDuration(simulation.secondNanoseconds)) { [unowned self] in
            router.tick()
            for group in groupsInOrder { group.tick() }
            keepReplicas()
            watchLayout()
            if groups[.meta]?.role.isLeader == true {
                let router = router!
                simulation.executor.start { await router.resumeCatalogWork() }
            }
            scheduleSecond()
        }
    }

    /// Sees to it that what has gathered is carried out at the end of this turn of the loop.
    func setNeedsTurn() {
        guard !turnScheduled, !hasEnded else { return }
        turnScheduled = true
        simulation.schedule(after: 20_000) { [weak self] in
            guard let self, !hasEnded else { return }
            guard !machine.isPaused else { return machine.postpone { [weak self] in self?.turn() } }
            turn()
        }
    }

    private func turn() {
        turnScheduled = false
        guard let host else { return }
        for group in groupsInOrder { group.flush() }
        host.flush()
        background.runAll()
        simulation.executor.drain()
        for group in groupsInOrder where group.needsFlush { setNeedsTurn() }
        simulation.safety.check(host, of: node, groupsInOrder.map(\.group))
        machine.settle()
    }

    // MARK: Groups

    /// As `NodeLoop.hostGroups`.
    private func hostGroups() throws {
        guard let host else { return }
        for description in layout.groups {
            let belongsHere = description.voters.contains(node)
            if groups[description.id] == nil, !retired.contains(where: { $0.group == description.id }),
                try belongsHere || folders.hasReplica(of: description.id)
            {
                let isNewcomer = try folders.prepare(description.id, isNew: layout.version > 0)
                let group = try openGroup(description.id)
                let observed = ObservedGroup(group, on: node, simulation: simulation)
                do throws(ReplicationError) {
                    try host.add(
                        group: description.id, voters: description.founders,
                        preferredLeader: description.preferredLeader, isNewcomer: isNewcomer, stateMachine: observed)
                    refused[description.id] = nil
                } catch {
                    guard error.code == .damaged || error.code == .logGap else { throw error }
                    refused[description.id] = error
                    simulation.trace("\(node) leaves out \(description.id): \(error)")
                }
                if let status = host.status(of: description.id), machine.starts > 1 || layout.version > 0 {
                    simulation.trace(
                        "\(node) opens \(description.id) in term \(status.term), applied \(status.appliedIndex), log \(status.firstLogIndex)...\(status.lastLogIndex), voters \(status.voters)"
                    )
                }
                group.attach(host)
                groups[description.id] = group
                groupsInOrder.append(group)
            }
            host.place(description.id, voters: description.voters, preferredLeader: description.preferredLeader)
        }
        groupsInOrder.sort { $0.group < $1.group }
    }

    private func openGroup(_ group: GroupID) throws -> DataGroup {
        var options = simulation.databaseOptions
        options.cursorSeed = machine.random.next()
        let (disk, background, engineOptions) = (machine.disk, background, simulation.engineOptions)
        return try DataGroup(
            group: group, node: node, directory: folders.path(of: group), fileSystem: disk, clock: clock,
            readers: simulation.plan.defersReads ? readers : nil, options: simulation.groupOptions,
            databaseOptions: options
        ) { directory in
            try Engine.open(directory: directory, fileSystem: disk, options: engineOptions, background: background)
        }
    }

    /// As `NodeLoop.keepReplicas`.
    private func keepReplicas() {
        guard let host else { return }
        if host.logBatchesInFlight == 0, !retired.isEmpty {
            for group in retired {
                do {
                    try group.close()
                    try folders.remove(group.group)
                } catch { simulation.trace("\(node) cannot delete \(group.group): \(error)") }
            }
            retired = []
            adopt(layout)
        } else if layout.groups.contains(where: { $0.voters.contains(node) && groups[$0.id] == nil }) {
            adopt(layout)
        }
        for group in host.releasedGroups + host.dispensableGroups { retire(group, host) }
    }

    private func retire(_ group: GroupID, _ host: GroupHost) {
        do throws(ReplicationError) { try host.remove(group) } catch {
            return simulation.trace("\(node) keeps \(group) for now: \(error)")
        }
        simulation.safety.forget(group, on: node)
        simulation.trace("\(node) gives up \(group)")
        guard let replica = groups.removeValue(forKey: group) else { return }
        groupsInOrder.removeAll { $0 === replica }
        retired.append(replica)
    }

    // MARK: Layout

    private func watchLayout() {
        guard !isWatchingLayout, simulation.plan.membership else { return }
        isWatchingLayout = true
        let router = router!
        simulation.executor.start { [weak self, clock = clock!] in
            let stored = try? await router.storedLayout(deadline: clock.nanoseconds + 2_000_000_000)
            guard let self, !hasEnded else { return }
            isWatchingLayout = false
            if let stored { keep(stored) }
        }
    }

    /// Makes a newer layout durable, and then what the node goes by.
    func keep(_ newer: ClusterLayout) {
        guard !hasEnded, newer.version > layout.version else { return }
        do {
            try machine.disk.replace("layout", with: Array(newer.document.bytes))
        } catch { return simulation.trace("\(node) cannot write the layout: \(error)") }
        layout = newer
        simulation.trace("\(node) goes by layout \(newer.version)")
        adopt(newer)
    }

    private func storedLayout() throws -> ClusterLayout? {
        guard try machine.disk.exists("layout") else { return nil }
        let document = try Document(validating: try machine.disk.contents(of: "layout"))
        return ClusterLayout(document: document)
    }

    private func adopt(_ layout: ClusterLayout) {
        router.adopt(layout)
        do { try hostGroups() } catch { simulation.trace("\(node) cannot make a replica: \(error)") }
        host?.learnPeers(layout.nodes.map(\.id))
        setNeedsTurn()
    }

    // MARK: Traffic

    /// A frame from a peer. Returns whether it was accepted.
    func receive(_ frame: [UInt8], from peer: NodeID, over channel: PeerChannel) {
        if host?.receive(frame: frame[...], from: peer, over: channel, now: clock.nanoseconds) != nil {
            host?.peerDisconnected(peer)
        }
    }

    func execute(
        _ request: GroupRequest, in group: GroupID, completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        guard let replica = groups[group] else {
            return completion(.failure(.unavailable("group \(group.rawValue) has no replica on this node")))
        }
        replica.execute(request, completion: completion)
        setNeedsTurn()
    }
}

extension SimulatedProcess: PeerTransport {
    func send(_ frame: [UInt8], to peer: NodeID, over channel: PeerChannel) {
        simulation.safety.observe(frame, from: node, to: peer, over: channel)
        simulation.network.carry(frame, from: node, to: peer, over: channel)
    }
}
