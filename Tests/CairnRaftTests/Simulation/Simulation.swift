import CairnDefects
import CairnRaft
import CairnTestSupport

/// A group of replicas on simulated time, network, clocks and disks, with faults and load drawn from a seed.
///
/// One thread, one seed, no clock: the same seed gives the same ``eventHash``.
final class Simulation {
    /// What a run does; each run draws its own, so that faults meet in all combinations.
    struct Plan {
        var voters = 3
        var spares = 0
        var lossPercent: UInt64 = 0
        var duplicationPercent: UInt64 = 0
        var delayMax: UInt64 = 2_000_000
        var longDelayPercent: UInt64 = 0
        var diskDelayMax: UInt64 = 3_000_000
        var diskStallPercent: UInt64 = 0
        var crashes = false
        var partitions = false
        var pauses = false
        var membership = false
        var transfers = false
        var purges = false
        var drift = false
        /// Long silences between writes, so that a follower that lost the leader is not also behind.
        var quietClients = false
        var smallWindows = false
        var announcesCommitsAtOnce = false
        /// Nanoseconds without a use after which the group falls silent; 0 for never.
        var quietAfter: UInt64 = 0

        init() {}

        init(drawnFrom random: inout SeededGenerator) {
            voters = [1, 2, 3, 3, 3, 3, 4, 5, 5][Int(random.next() % 9)]
            if random.oneIn(2) { lossPercent = random.next() % 31 }
            if random.oneIn(2) { duplicationPercent = random.next() % 51 }
            if random.oneIn(2) { delayMax = 1_000_000 + random.next() % 40_000_000 }
            if random.oneIn(3) { longDelayPercent = random.next() % 10 }
            if random.oneIn(2) { diskDelayMax = 1_000_000 + random.next() % 40_000_000 }
            if random.oneIn(3) { diskStallPercent = random.next() % 10 }
            crashes = random.oneIn(2)
            partitions = random.oneIn(2)
            pauses = random.oneIn(3)
            membership = random.oneIn(3)
            spares = membership ? 2 : 0
            transfers = random.oneIn(3)
            purges = random.oneIn(2)
            drift = random.oneIn(2)
            quietClients = random.oneIn(3)
            smallWindows = random.oneIn(2)
            announcesCommitsAtOnce = random.oneIn(2)
            // Short, so that most runs pass through silences between the requests of their clients.
            if !random.oneIn(3) { quietAfter = 1 + random.next() % (quietClients ? 120_000_000 : 30_000_000) }
        }
    }

    private enum Event {
        case deliver(Message)
        case tick(Int, life: Int)
        case disk(Int, life: Int)
        case receipt(Int, life: Int, PersistReceipt)
        case snapshotArrives(SnapshotMetadata, from: Int, to: Int, term: Term)
        case snapshotEnds(Int, life: Int, peer: Int)
        case client
        /// A node's sign of life: its host's number and how often a leader there resigned.
        case sign(from: Int, to: Int, host: UInt64)
        case waitingClient
        case fault
        case isolate(Int)
        case restart(Int)
        case resume(Int)
    }

    private struct Node {
        var core: RaftCore?
        var life = 0
        var isPaused = false
        var clockOffset: UInt64
        var clockPermille: UInt64 = 1000
        var diskFreeAt: UInt64 = 0
        var applied = LogIndex.zero
        /// Proposals of this life that are not answered yet.
        var proposals: [LogPosition] = []
        /// Reads asked for, with what had been acknowledged before.
        var reads: [UInt64: LogIndex] = [:]
        /// What the host knows of the others: when they were heard of by its own clock, and their last signs.
        var heard: [UInt64] = []
        var signs: [UInt64?] = []
        var nextSign: UInt64 = 0
        var absent: [NodeID] = []
        /// Told by signs; it stands for life and resignations.
        var host: UInt64 = 0
        var wasQuiet = false
        var isLeading = false
        /// Events that a paused node will find when it wakes.
        var waiting: [Event] = []
    }

    static let electionTimeout: UInt64 = 100_000_000
    private static let tickInterval: UInt64 = 10_000_000

