import CairnRaft

/// A few replicas whose clock, network and disks a test moves by hand.
///
/// Messages wait in ``network`` until they are delivered, oldest first. Disks are durable at once unless they are
/// ``hold(disk:)``ed. Everything that happens is told to ``say``.
final class TestCluster {
    struct Link: Hashable {
        let from: UInt64
        let to: UInt64
    }

    private struct Member {
        var core: RaftCore?
        let disk: SimulatedDisk
        var life: UInt64 = 0
        var isDiskHeld = false
        var isPaused = false
        var applied: [Entry] = []
    }

    var options: RaftOptions
    private let founders: Configuration
    private var members: [UInt64: Member] = [:]
    var network: [Message] = []
    var cut: Set<Link> = []
    private(set) var now: UInt64 = 1_000_000_000
    private(set) var reads: [UInt64: [ReadState]] = [:]
    private(set) var abandonedReads: [UInt64: [UInt64]] = [:]
    private(set) var snapshotsToSend: [(from: UInt64, to: UInt64)] = []
    /// Receipts of held disks whose writes are durable but not reported.
    private(set) var receipts: [UInt64: [PersistReceipt]] = [:]
    /// Every message that left a node, delivered or not.
    private(set) var sent: [Message] = []
    var say: (String) -> Void = { _ in }

    init(voters: [UInt64], others: [UInt64] = [], learners: [UInt64] = [], options: RaftOptions = RaftOptions()) {
        self.options = options
        founders = Configuration(voters: voters.map { NodeID($0) }, learners: learners.map { NodeID($0) })
        for node in voters + learners + others {
            members[node] = Member(disk: SimulatedDisk(configuration: founders))
            start(node)
        }
    }

    /// A cluster of `1...count` that node 1 leads, with all messages delivered.
    static func led(_ count: Int, others: [UInt64] = [], options: RaftOptions = RaftOptions()) -> TestCluster {
        let cluster = TestCluster(voters: (1...count).map { UInt64($0) }, others: others, options: options)
        cluster.campaign(1)
        cluster.deliver()
        cluster.run(milliseconds: 200)
        precondition(cluster[1].role == .leader, "node 1 does not lead")
        return cluster
    }

    var nodes: [UInt64] { members.keys.sorted() }

    subscript(node: UInt64) -> RaftCore { members[node]!.core! }
    func isUp(_ node: UInt64) -> Bool { members[node]?.core != nil }
    func disk(_ node: UInt64) -> SimulatedDisk { members[node]!.disk }
    func applied(_ node: UInt64) -> [Entry] { members[node]!.applied }
    func appliedText(_ node: UInt64) -> [String] {
        applied(node).filter { $0.kind == .normal }.map { String(decoding: $0.payload, as: UTF8.self) }
    }
    var leaders: [UInt64] { nodes.filter { isUp($0) && self[$0].role == .leader } }

    // MARK: Nodes

    func start(_ node: UInt64) {
        members[node]!.life += 1
        do {
            members[node]!.core = try members[node]!.disk.open(
                id: NodeID(node), options: options, seed: node * 1000 + members[node]!.life, now: now)
        } catch {
            say("n\(node) does not open: \(error)")
        }
        members[node]!.applied = []
    }

    func crash(_ node: UInt64, survivors: Int = 0, tornHardState: Bool = false, tornEntries: Int = 0) {
        members[node]!.core = nil
        members[node]!.disk.cutPower(survivors: survivors, tornHardState: tornHardState, tornEntries: tornEntries)
        receipts[node] = nil
    }

    func pause(_ node: UInt64) { members[node]!.isPaused = true }
    func resume(_ node: UInt64) { members[node]!.isPaused = false }

    /// Lets a test drive a core directly; its work is carried out afterwards.
    @discardableResult
    func with<Result>(_ node: UInt64, _ body: (inout RaftCore) throws -> Result) rethrows -> Result {
        let result = try body(&members[node]!.core!)
        drain(node)
        return result
    }

    func campaign(_ node: UInt64) { with(node) { [now] in $0.campaign(now: now) } }

    @discardableResult
    func propose(_ node: UInt64, _ text: String) throws -> LogPosition {
        try with(node) { core throws in try core.propose(Array(text.utf8)[...]) }
    }

    // MARK: Disks

    func hold(disk node: UInt64) { members[node]!.isDiskHeld = true }

    /// Makes `count` writes of a held disk durable without telling the core.
    func write(_ node: UInt64, count: Int = .max) {
        for _ in 0..<min(count, disk(node).queue.count) {
            switch disk(node).completeNext() {
            case .batch(let receipt, _): receipts[node, default: []].append(receipt)
            case .install(let metadata): with(node) { $0.snapshotInstalled(metadata) }
            }
        }
    }

