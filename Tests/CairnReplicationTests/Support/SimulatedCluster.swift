import CairnFiles
import CairnRaft
import CairnSimulator
import CairnTestSupport
import Foundation
import Testing

@testable import CairnReplication

/// Nodes with real hosts and logs, on simulated disks, over a network that loses, delays and cuts, in simulated time.
///
/// It keeps a ledger of the writes that were acknowledged and checks every read index it is given against it.
final class SimulatedCluster {
    /// Seeds 1 to `count`, or more when `CAIRN_SIMULATIONS` multiplies them.
    static func seeds(_ count: UInt64) -> ClosedRange<UInt64> {
        1...count * (ProcessInfo.processInfo.environment["CAIRN_SIMULATIONS"].flatMap(UInt64.init) ?? 1)
    }

    static let millisecond: UInt64 = 1_000_000
    let seed: UInt64
    var random: SeededGenerator
    let groups: [GroupID]
    var options = GroupHostOptions()
    private(set) var nodes: [SimulatedNode] = []
    private(set) var now: UInt64 = 1_000 * millisecond
    /// Frames lost, in thousandths.
    var lossPermille: UInt64 = 0
    var latencyMilliseconds: UInt64 = 2
    /// How much longer a sync takes than nothing.
    var syncMilliseconds: UInt64 = 2
    var persistsEvery: UInt64 = 20
    var preferredLeaders = false
    /// Tablets are engines instead of the simplest thing that can be one.
    let usesEngine: Bool
    /// Entries' payloads are this much longer than they need be.
    var padding = 0
    /// Sees, changes and may swallow frames on their way.
    var tap: ((Flight) -> Flight?)?

    /// group → key → value of acknowledged writes.
    private(set) var ledger: [GroupID: [UInt64: UInt64]] = [:]
    private(set) var acknowledgedIndex: [GroupID: LogIndex] = [:]
    private(set) var readsAnswered = 0
    private(set) var leaseReads = 0
    private var nextKey: UInt64 = 1
    private var flights: [Flight] = []
    private var cutPairs: Set<[UInt64]> = []
    private var lastArrival: [[UInt64]: UInt64] = [:]

    struct Flight {
        var due: UInt64
        var from: NodeID
        var to: NodeID
        var channel: PeerChannel
        var frame: [UInt8]
    }

    /// The nodes with which every group begins.
    let founders: [NodeID]
    /// Where replicas belong.
    private(set) var homes: [GroupID: [NodeID]] = [:]
    /// Whether the layout is no longer the one that every node began with.
    private(set) var hasMoved = false

    init(
        seed: UInt64, nodes count: Int = 3, founders: Int? = nil, groups groupCount: Int = 3, usesEngine: Bool = false,
        encrypts: Bool = false,
        configure: (inout GroupHostOptions) -> Void = { _ in }
    ) throws {
        self.seed = seed
        self.usesEngine = usesEngine
        random = SeededGenerator(seed: seed)
        groups = (0..<groupCount).map { GroupID(UInt32($0)) }
        self.founders = (1...(founders ?? count)).map { NodeID(UInt64($0)) }
        for group in groups { homes[group] = self.founders }
        options.cluster = 42
        options.raft.electionTimeout = .milliseconds(150)
        options.raft.heartbeatInterval = .milliseconds(30)
        // Short, so that groups fall silent whenever a test pauses.
        options.raft.quietAfter = .milliseconds(Int64(60 + seed % 5 * 60))
        options.raft.quietHeartbeatInterval = .milliseconds(1_000)
        options.logStallNanoseconds = 300 * Self.millisecond
        options.purgeNanoseconds = 100 * Self.millisecond
        options.snapshotRetryNanoseconds = 100 * Self.millisecond
        options.snapshotTimeoutNanoseconds = 2_000 * Self.millisecond
        options.preferredLeaderNanoseconds = 300 * Self.millisecond
        options.readTimeoutNanoseconds = 1_000 * Self.millisecond
        configure(&options)
        nodes = (1...count).map { SimulatedNode(id: NodeID(UInt64($0)), seed: random.next()) }
        for node in nodes {
            node.cluster = self
            node.clockOffset = random.next() % (1_000_000 * Self.millisecond)
        }
        // Every node has a master key and a keyring of its own.
        if encrypts { for node in nodes { try node.fileSystem.encrypt(masterByte: UInt8(node.id.rawValue)) } }
        for node in nodes { try node.start() }
    }

