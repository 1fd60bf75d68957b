import CairnDatabase
import CairnDefects
import CairnRaft
import CairnReplication
import CairnSharding
import CairnStorage
import CairnTestSupport

/// A cluster of whole nodes on simulated disks, clocks and wires, with its clients, in one thread: what happens is determined by a
/// seed and repeats exactly.
///
/// A run has three parts: the cluster comes up and its collections are made; clients work while faults strike; everything is
/// mended, and the cluster has to come back to life within a bound and to show that it kept its promises.
final class Simulation {
    static let electionTimeout: UInt64 = 150_000_000

    let seed: UInt64
    let plan: Plan
    let defects: Defects
    var random: SeededGenerator
    private(set) var now: UInt64 = 1_000_000
    private(set) var eventHash: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var eventCount = 0
    /// What went wrong first.
    private(set) var violation: String?
    private(set) var hasFaults = false
    /// Keys whose histories took too much work to judge.
    var undecidedKeys = 0
    /// For a look at one seed: what happens, as lines.
    var onTrace: ((String) -> Void)?

    let executor = SimulatedExecutor()
    private(set) var network: Network!
    private(set) var machines: [SimulatedMachine] = []
    private(set) var safety: ClusterSafety!
    private(set) var workload: Workload!
    let firstLayout: ClusterLayout
    private var queue = EventQueue<() -> Void>()

    // How nodes are set up: everything is small, so that what takes days in production happens here every second.
    let tickNanoseconds: UInt64 = 15_000_000
    let secondNanoseconds: UInt64 = 250_000_000
    private(set) var hostOptions = GroupHostOptions()
    private(set) var logOptions = SharedLogOptions()
    private(set) var routerOptions = RouterOptions()
    private(set) var databaseOptions = GroupDatabaseOptions()
    private(set) var groupOptions = DataGroupOptions()
    private(set) var engineOptions = EngineOptions()

    init(seed: UInt64, plan: Plan? = nil, defects: Defects = Defects()) {
        self.seed = seed
        self.defects = defects
        random = SeededGenerator(seed: seed)
        self.plan = plan ?? Plan(drawnFrom: &random)
        let nodes = (1...self.plan.nodes).map { number in
            NodeDescription(
                id: NodeID(UInt64(number)), clientAddress: "n\(number):1", peerAddress: "n\(number):2",
                httpAddress: "n\(number):3")
        }
        firstLayout = ClusterLayout.spread(nodes: nodes, dataGroups: 2, replicas: 3)
        network = Network(simulation: self)
        safety = ClusterSafety(simulation: self)
        setOptions()
        for node in nodes {
            machines.append(SimulatedMachine(id: node.id, simulation: self, random: random.split()))
        }
        workload = Workload(simulation: self, clients: self.plan.clients, random: random.split())
    }

    private func setOptions() {
        hostOptions.cluster = 42
        hostOptions.raft.electionTimeout = .nanoseconds(Int64(Self.electionTimeout))
        hostOptions.raft.heartbeatInterval = .milliseconds(30)
        hostOptions.logStallNanoseconds = 300_000_000
        hostOptions.purgeNanoseconds = 100_000_000
        hostOptions.snapshotRetryNanoseconds = 100_000_000
        hostOptions.snapshotTimeoutNanoseconds = 1_500_000_000
        hostOptions.snapshotChunkBytes = 4 << 10
        hostOptions.snapshotWindowBytes = 16 << 10
        hostOptions.preferredLeaderNanoseconds = 400_000_000
        hostOptions.readTimeoutNanoseconds = 700_000_000
        hostOptions.spaceReadingNanoseconds = 200_000_000
        if plan.smallLogs {
            hostOptions.logEntriesKept = 20
            hostOptions.logBytesBeforeFlush = 8 << 10
            hostOptions.logBytesHeldForFollowers = 16 << 10
        }
        logOptions.segmentBytes = plan.smallLogs ? 16 << 10 : 64 << 10
        logOptions.segmentsBeforeCopying = 2
        logOptions.cacheBytesPerGroup = 16 << 10
        routerOptions.commandNanoseconds = 1_500_000_000
        // A group whose leader's wall clock ran ahead keeps its versions ahead. Beyond the drift bound other groups refuse to
        // read at them, so that scans over several groups have to wait until their clocks have come there.
        routerOptions.scansReadOneVersion = !plan.wallJumps
        databaseOptions.documentsReadAtOnce = 8
        engineOptions.memtableBytesMax = 32 << 10
        engineOptions.blockBytes = 1 << 10
        engineOptions.wal = plan.tabletsHaveWAL ? .enabled : .disabled
        hostOptions.raft.defects = defects
        hostOptions.defects = defects
        logOptions.defects = defects
        databaseOptions.defects = defects
        groupOptions.defects = defects
    }

