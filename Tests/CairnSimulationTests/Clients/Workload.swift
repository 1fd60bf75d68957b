import CairnBSON
import CairnRaft
import CairnSharding
import CairnTestSupport

/// The clients of a simulated cluster, and what they saw.
///
/// Four collections, a kind of thing each: registers with a secondary index, counters, lists, and a ledger of documents that are
/// only inserted.
final class Workload {
    static let database = "simulation"
    static let registers = "registers"
    static let counters = "counters"
    static let lists = "lists"
    static let ledger = "ledger"
    static let collections = [registers, counters, lists, ledger]
    static let keys: UInt64 = 5

    unowned let simulation: Simulation
    var random: SeededGenerator
    private(set) var isReady = false
    private(set) var isWorking = false
    private var clients: [SimulatedClient] = []

    var registerHistory = History<Int, RegisterModel>()
    var counterHistory = History<Int, CounterModel>()
    var listHistory = History<Int, ListModel>()
    /// Documents that were sent to the ledger, and what was answered: nil while nothing was.
    var ledgerEntries: [Int: Bool?] = [:]
    private var nextValue = 0
    private(set) var answers = 0

    init(simulation: Simulation, clients count: Int, random: SeededGenerator) {
        self.simulation = simulation
        self.random = random
        clients = (1...count).map { SimulatedClient(number: $0, workload: self) }
    }

    /// A number that nobody has had.
    func newValue() -> Int {
        nextValue += 1
        return nextValue
    }

    func countAnswer() { answers += 1 }

    // MARK: Phases

    func makeCollections() { make(Self.collections[...]) }

    private func make(_ left: ArraySlice<String>) {
        guard let name = left.first else { return makeIndex() }
        repeatUntilOK(["create": .string(BSONString(name))]) { [unowned self] in make(left.dropFirst()) }
    }

    private func makeIndex() {
        let index: Document = ["key": ["v": 1], "name": "v_1"]
        repeatUntilOK(["createIndexes": .string(BSONString(Self.registers)), "indexes": [.document(index)]]) {
            [unowned self] in
            isReady = true
        }
    }

    private func repeatUntilOK(_ body: Document, then: @escaping () -> Void) {
        let node = simulation.machines[Int(random.next() % UInt64(simulation.machines.count))].id
        run(ClientCommand(name: body.first!.name.string, database: Self.database, body: body), on: node) {
            [unowned self] reply in
            if let reply, reply["ok"] == 1.0 || reply["code"] == 48 { return then() }
            simulation.schedule(after: 100_000_000) { [unowned self] in repeatUntilOK(body, then: then) }
        }
    }

    func begin() {
        isWorking = true
        for client in clients { client.pauseAndGoOn() }
    }

    func end() { isWorking = false }

    /// Whether no client waits for an answer.
    var isQuiet: Bool { clients.allSatisfy { !$0.isBusy } }

    func processEnded(on node: NodeID) {
        for client in clients { client.processEnded(on: node) }
    }

    // MARK: Commands

    /// Runs a command on a node's router. `completion` hears the reply, or nil when the node is down or ends meanwhile; never both.
    func run(_ command: ClientCommand, on node: NodeID, completion: @escaping (Document?) -> Void) {
        guard let process = simulation.machine(node).process else {
            return simulation.schedule(after: 5_000_000) { completion(nil) }
        }
        let executor = simulation.executor
        process.run(isRequest: true) { [unowned process] in
            let router = process.router!
            executor.start { [weak process] in
                let reply = await router.run(command)
                let isGone = process?.hasEnded ?? true
                completion(isGone ? nil : reply)
            }
        }
    }
}
