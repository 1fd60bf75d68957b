import CairnBSON
import CairnDatabase
import CairnRaft
import CairnSharding
import CairnTestSupport

/// A client that does one thing after the other: it has a session, repeats what got no answer as drivers do, and notes what it
/// saw.
final class SimulatedClient {
    private static let patienceNanoseconds: UInt64 = 1_800_000_000

    let number: Int
    private unowned let workload: Workload
    private var node: NodeID
    private var session: (high: UInt64, low: UInt64)
    private var transaction: Int64 = 0
    /// What is under way: which operation, which attempt at it.
    private var current: (operation: ClientOperation, command: ClientCommand, attempt: Int)?
    private var attempts = 0
    private var random: SeededGenerator
    /// The last values seen, which conditions go by.
    private var seen: [Int: Int] = [:]

    init(number: Int, workload: Workload) {
        self.number = number
        self.workload = workload
        random = workload.random.split()
        node = NodeID(UInt64(number % workload.simulation.plan.nodes + 1))
        session = (random.next(), random.next())
    }

    var isBusy: Bool { current != nil }
    private var simulation: Simulation { workload.simulation }

    /// Thinks a little, and then does the next thing.
    func pauseAndGoOn() {
        simulation.schedule(after: 1_000_000 + random.next() % 60_000_000) { [unowned self] in
            guard workload.isWorking, current == nil else { return }
            let operation = ClientOperation(drawnFrom: &random, client: number, seen: seen, workload)
            var command = operation.command
            if operation.isWrite {
                transaction += 1
                command.session = SessionStamp(
                    sessionHigh: session.high, sessionLow: session.low, transactionNumber: transaction)
            }
            send(operation, command, isRetry: false)
        }
    }

    private func send(_ operation: ClientOperation, _ command: ClientCommand, isRetry: Bool) {
        attempts += 1
        let attempt = attempts
        current = (operation, command, attempt)
        if random.oneIn(6) || isRetry { node = anyNode() }
        workload.run(command, on: node) { [weak self] reply in self?.answered(attempt, reply) }
        simulation.schedule(after: Self.patienceNanoseconds) { [weak self] in self?.answered(attempt, nil) }
    }

    private func anyNode() -> NodeID { NodeID(1 + random.next() % UInt64(simulation.plan.nodes)) }

    func processEnded(on node: NodeID) {
        guard self.node == node, let current else { return }
        answered(current.attempt, nil)
    }

    private func answered(_ attempt: Int, _ reply: Document?) {
        guard let (operation, command, underWay) = current, underWay == attempt else { return }
        if let reply, operation.note(reply, in: workload, seen: &seen) {
            workload.countAnswer()
        } else if operation.isWrite, workload.isWorking, random.oneIn(2) {
            // The outcome is unknown. The same number again does it once, wherever it is asked.
            return simulation.schedule(after: 1_000_000 + random.next() % 50_000_000) { [unowned self] in
                guard current?.attempt == attempt else { return }
                send(operation, command, isRetry: true)
            }
        } else {
            operation.giveUp(in: workload)
            node = anyNode()
        }
        current = nil
        pauseAndGoOn()
    }
}