    let seed: UInt64
    let plan: Plan
    private(set) var checker = SafetyChecker()
    private(set) var eventHash: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var eventCount = 0
    private(set) var acknowledgedWrites = 0
    private(set) var answeredReads = 0
    private(set) var leaseReads = 0
    /// Times that a replica fell silent.
    private(set) var silences = 0
    private var random: SeededGenerator
    private var queue = EventQueue<Event>()
    private var nodes: [Node] = []
    private var disks: [SimulatedDisk] = []
    private var cut: Set<Int> = []  // from * 16 + to
    private var time: UInt64 = 0
    private var faultsEnabled = true
    private var nextContext: UInt64 = 0
    private var options = RaftOptions()
    /// For debugging a seed: every event as a line.
    var trace: ((String) -> Void)?

    init(seed: UInt64, plan: Plan? = nil, defects: Defects = Defects()) {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        self.plan = plan ?? Plan(drawnFrom: &random)
        options.electionTimeout = .nanoseconds(Int64(Self.electionTimeout))
        options.heartbeatInterval = .milliseconds(20)
        options.quietAfter = .nanoseconds(Int64(self.plan.quietAfter))
        options.quietHeartbeatInterval = .milliseconds(300)
        options.announcesCommitsAtOnce = self.plan.announcesCommitsAtOnce
        options.defects = defects
        if self.plan.smallWindows {
            options.inflightMessagesMax = 1 + Int(random.next() % 4)
            options.inflightBytesMax = 200
            options.appendBytesMax = 80
            options.committedBytesMax = 100
            options.uncommittedBytesMax = 600
        }
        let voters = (1...self.plan.voters).map { NodeID(UInt64($0)) }
        for _ in 0..<(self.plan.voters + self.plan.spares) {
            var node = Node(clockOffset: 1 + random.next() % 1_000_000_000_000)
            if self.plan.drift { node.clockPermille = 951 + random.next() % 99 }
            nodes.append(node)
            disks.append(SimulatedDisk(configuration: Configuration(voters: voters)))
        }
    }

    // MARK: The run

    /// Runs faults for `faultTime` nanoseconds, then asks for life. Returns what went wrong, if anything.
    func run(faultTime: UInt64 = 1_200_000_000) -> String? {
        for node in nodes.indices { restart(node) }
        queue.schedule(.client, at: 1_000_000)
        queue.schedule(.fault, at: 50_000_000)
        pump(until: faultTime)
        if let violation = checker.violation { return violation }
        heal()
        var deadline = faultTime
        for _ in 0..<30 {
            deadline += Self.electionTimeout
            pump(until: deadline)
            if let violation = checker.violation { return violation }
            if hasConverged { return nil }
        }
        return "liveness: no convergence 30 election timeouts after the faults\n" + description
    }

    private func pump(until deadline: UInt64) {
        while checker.violation == nil, let (time, event) = queue.next() {
            if time > deadline {
                queue.schedule(event, at: time)
                break
            }
            self.time = time
            eventCount += 1
            handle(event)
        }
        time = deadline
    }

    private func note(_ values: UInt64...) {
        for value in values { eventHash = (eventHash ^ value) &* 0x0000_0100_0000_01B3 }
    }

    private func now(_ node: Int) -> UInt64 {
        nodes[node].clockOffset + time / 1000 * nodes[node].clockPermille
    }