    /// Says where a group's replicas belong from now on; nodes that are down hear of it when they start.
    func move(_ group: GroupID, to voters: [NodeID]) throws {
        homes[group] = voters
        hasMoved = true
        for node in nodes where node.isUp {
            do { try node.followLayout() } catch {
                guard node.fileSystem.isPowerOff else { throw error }
                node.cutPower()
            }
        }
    }

    /// Whether every group is where it belongs and nowhere else.
    var isPlaced: Bool {
        groups.allSatisfy { group in
            guard let host = leader(of: group)?.host, let configuration = host.configuration(of: group) else {
                return false
            }
            return configuration == Configuration(voters: homes[group]!)
                && nodes.allSatisfy { !$0.isUp || ($0.tablets[group] != nil) == homes[group]!.contains($0.id) }
        }
    }

    func node(_ id: NodeID) -> SimulatedNode { nodes[Int(id.rawValue) - 1] }

    // MARK: Network

    func carry(_ frame: [UInt8], from: NodeID, to: NodeID, over channel: PeerChannel) {
        if lossPermille > 0, random.next() % 1000 < lossPermille { return }
        guard !cutPairs.contains([from.rawValue, to.rawValue]) else { return }
        // Order holds within a channel and not between channels.
        let lane = [from.rawValue, to.rawValue, UInt64(channel.rawValue)]
        let due = max(
            now + (1 + random.next() % (2 * latencyMilliseconds)) * Self.millisecond / 2, lastArrival[lane] ?? 0)
        lastArrival[lane] = due
        let flight = Flight(due: due, from: from, to: to, channel: channel, frame: frame)
        guard let tapped = tap.map({ $0(flight) }) ?? flight else { return }
        flights.append(tapped)
    }

    func isolate(_ id: NodeID) {
        for node in nodes where node.id != id { node.host?.peerDisconnected(id) }
        for node in nodes where node.id != id {
            cutPairs.insert([id.rawValue, node.id.rawValue])
            cutPairs.insert([node.id.rawValue, id.rawValue])
        }
    }

    /// Nothing that `from` sends reaches `to` any more.
    func cut(from: NodeID, to: NodeID) { cutPairs.insert([from.rawValue, to.rawValue]) }

    func heal() { cutPairs = [] }

    // MARK: Time

    /// Lets one millisecond pass.
    func step() throws {
        now += Self.millisecond
        let due = flights.filter { $0.due <= now }.sorted { $0.due < $1.due }
        flights.removeAll { $0.due <= now }
        for flight in due where node(flight.to).isUp && !cutPairs.contains([flight.from.rawValue, flight.to.rawValue]) {
            let target = node(flight.to)
            target.host?.receive(
                frame: flight.frame[...], from: flight.from, over: flight.channel, now: target.clock)
        }
        for node in nodes where node.isUp { node.turn() }
    }

    func run(milliseconds: Int) throws {
        for _ in 0..<milliseconds { try step() }
    }

    @discardableResult
    func run(limit: Int = 10_000, until condition: () -> Bool) throws -> Bool {
        for _ in 0..<limit {
            if condition() { return true }
            try step()
        }
        return condition()
    }

    // MARK: Clients

    func leader(of group: GroupID) -> SimulatedNode? {
        nodes.filter { $0.isUp && $0.host?.role(of: group)?.isLeader == true }
            .max { ($0.host!.status(of: group)!.term) < ($1.host!.status(of: group)!.term) }
    }

    /// Whether every replica of every node that is up waits in silence.
    var isQuiet: Bool {
        nodes.allSatisfy { node in
            node.host.map { host in groups.allSatisfy { host.status(of: $0)?.isQuiet ?? true } } ?? true
        }
    }