    func machine(_ id: NodeID) -> SimulatedMachine { machines[Int(id.rawValue) - 1] }

    var seconds: Double { Double(now) / 1_000_000_000 }

    // MARK: Events

    func schedule(at time: UInt64, _ work: @escaping () -> Void) { queue.schedule(work, at: max(time, now)) }

    func schedule(after nanoseconds: UInt64, _ work: @escaping () -> Void) {
        queue.schedule(work, at: now + nanoseconds)
    }

    /// Lets things happen until `deadline`, or until something is wrong.
    func pump(until deadline: UInt64) {
        while violation == nil, let time = queue.nextTime, time <= deadline {
            let (_, work) = queue.next()!
            now = time
            eventCount += 1
            work()
            executor.drain()
        }
        now = max(now, deadline)
    }

    /// Lets things happen until `condition` holds; false when it does not within `limit` nanoseconds.
    func pump(limit: UInt64, until condition: () -> Bool) -> Bool {
        let deadline = now + limit
        while violation == nil, now < deadline {
            if condition() { return true }
            pump(until: min(deadline, now + 20_000_000))
        }
        return violation == nil && condition()
    }

    func note(_ what: StaticString, _ values: UInt64...) {
        mix(UInt64(what.utf8CodeUnitCount))
        mix(now)
        for value in values { mix(value) }
    }

    /// A frame's checksum stands for its bytes.
    func note(frame: [UInt8], _ from: UInt64, _ to: UInt64) {
        mix(now)
        mix(from << 32 | to)
        mix(UInt64(frame.count) << 32 | frame[40..<44].reduce(0) { $0 << 8 | UInt64($1) })
    }

    private func mix(_ value: UInt64) { eventHash = (eventHash ^ value) &* 0x0000_0100_0000_01B3 }

    func trace(_ line: @autoclosure () -> String) {
        guard let onTrace else { return }
        onTrace("\(now / 1_000_000) ms  \(line())")
    }

    func fail(_ message: String) {
        guard violation == nil else { return }
        violation = message
        trace("VIOLATION: \(message)")
    }

    // MARK: The run

    /// Returns what went wrong; nil if all promises were kept.
    func run() -> String? {
        for machine in machines { machine.start() }
        comeUp()
        if violation == nil { strike() }
        if violation == nil { mend() }
        if violation == nil { verify() }
        for machine in machines { machine.kill() }
        return violation
    }

    private func comeUp() {
        workload.makeCollections()
        if !pump(limit: 10_000_000_000, until: { workload.isReady }) { fail("liveness: the cluster does not come up") }
    }

    private func strike() {
        hasFaults = true
        applyRates()
        workload.begin()
        scheduleFault()
        pump(until: now + plan.faultNanoseconds)
    }

    private func mend() {
        hasFaults = false
        trace("everything is mended")
        network.heal()
        for machine in machines {
            machine.disk.removeFaults()
            machine.disk.cutPower(afterOperations: 1 << 40)
            machine.disk.setCapacity(.max)
            machine.syncNanosecondsMax = 2_000_000
            machine.hangsUntil = 0
            machine.clock.wallOffsetMilliseconds = 0
            machine.clock.setRate(permille: 1000, now: now)
            machine.resume()
            machine.start()
        }
        checkLiveness()
    }

    func processEnded(on machine: SimulatedMachine) {
        trace("\(machine.id) is down")
        workload.processEnded(on: machine.id)
        for other in machines where other !== machine {
            let gateway = other.process?.gateway
            schedule(after: random.next() % 100_000_000) { gateway?.peerEnded(machine.id) }
            let process = other.process
            schedule(after: random.next() % 50_000_000) { [weak process] in
                process?.run { process?.host?.peerDisconnected(machine.id) }
            }
        }
    }

    func scheduleRestart(of machine: SimulatedMachine) {
        schedule(after: 20_000_000 + random.next() % 600_000_000) { [unowned machine] in
            if !machine.isUp { machine.start() }
        }
    }
}