    private func handle(_ event: Event) {
        note(time)
        switch event {
        case .deliver(let message):
            let node = Int(message.to.rawValue) - 1
            guard isUp(node, or: event) else { return }
            note(message.from.rawValue, message.to.rawValue, message.term.rawValue, 1)
            trace?("\(time / 1000) deliver \(message.line)")
            checker.observe(delivered: message, to: nodes[node].core!)
            nodes[node].core!.step(message, now: now(node))
            turn(node)
        case .tick(let node, let life):
            guard nodes[node].life == life, isUp(node, or: event) else { return }
            watchPeers(node)
            nodes[node].core!.tick(now: now(node))
            turn(node, always: true)
            queue.schedule(.tick(node, life: life), at: time + Self.tickInterval)
        case .disk(let node, let life):
            guard nodes[node].life == life, !disks[node].queue.isEmpty else { return }
            diskCompletes(node)
        case .receipt(let node, let life, let receipt):
            guard nodes[node].life == life, isUp(node, or: event) else { return }
            note(UInt64(node), receipt.number, 2)
            nodes[node].core!.persisted(receipt)
            turn(node)
        case .snapshotArrives(let metadata, let from, let to, let term):
            guard isUp(to, or: event) else { return }
            trace?("\(time / 1000) snapshot \(metadata.position) arrives at n\(to + 1)")
            let message = Message(
                from: NodeID(UInt64(from + 1)), to: NodeID(UInt64(to + 1)), term: term, kind: .snapshot(metadata))
            nodes[to].core!.step(message, now: now(to))
            turn(to)
        case .snapshotEnds(let node, let life, let peer):
            guard nodes[node].life == life, isUp(node, or: event) else { return }
            let peerID = NodeID(UInt64(peer + 1))
            let base = disks[peer].durable.log.base.index
            nodes[node].core!.reportSnapshot(to: peerID, result: random.oneIn(2) ? .installed(base) : .failed)
            turn(node)
        case .client: client()
        case .sign(let from, let to, let host):
            guard isUp(to, or: event) else { return }
            takeSign(from: from, host: host, on: to)
        case .waitingClient: serveClients()
        case .fault: fault()
        case .isolate(let node): if faultsEnabled { isolate(node) }
        case .restart(let node): if nodes[node].core == nil { restart(node) }
        case .resume(let node): resume(node)
        }
    }

    /// Whether a node takes events; a paused one finds them later.
    private func isUp(_ node: Int, or event: Event) -> Bool {
        guard nodes[node].core != nil else { return false }
        if nodes[node].isPaused {
            nodes[node].waiting.append(event)
            return false
        }
        return true
    }

    private func observe(_ node: Int) {
        let core = nodes[node].core!
        if checker.isNew(core) {
            for other in nodes.indices where !nodes[other].isPaused {
                guard let holder = nodes[other].core else { continue }
                checker.observe(lease: holder, while: core, now: now(other))
            }
        }
        checker.observe(core, disks[node].storage)
    }

    // MARK: The host

    /// The end of a turn of the node's loop. Often, not always, its work is taken at once.
    private func turn(_ node: Int, always: Bool = false) {
        observe(node)
        if nodes[node].core!.isQuiet != nodes[node].wasQuiet {
            nodes[node].wasQuiet.toggle()
            if nodes[node].wasQuiet { silences += 1 }
            trace?("\(time / 1000) n\(node + 1) \(nodes[node].wasQuiet ? "falls silent" : "is awake")")
        }
        guard always || !random.oneIn(4) else { return }
        var rounds = 0
        while nodes[node].core!.hasReady {
            rounds += 1
            if rounds > 1000 { return checker.fail("n\(node + 1) has always something to do") }
            carryOut(nodes[node].core!.takeReady(), on: node)
            observe(node)
        }
    }

    private func carryOut(_ ready: Ready, on node: Int) {
        disks[node].submit(ready)
        let id = nodes[node].core!.id
        if let role = ready.role {
            if nodes[node].isLeading, role.role != .leader, role.leader == nil { nodes[node].host += 1 }
            nodes[node].isLeading = role.role == .leader
            trace?("\(time / 1000) \(id) is \(role.role) in \(role.term), leader \(role.leader?.description ?? "-")")
        }
        if ready.role?.role == .leader {
            // Clients have waited for this one.
            for _ in 0..<3 { queue.schedule(.waitingClient, at: time + random.next() % 20_000_000) }
        }
        checker.observe(appended: ready.entries, on: id, disks[node].storage)
        if ready.receipt != nil { scheduleDisk(node) }
        if ready.snapshotToInstall != nil { scheduleDisk(node) }
        for message in ready.messages { transmit(message) }
        apply(ready.committed, on: node)
        for read in ready.reads {
            note(UInt64(node), read.context, read.index.rawValue, 3)
            guard let acknowledged = nodes[node].reads.removeValue(forKey: read.context) else {
                checker.fail("\(id) answers read \(read.context) that nobody asked")
                continue
            }
            answeredReads += 1
            checker.observe(read: read.index, askedAfter: acknowledged, by: nodes[node].core!, "confirmed")
        }
        for context in ready.abandonedReads where nodes[node].reads.removeValue(forKey: context) == nil {
            checker.fail("\(id) abandons read \(context) that nobody asked")
        }
        for peer in ready.snapshotsToSend { sendSnapshot(from: node, to: Int(peer.rawValue) - 1) }
        if let failure = ready.logFailure { checker.fail("\(id): \(failure)") }
    }