    var hasAllLeaders: Bool { groups.allSatisfy { leader(of: $0) != nil } }

    /// Proposes one write to whoever claims to lead; several may.
    @discardableResult
    func write(to group: GroupID) -> Bool {
        var taken = false
        for node in nodes where node.isUp && node.host?.role(of: group)?.isLeader == true {
            let key = nextKey
            nextKey += 1
            let value = random.next()
            if node.propose(key: key, value: value, in: group, padding: padding) { taken = true }
        }
        return taken
    }

    /// Writes and reads at random for a while.
    func load(milliseconds: Int, writesPerMillisecond: Int = 1) throws {
        for _ in 0..<milliseconds {
            for _ in 0..<writesPerMillisecond { write(to: groups[Int(random.next() % UInt64(groups.count))]) }
            if random.oneIn(8) { read(from: groups[Int(random.next() % UInt64(groups.count))]) }
            try step()
        }
    }

    func read(from group: GroupID) {
        let known = acknowledgedIndex[group] ?? .zero
        for node in nodes where node.isUp {
            if let index = node.host?.leaseReadIndex(group, now: node.clock) {
                leaseReads += 1
                precondition(
                    index >= known, "seed \(seed): \(node.id) \(group) lease read at \(index), \(known) is acknowledged"
                )
            }
            let tablet = node.tablets[group]
            node.host?.readIndex(group) { result in
                guard case .success(let index) = result else { return }
                self.readsAnswered += 1
                precondition(
                    index >= known, "seed \(self.seed): \(node.id) \(group) read at \(index), \(known) is acknowledged")
                precondition(tablet!.appliedIndex >= index, "seed \(self.seed): read before apply")
            }
        }
    }

    func acknowledge(_ group: GroupID, key: UInt64, value: UInt64, at index: LogIndex) {
        ledger[group, default: [:]][key] = value
        acknowledgedIndex[group] = max(acknowledgedIndex[group] ?? .zero, index)
    }

    var acknowledgedCount: Int { ledger.values.reduce(0) { $0 + $1.count } }

    // MARK: Checks

    /// Mends everything, waits until all replicas are level, and compares them with each other and with the ledger.
    func verify() throws -> String? {
        heal()
        lossPermille = 0
        tap = nil
        for node in nodes {
            node.fileSystem.removeFaults()
            // Also of a process that was killed: the cut that was ordered before would fall into its next life.
            node.fileSystem.cutPower(afterOperations: 1 << 40)
            node.logHangs = false
            if !node.isUp { try node.start() }
        }
        let level = try run(limit: 20_000) { self.isLevel && self.isPlaced }
        guard level else { return "seed \(seed): not level: \(describe())" }
        for group in groups {
            let members = nodes.filter { homes[group]!.contains($0.id) }
            let tablets = members.map { $0.tablets[group]! }
            for (node, tablet) in zip(members, tablets) {
                if tablet.digest != tablets[0].digest { return "seed \(seed): \(group) differs on \(node.id)" }
                for (key, value) in ledger[group] ?? [:] where try tablet.value(of: key) != value {
                    return "seed \(seed): \(group) on \(node.id) lost acknowledged key \(key)"
                }
            }
        }
        return nil
    }

    func expectLevel(_ location: SourceLocation = #_sourceLocation) throws {
        if let problem = try verify() { Issue.record("\(problem)", sourceLocation: location) }
    }

    var isLevel: Bool {
        groups.allSatisfy { group in
            guard let leader = leader(of: group), let status = leader.host?.status(of: group) else { return false }
            return status.appliedIndex == status.lastLogIndex
                && nodes.allSatisfy {
                    !homes[group]!.contains($0.id)
                        || $0.isUp && $0.tablets[group]?.appliedIndex == status.lastLogIndex
                }
        }
    }

