import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSharding

/// Carries a router's requests: to the own node by a call, to others as bytes over the simulated network.
final class SimulatedGateway: GroupGateway {
    private weak var process: SimulatedProcess?
    private var pending: [UInt64: (target: NodeID, completion: (Result<GroupReply, GroupFailure>) -> Void)] = [:]
    private var nextCall: UInt64 = 0

    init(process: SimulatedProcess) { self.process = process }

    func leader(of group: GroupID) -> NodeID? { process?.host?.leader(of: group) }

    func adopt(_ layout: ClusterLayout) {}

    func call(
        _ request: GroupRequest, to group: GroupID, at node: NodeID, deadline: UInt64,
        completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        guard let process, !process.hasEnded else { return completion(.failure(.unavailable("the process has ended"))) }
        let number = nextCall
        nextCall += 1
        pending[number] = (node, completion)
        if node == process.node {
            // An answer may come before this call is over.
            process.execute(request, in: group) { [weak self] in self?.complete(number, $0) }
        } else {
            send(request, to: group, at: node, number, from: process)
            let now = process.clock.nanoseconds
            let patience = deadline > now ? deadline - now : 0
            process.schedule(after: process.machine.clock.trueDuration(patience)) { [weak self] in
                self?.complete(number, .failure(.unavailable("the peer did not answer")))
            }
        }
    }

    private func send(
        _ request: GroupRequest, to group: GroupID, at node: NodeID, _ number: UInt64, from process: SimulatedProcess
    ) {
        let simulation = process.simulation
        let bytes = request.encoded()
        let origin = process.node
        simulation.network.request(from: origin, to: node) { [weak self] in
            guard let target = simulation.machine(node).process else {
                self?.connectionBroke(number)
                return
            }
            target.run(isRequest: true) {
                let arrived = try! GroupRequest(decoding: bytes[...])
                target.execute(arrived, in: group) { result in
                    let answer: GroupAnswer =
                        switch result {
                        case .success(let reply): .reply(reply)
                        case .failure(let failure): .failure(failure)
                        }
                    let bytes = answer.encoded()
                    simulation.network.request(from: node, to: origin) {
                        self?.arrived(bytes, number)
                    } lost: {
                        self?.connectionBroke(number)
                    }
                }
            }
        } lost: { [weak self] in
            self?.connectionBroke(number)
        }
    }

    private func arrived(_ bytes: [UInt8], _ number: UInt64) {
        process?.run { [weak self] in
            switch try! GroupAnswer(decoding: bytes[...]) {
            case .reply(let reply): self?.complete(number, .success(reply))
            case .failure(let failure): self?.complete(number, .failure(failure))
            }
        }
    }

    private func connectionBroke(_ number: UInt64) {
        process?.run { [weak self] in self?.complete(number, .failure(.unavailable("the peer is not connected"))) }
    }

    /// The connection to a node is gone, and with it the answers that were to come over it.
    func peerEnded(_ node: NodeID) {
        for number in pending.filter({ $0.value.target == node }).map(\.key).sorted() { connectionBroke(number) }
    }

    private func complete(_ number: UInt64, _ result: Result<GroupReply, GroupFailure>) {
        pending.removeValue(forKey: number)?.completion(result)
    }

    /// Ends all calls. True if there were any.
    func failAll() -> Bool {
        let numbers = pending.keys.sorted()
        for number in numbers { complete(number, .failure(.unavailable("the process has ended"))) }
        return !numbers.isEmpty
    }
}