    // MARK: Signs of life

    /// Shows itself to the others now and then, and tells the core which of them do not.
    private func watchPeers(_ node: Int) {
        guard plan.quietAfter > 0 else { return }
        let now = now(node)
        if now >= nodes[node].nextSign {
            nodes[node].nextSign = now + Self.electionTimeout / 5
            for peer in nodes.indices where peer != node {
                if faultsEnabled, cut.contains(node * 16 + peer) || random.next() % 100 < plan.lossPercent { continue }
                queue.schedule(
                    .sign(from: node, to: peer, host: nodes[node].host),
                    at: time + 50_000 + random.next() % (faultsEnabled ? plan.delayMax : 2_000_000))
            }
        }
        let absent = nodes.indices.filter { $0 != node && nodes[node].heard[$0] + Self.electionTimeout < now }
            .map { NodeID(UInt64($0 + 1)) }
        guard absent != nodes[node].absent else { return }
        nodes[node].absent = absent
        trace?("\(time / 1000) n\(node + 1) has lost sight of \(absent)")
        nodes[node].core!.setAbsent(absent, now: now)
    }

    private func takeSign(from peer: Int, host: UInt64, on node: Int) {
        nodes[node].heard[peer] = now(node)
        guard nodes[node].signs[peer] != host else { return }
        nodes[node].signs[peer] = host
        guard nodes[node].core!.role != .leader, nodes[node].core!.leader?.rawValue == UInt64(peer + 1) else { return }
        nodes[node].core!.wake(now: now(node))
        turn(node)
    }

    private func apply(_ entries: [Entry], on node: Int) {
        guard let last = entries.last else { return }
        let core = nodes[node].core!
        if entries[0].index != nodes[node].applied.next {
            checker.fail("\(core.id) applied \(nodes[node].applied), is given \(entries[0].index)")
        }
        note(UInt64(node), last.index.rawValue, last.term.rawValue, 4)
        let acknowledged = checker.acknowledged
        let isFirst = checker.observe(applied: entries, on: core)
        let status = core.status
        if isFirst, status.role == .leader, status.configurationIndex <= last.index {
            checker.checkDurability(of: last.position, on: disks, status.configuration)
        }
        nodes[node].applied = last.index
        nodes[node].core!.applied(to: last.index)
        for entry in entries {
            while let first = nodes[node].proposals.first, first.index <= entry.index {
                if first == entry.position {
                    acknowledgedWrites += 1
                    checker.observe(acknowledged: first.index)
                }
                nodes[node].proposals.removeFirst()
            }
        }
        if checker.acknowledged > acknowledged {
            // The dangerous moment: whoever else would answer a read now must know of this.
            for other in nodes.indices where !nodes[other].isPaused { readUnderLease(on: other) }
        }
        if random.oneIn(4) { disks[node].flushStateMachine(applied: nodes[node].applied) }
        if plan.purges, random.oneIn(4) { purge(node) }
    }

    private func purge(_ node: Int) {
        let log = disks[node].durable.log
        let limit = min(disks[node].durable.applied, log.lastIndex, nodes[node].core!.commitIndex)
        guard limit > log.base.index, disks[node].storage.term(at: limit) == log.term(at: limit) else { return }
        guard let found = nodes[node].core!.configuration(at: limit) else { return }
        disks[node].purge(through: limit, found)
        nodes[node].core!.compacted(through: limit)
    }