    /// Tells the core of the `offset`th of its durable writes.
    func report(_ node: UInt64, at offset: Int = 0) {
        guard let known = receipts[node], offset < known.count else { return say("n\(node) has no such receipt") }
        let receipt = receipts[node]!.remove(at: offset)
        with(node) { $0.persisted(receipt) }
    }

    func release(disk node: UInt64) {
        members[node]!.isDiskHeld = false
        write(node)
        while receipts[node]?.isEmpty == false { report(node) }
    }

    func purge(_ node: UInt64, through index: UInt64) {
        let found = self[node].configuration(at: LogIndex(index))!
        disk(node).flushStateMachine(applied: LogIndex(index))
        disk(node).purge(through: LogIndex(index), found)
        with(node) { $0.compacted(through: LogIndex(index)) }
    }

    /// Carries a snapshot of `from`'s applied state to `to`.
    func sendSnapshot(from: UInt64, to: UInt64) {
        snapshotsToSend.removeAll { $0.from == from && $0.to == to }
        let core = self[from]
        guard let metadata = core.snapshotMetadata(at: core.appliedIndex) else { return }
        network.append(
            Message(from: core.id, to: NodeID(to), term: core.term, kind: .snapshot(metadata)))
    }

    // MARK: Network

    func isolate(_ node: UInt64) {
        for other in nodes where other != node {
            cut.formUnion([Link(from: node, to: other), Link(from: other, to: node)])
        }
    }

    func cut(between left: [UInt64], and right: [UInt64]) {
        for from in left { for to in right { cut.formUnion([Link(from: from, to: to), Link(from: to, to: from)]) } }
    }

    func heal() { cut = [] }

    /// Delivers waiting messages and what they cause, oldest first, as far as `filter` lets them pass.
    func deliver(where filter: (Message) -> Bool = { _ in true }) {
        var rounds = 0
        while let offset = network.firstIndex(where: filter) {
            rounds += 1
            precondition(rounds < 100_000, "the conversation does not end")
            deliver(network.remove(at: offset))
        }
    }

    func deliver(_ message: Message) {
        let to = message.to.rawValue
        guard members[to]?.core != nil, !members[to]!.isPaused,
            !cut.contains(Link(from: message.from.rawValue, to: to))
        else { return say("\(message.line) (lost)") }
        say(message.line)
        with(to) { [now] in $0.step(message, now: now) }
    }

    // MARK: Time

    func advance(milliseconds: UInt64) { now += milliseconds * 1_000_000 }

    /// Ticks every node without delivering anything.
    func tick(milliseconds: UInt64 = 0) {
        advance(milliseconds: milliseconds)
        for node in nodes where isUp(node) && !members[node]!.isPaused { with(node) { [now] in $0.tick(now: now) } }
    }

    /// Lets time pass in steps of 50 ms, with all messages delivered after each.
    func run(milliseconds: UInt64, until isDone: () -> Bool = { false }) {
        for _ in 0..<(milliseconds / 50) {
            tick(milliseconds: 50)
            deliver()
            if isDone() { return }
        }
    }

    // MARK: The host

    private func drain(_ node: UInt64) {
        while let core = members[node]?.core, core.hasReady {
            let ready = members[node]!.core!.takeReady()
            carryOut(ready, on: node)
            guard !members[node]!.isDiskHeld else { continue }
            while !disk(node).queue.isEmpty {
                switch disk(node).completeNext() {
                case .batch(let receipt, _): members[node]!.core!.persisted(receipt)
                case .install(let metadata):
                    members[node]!.core!.snapshotInstalled(metadata)
                    say("n\(node) installed \(metadata.position)")
                }
            }
        }
        members[node]?.core?.checkInvariants()
    }

    private func carryOut(_ ready: Ready, on node: UInt64) {
        disk(node).submit(ready)
        network += ready.messages
        sent += ready.messages
        if let role = ready.role {
            switch role.role {
            case .leader: say("n\(node) leads term \(role.term)")
            case .follower: say("n\(node) follows \(role.leader?.description ?? "nobody") in term \(role.term)")
            case .preCandidate: say("n\(node) asks around in term \(role.term)")
            case .candidate: say("n\(node) stands for term \(role.term)")
            }
        }
        if let found = ready.configuration { say("n\(node) uses \(found.configuration) of \(found.index)") }
        if let last = ready.committed.last {
            members[node]!.applied += ready.committed
            members[node]!.core!.applied(to: last.index)
            say("n\(node) applies " + ready.committed.map(\.line).joined(separator: ", "))
        }
        for read in ready.reads { say("n\(node) may answer read \(read.context) at \(read.index)") }
        for read in ready.abandonedReads { say("n\(node) abandons read \(read)") }
        reads[node, default: []] += ready.reads
        abandonedReads[node, default: []] += ready.abandonedReads
        for peer in ready.snapshotsToSend {
            snapshotsToSend.append((node, peer.rawValue))
            say("n\(node) must send a snapshot to \(peer)")
        }
    }
}