    func describe() -> String {
        nodes.map { node in
            "\(node.id) up=\(node.isUp) \(node.crashReason ?? "") "
                + groups.map { group in
                    guard let status = node.host?.status(of: group) else { return "\(group): -" }
                    return
                        "\(group): \(status.role) term \(status.term) commit \(status.commitIndex) applied \(status.appliedIndex) log \(status.firstLogIndex)...\(status.lastLogIndex) \(status.failure?.description ?? "")"
                }.joined(separator: "; ")
        }.joined(separator: "\n")
    }
}

/// A node's process and disk.
final class SimulatedNode: PeerTransport, LogSink {
    let id: NodeID
    let fileSystem: SimulatedFileSystem
    private let folders: ReplicaFolders
    unowned var cluster: SimulatedCluster!
    var clockOffset: UInt64 = 0
    private(set) var host: GroupHost?
    private(set) var log: SharedLog?
    private(set) var tablets: [GroupID: any SimulatedTablet] = [:]
    private(set) var crashReason: String?
    private(set) var groupFailures: [ReplicationError] = []
    private(set) var startFailures: [GroupID: ReplicationError] = [:]
    /// Groups whose replicas were lost and made anew, in all lives.
    private(set) var rejoined: Set<GroupID> = []
    var logHangs = false
    private var batches: [(batch: LogBatch, syncAt: UInt64, written: Bool)] = []
    private var proposals: [GroupID: [LogIndex: (term: Term, key: UInt64, value: UInt64)]] = [:]
    private var lives: UInt64 = 0

    init(id: NodeID, seed: UInt64) {
        self.id = id
        fileSystem = SimulatedFileSystem(seed: seed)
        folders = ReplicaFolders(in: "groups", fileSystem)
    }

    var isUp: Bool { host != nil }
    var clock: UInt64 { cluster.now + clockOffset }

    // MARK: Life

    func start() throws {
        precondition(host == nil)
        do {
            try open()
        } catch {
            guard fileSystem.isPowerOff else { throw error }
            // The cut that a test had ordered fell into the start itself.
            cutPower()
            try open()
        }
    }

    private func open() throws {
        crashReason = nil
        groupFailures = []
        startFailures = [:]
        lives += 1
        let log = try SharedLog.open(directory: "raft", fileSystem: fileSystem, options: logOptions())
        try folders.finishLeaving(log)
        let host = try GroupHost(
            node: id, log: log, sink: self, transport: self, fileSystem: fileSystem, directory: "groups",
            options: cluster.options, seed: id.rawValue << 32 | lives, now: clock)
        host.onFailure = { [unowned self] in self.crashReason = $0.description }
        host.onGroupFailure = { [unowned self] in self.groupFailures.append($0) }
        self.log = log
        host.learnPeers(cluster.nodes.map(\.id))
        try folders.removeUnfinished()
        self.host = host
        do { try followLayout() } catch {
            self.host = nil
            throw error
        }
        self.host = nil
        if fileSystem.isPowerOff { throw FileError(.io, .open, path: "", reason: "the power is off") }
        self.host = host
    }

    /// Hosts what belongs here or was left here, and says where all groups belong.
    func followLayout() throws {
        guard let host else { return }
        for group in cluster.groups {
            let belongsHere = cluster.homes[group]!.contains(id)
            if tablets[group] == nil, !retired.contains(group),
                try belongsHere || folders.hasReplica(of: group)
            {
                let isNewcomer = try folders.prepare(group, isNew: cluster.hasMoved)
                let tablet = try makeTablet(folders.path(of: group))
                tablet.onApply = { [unowned self] in self.applied($0, in: group) }
                tablet.onRole = { [unowned self] role in
                    if !role.isLeader { self.proposals[group] = [:] }
                }
                tablets[group] = tablet
                let preferred =
                    cluster.preferredLeaders ? cluster.founders[Int(group.rawValue) % cluster.founders.count] : nil
                do {
                    try host.add(
                        group: group, voters: cluster.founders, preferredLeader: preferred, isNewcomer: isNewcomer,
                        stateMachine: tablet)
                } catch {
                    startFailures[group] = error
                }
            }
            host.place(
                group, voters: cluster.homes[group]!,
                preferredLeader: cluster.preferredLeaders
                    ? cluster.homes[group]![Int(group.rawValue) % cluster.homes[group]!.count] : nil)
        }
    }