    private func scheduleDisk(_ node: Int) {
        var delay = 100_000 + random.next() % (faultsEnabled ? plan.diskDelayMax : 3_000_000)
        if faultsEnabled, random.next() % 100 < plan.diskStallPercent { delay += Self.electionTimeout }
        nodes[node].diskFreeAt = max(nodes[node].diskFreeAt, time) + delay
        queue.schedule(.disk(node, life: nodes[node].life), at: nodes[node].diskFreeAt)
    }

    private func diskCompletes(_ node: Int) {
        switch disks[node].completeNext() {
        case .batch(let receipt, _):
            // The news of it may be late, and overtaken by the news of a later write.
            queue.schedule(
                .receipt(node, life: nodes[node].life, receipt), at: time + random.next() % 5_000_000)
        case .install(let metadata):
            nodes[node].applied = metadata.position.index
            nodes[node].proposals = []
            nodes[node].core!.snapshotInstalled(metadata)
            turn(node)
        }
    }

    private func sendSnapshot(from node: Int, to peer: Int) {
        let core = nodes[node].core!
        queue.schedule(.snapshotEnds(node, life: nodes[node].life, peer: peer), at: time + 60_000_000)
        guard let metadata = core.snapshotMetadata(at: nodes[node].applied) else { return }
        guard !(faultsEnabled && random.oneIn(4)) else { return }
        queue.schedule(
            .snapshotArrives(metadata, from: node, to: peer, term: core.term),
            at: time + 1_000_000 + random.next() % 40_000_000)
    }

    // MARK: The network

    private func transmit(_ message: Message) {
        let from = Int(message.from.rawValue) - 1
        let to = Int(message.to.rawValue) - 1
        checker.observe(message, disks[from].durable)
        guard nodes.indices.contains(to) else { return }
        if faultsEnabled {
            if cut.contains(from * 16 + to) || random.next() % 100 < plan.lossPercent { return }
            if random.next() % 100 < plan.duplicationPercent { schedule(message) }
        }
        schedule(message)
    }

    private func schedule(_ message: Message) {
        var delay = 50_000 + random.next() % (faultsEnabled ? plan.delayMax : 2_000_000)
        if faultsEnabled, random.next() % 100 < plan.longDelayPercent { delay += random.next() % 500_000_000 }
        queue.schedule(.deliver(message), at: time + delay)
    }

    // MARK: Clients

    private func client() {
        // After the faults a trickle, so that whoever lags can catch up even through the smallest window.
        var pause: UInt64 = faultsEnabled ? 20_000_000 : 100_000_000
        if plan.quietClients, faultsEnabled { pause = 300_000_000 }
        queue.schedule(.client, at: time + 1_000_000 + random.next() % pause)
        serveClients()
    }

    private func serveClients() {
        for node in nodes.indices {
            guard nodes[node].core?.role == .leader, !nodes[node].isPaused else { continue }
            switch random.next() % 4 {
            case 0, 1: propose(on: node)
            case 2: ask(node)
            default: break
            }
            readUnderLease(on: node)
            if plan.transfers, faultsEnabled, random.oneIn(20) {
                let target = random.oneIn(3) ? nil : NodeID(1 + random.next() % UInt64(nodes.count))
                _ = try? nodes[node].core!.transferLeadership(to: target)
            }
            if plan.membership, faultsEnabled, random.oneIn(10) { changeMembership(on: node) }
            turn(node)
        }
    }

    /// Asks a leader for a read that is right under any clocks.
    private func ask(_ node: Int) {
        nextContext += 1
        nodes[node].reads[nextContext] = checker.acknowledged
        do { try nodes[node].core!.requestRead(context: nextContext) } catch { checker.fail("\(error)") }
    }

    /// Reads at this moment, if the node would answer.
    private func readUnderLease(on node: Int) {
        guard let core = nodes[node].core, let index = core.leaseReadIndex(now: now(node)) else { return }
        if core.isQuiet { checker.fail("\(core.id) reads under a lease while it is quiet") }
        nodes[node].core!.noteLeaseRead()
        leaseReads += 1
        checker.observe(read: index, askedAfter: checker.acknowledged, by: core, "lease")
    }

    private func propose(on node: Int) {
        let payloads = (0...(random.next() % 3)).map { _ in random.bytes(Int(random.next() % 40))[...] }
        guard let (term, indexes) = try? nodes[node].core!.propose(payloads) else { return }
        note(UInt64(node), term.rawValue, indexes.upperBound.rawValue, 5)
        var index = indexes.lowerBound
        while index <= indexes.upperBound {
            nodes[node].proposals.append(LogPosition(term: term, index: index))
            index = index.next
        }
    }

    private func changeMembership(on node: Int) {
        var voters: [NodeID] = []
        var learners: [NodeID] = []
        for other in nodes.indices {
            switch random.next() % 4 {
            case 0: learners.append(NodeID(UInt64(other + 1)))
            case 1: break
            default: voters.append(NodeID(UInt64(other + 1)))
            }
        }
        if let position = try? nodes[node].core!.changeMembership(voters: voters, learners: learners) {
            trace?("\(time / 1000) n\(node + 1) changes members at \(position) to \(voters) and \(learners)")
        }
    }

    // MARK: Faults

    private func fault() {
        guard faultsEnabled else { return }
        queue.schedule(.fault, at: time + 20_000_000 + random.next() % 150_000_000)
        var node = Int(random.next() % UInt64(nodes.count))
        // The leader is the interesting one.
        if random.oneIn(3), let leader = nodes.indices.first(where: { nodes[$0].core?.role == .leader }) {
            node = leader
        }
        switch random.next() % 6 {
        case 0 where plan.crashes:
            crash(node)
            queue.schedule(.restart(node), at: time + random.next() % 300_000_000)
        case 1 where plan.crashes && random.oneIn(4):
            for node in nodes.indices {
                crash(node)
                queue.schedule(.restart(node), at: time + random.next() % 50_000_000)
            }
        case 2 where plan.partitions: partition(node)
        case 3 where plan.partitions && random.oneIn(2): separateLeaderInTwoSteps()
        case 3: cut = []
        case 4 where plan.pauses: pause(node)
        case 5 where nodes[node].core != nil && !nodes[node].isPaused:
            nodes[node].core!.reportUnreachable(NodeID(1 + random.next() % UInt64(nodes.count)))
            turn(node)
        default: break
        }
    }

    private func crash(_ node: Int) {
        guard nodes[node].core != nil else { return }
        trace?("\(time / 1000) n\(node + 1) crashes")
        note(UInt64(node), 6)
        nodes[node].core = nil
        nodes[node].life += 1
        nodes[node].isPaused = false
        nodes[node].waiting = []
        nodes[node].proposals = []
        nodes[node].reads = [:]
        nodes[node].diskFreeAt = 0
        let survivors = Int(random.next() % UInt64(disks[node].queue.count + 1))
        var entries = 0
        if disks[node].queue.count > survivors, case .batch(_, let torn) = disks[node].queue[survivors] {
            entries = Int(random.next() % UInt64(torn.count + 1))
        }
        disks[node].cutPower(survivors: survivors, tornHardState: random.oneIn(2), tornEntries: entries)
    }

    private func restart(_ node: Int) {
        do {
            nodes[node].applied = disks[node].durable.applied
            let core = try disks[node].open(
                id: NodeID(UInt64(node + 1)), options: options, seed: random.next(), now: now(node))
            trace?(
                "\(time / 1000) n\(node + 1) starts in \(core.term) with \(core.lastIndex), applied \(core.appliedIndex)"
            )
            nodes[node].core = core
            nodes[node].heard = Array(repeating: now(node), count: nodes.count)
            nodes[node].signs = Array(repeating: nil, count: nodes.count)
            nodes[node].absent = []
            nodes[node].nextSign = 0
            nodes[node].host = random.next()
            nodes[node].wasQuiet = false
            nodes[node].isLeading = false
            checker.observe(restarted: core)
            queue.schedule(
                .tick(node, life: nodes[node].life), at: time + random.next() % Self.tickInterval)
        } catch {
            checker.fail("n\(node + 1) does not open: \(error)")
        }
    }