    /// Replicas that are not needed any more, until their files are gone.
    private var retired: [GroupID] = []

    private func retire() throws {
        guard let host else { return }
        if host.logBatchesInFlight == 0 {
            for group in retired { try folders.remove(group) }
            if !retired.isEmpty {
                retired = []
                try followLayout()
            }
        }
        for group in host.releasedGroups {
            rejoined.insert(group)
            try retire(group, host)
        }
        for group in host.dispensableGroups { try retire(group, host) }
    }

    private func retire(_ group: GroupID, _ host: GroupHost) throws {
        try host.remove(group)
        tablets[group] = nil
        retired.append(group)
    }

    private func makeTablet(_ directory: String) throws -> any SimulatedTablet {
        if cluster.usesEngine { return try EngineTablet(directory: directory, fileSystem: fileSystem) }
        let tablet = try TestTablet(directory: directory + "/tablet", fileSystem: fileSystem)
        tablet.persistsEvery = cluster.persistsEvery
        return tablet
    }

    private func logOptions() -> SharedLogOptions {
        var options = SharedLogOptions()
        options.segmentBytes = 1 << 16
        return options
    }

    /// The process ends; the disk keeps what the kernel had.
    func kill() {
        end()
        fileSystem.killProcess()
    }

    /// The power goes: only what was synced is sure.
    func cutPower() {
        end()
        fileSystem.restart()
    }

    private func end() {
        host = nil
        log = nil
        tablets = [:]
        batches = []
        proposals = [:]
        retired = []
    }

    // MARK: Work

    func turn() {
        guard let host else { return }
        writeLog()
        if cluster.now / SimulatedCluster.millisecond % 10 == id.rawValue { host.tick(now: clock) }
        host.flush()
        try? retire()
        for tablet in tablets.values { tablet.runBackground() }
        if fileSystem.isPowerOff {
            cutPower()
        } else if host.failure != nil {
            end()
            fileSystem.killProcess()
        }
    }

    func propose(key: UInt64, value: UInt64, in group: GroupID, padding: Int) -> Bool {
        let payload = TestTablet.payload(key: key, value: value, padding: padding)
        guard let position = try? host?.propose(payload, in: group) else { return false }
        proposals[group, default: [:]][position.index] = (position.term, key, value)
        return true
    }

    private func applied(_ entry: Entry, in group: GroupID) {
        guard let proposal = proposals[group]?.removeValue(forKey: entry.index), proposal.term == entry.term else {
            return
        }
        cluster.acknowledge(group, key: proposal.key, value: proposal.value, at: entry.index)
    }

    // MARK: Log

    func submit(_ batch: LogBatch) {
        let delay = cluster.random.next() % (cluster.syncMilliseconds + 1)
        batches.append(
            (batch, max(cluster.now + delay * SimulatedCluster.millisecond, batches.last?.syncAt ?? 0), false))
    }

    /// Writes at once what came, and syncs what is due: between the two a power cut loses it.
    private func writeLog() {
        guard let log, let host, !logHangs, !batches.isEmpty else { return }
        do throws(SharedLogError) {
            let unwritten = batches.indices.filter { !batches[$0].written }
            if !unwritten.isEmpty {
                try log.append(unwritten.map { batches[$0].batch })
                for index in unwritten { batches[index].written = true }
            }
            let due = batches.prefix { $0.syncAt <= cluster.now }
            guard let last = due.last else { return }
            try log.synchronize()
            batches.removeFirst(due.count)
            host.logPersisted(last.batch.id)
        } catch {
            // As the log thread, which writes the same batches again when there is room.
            if error.code == .outOfSpace { return }
            host.logFailed(batches[0].batch.id, error)
        }
    }

    // MARK: Transport

    func send(_ frame: [UInt8], to peer: NodeID, over channel: PeerChannel) {
        cluster.carry(frame, from: id, to: peer, over: channel)
    }
}