    private func isolate(_ node: Int) {
        trace?("\(time / 1000) n\(node + 1) is isolated")
        for other in nodes.indices where other != node { cut.formUnion([node * 16 + other, other * 16 + node]) }
    }

    /// One follower loses the leader, and just when it looks for another the leader loses the rest: the moment at which
    /// a lease must hold, or be over.
    private func separateLeaderInTwoSteps() {
        guard let leader = nodes.indices.first(where: { nodes[$0].core?.role == .leader }), nodes.count > 2 else {
            return
        }
        let follower = (leader + 1 + Int(random.next() % UInt64(nodes.count - 1))) % nodes.count
        trace?("\(time / 1000) n\(follower + 1) loses the leader n\(leader + 1)")
        cut = [leader * 16 + follower, follower * 16 + leader]
        queue.schedule(.isolate(leader), at: time + Self.electionTimeout + random.next() % Self.electionTimeout)
    }

    private func partition(_ node: Int) {
        trace?("\(time / 1000) partition around n\(node + 1)")
        switch random.next() % 4 {
        case 0: isolate(node)
        case 1:  // One node that is not heard.
            for other in nodes.indices where other != node { cut.insert(node * 16 + other) }
        case 2:  // One node that hears nothing.
            for other in nodes.indices where other != node { cut.insert(other * 16 + node) }
        default:  // Two sides, perhaps with one node in both.
            let bridge = random.oneIn(2) ? Int(random.next() % UInt64(nodes.count)) : -1
            let side = nodes.indices.map { _ in random.oneIn(2) }
            for from in nodes.indices {
                for to in nodes.indices where from != bridge && to != bridge && side[from] != side[to] {
                    cut.insert(from * 16 + to)
                }
            }
        }
    }

    private func pause(_ node: Int) {
        guard nodes[node].core != nil, !nodes[node].isPaused else { return }
        trace?("\(time / 1000) n\(node + 1) is paused")
        nodes[node].isPaused = true
        queue.schedule(.resume(node), at: time + random.next() % (3 * Self.electionTimeout))
    }

    private func resume(_ node: Int) {
        guard nodes[node].isPaused else { return }
        trace?("\(time / 1000) n\(node + 1) wakes")
        nodes[node].isPaused = false
        // The first thing it may do is to answer a read that was waiting in its socket.
        readUnderLease(on: node)
        if nodes[node].core?.role == .leader, random.oneIn(2) {
            ask(node)
            turn(node, always: true)
        }
        let waiting = nodes[node].waiting
        nodes[node].waiting = []
        for event in waiting { handle(event) }
    }

    // MARK: Liveness

    private func heal() {
        trace?("\(time / 1000) heal")
        faultsEnabled = false
        cut = []
        for node in nodes.indices {
            resume(node)
            if nodes[node].core == nil { restart(node) }
        }
    }

    /// One leader, a commit of its own, no change of members under way, and every member caught up with what was
    /// committed when the others were.
    private var hasConverged: Bool {
        let leaders = nodes.indices.filter { nodes[$0].core?.role == .leader }
        guard leaders.count == 1, let leader = nodes[leaders[0]].core else { return false }
        let status = leader.status
        guard !status.configuration.isJoint, status.configurationIndex <= status.commit else { return false }
        guard let last = checker.committed.last?.entry, last.term == status.term else { return false }
        return status.configuration.members.allSatisfy { member in
            let node = nodes[Int(member.rawValue) - 1]
            return node.core?.leader == leader.id && status.commit - node.applied < 20
        }
    }

    var description: String {
        nodes.map { node in node.core.map { "\($0.status)" } ?? "down" }.joined(separator: "\n")
    }
}
