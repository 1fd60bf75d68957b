import CairnBSON
import CairnRaft
import CairnReplication
import CairnSharding

/// Life after the faults.
extension Simulation {
    /// Time until every group takes writes again.
    private static let recoveryLimit = 40 * electionTimeout
    /// Time until all replicas are level and where they belong; snapshots and changes of members take a while.
    private static let convergenceLimit = 200 * electionTimeout

    func checkLiveness() {
        let recovered = workload.probe()
        guard pump(limit: Self.recoveryLimit, until: recovered) else {
            return fail(
                "liveness: no write to every group within 40 election timeouts after the faults\n\(description)")
        }
        trace("every group takes writes")
        workload.end()
        guard pump(limit: Self.convergenceLimit, until: { workload.isQuiet && isLevel }) else {
            return fail("liveness: replicas are not level 200 election timeouts after the faults\n\(description)")
        }
        trace("all replicas are level")
    }

    /// The newest layout that any node goes by.
    private var layout: ClusterLayout {
        machines.compactMap { $0.process?.layout }.max { $0.version < $1.version } ?? firstLayout
    }

    /// The replicas of a group that should be whole, by node.
    func replicas(of group: GroupID) -> [(node: NodeID, status: ReplicaStatus, group: DataGroup)] {
        machines.compactMap { machine in
            guard let process = machine.process, let replica = process.groups[group],
                let status = process.host?.status(of: group), !(machine.isRotten && status.failure != nil)
            else { return nil }
            return (machine.id, status, replica)
        }
    }

    private var isLevel: Bool {
        let layout = layout
        return layout.groups.allSatisfy { description in
            let replicas = replicas(of: description.id)
            guard let leader = replicas.filter(\.status.role.isLeader).max(by: { $0.status.term < $1.status.term }),
                leader.status.appliedIndex == leader.status.lastLogIndex
            else { return false }
            guard Set(leader.status.voters) == Set(description.voters) else { return false }
            let missing = description.voters.filter { voter in !replicas.contains { $0.node == voter } }
            guard missing.allSatisfy({ machine($0).isRotten }) else { return false }
            return replicas.allSatisfy {
                description.voters.contains($0.node) && $0.status.failure == nil
                    && $0.status.appliedIndex == leader.status.lastLogIndex
            }
        }
    }

    var description: String {
        machines.map { machine in
            let groups = firstLayout.groups.map { group in
                guard let status = machine.process?.host?.status(of: group.id) else { return "\(group.id): -" }
                return
                    "\(group.id): \(status.role) term \(status.term) commit \(status.commitIndex) applied \(status.appliedIndex) log \(status.firstLogIndex)...\(status.lastLogIndex) voters \(status.voters) peers \(status.peers.map { "\($0.node) \($0.match) \($0.isActive ? "" : "silent") \($0.snapshot.map { "snapshot \($0)" } ?? "")" }) \(status.failure?.description ?? "")"
            }
            return "\(machine.id) \(machine.isUp ? "up" : "down") layout \(machine.process?.layout.version ?? 0)\n  "
                + groups.joined(separator: "\n  ")
        }.joined(separator: "\n")
    }
}

extension Workload {
    /// Writes every key of every collection until it is answered, and asks for the catalog. The result tells when all is done.
    func probe() -> () -> Bool {
        var left = 0
        func retry(_ attempt: @escaping (_ answered: @escaping (Bool) -> Void) -> Void) {
            left += 1
            func again() {
                attempt { answered in
                    if answered {
                        left -= 1
                    } else {
                        self.simulation.schedule(after: 50_000_000) { again() }
                    }
                }
            }
            again()
        }
        for key in 0..<Int(Self.keys) {
            retry { self.perform(ClientOperation(.write(self.newValue()), key, client: 99, self), completion: $0) }
            retry { self.perform(ClientOperation(.add(1), key, client: 99, self), completion: $0) }
            retry { self.perform(ClientOperation(.append(self.newValue()), key, client: 99, self), completion: $0) }
        }
        retry { answered in
            let command = ClientCommand(
                name: "listCollections", database: Self.database, body: ["listCollections": 1])
            self.run(command, on: self.anyNode()) { answered($0?["ok"] == 1.0) }
        }
        return { left == 0 }
    }

    private func anyNode() -> NodeID {
        let up = simulation.machines.filter(\.isUp)
        return up[Int(random.next() % UInt64(up.count))].id
    }

    func perform(_ operation: ClientOperation, completion: @escaping (Bool) -> Void) {
        run(operation.command, on: anyNode()) { [unowned self] reply in
            var seen: [Int: Int] = [:]
            let answered = reply.map { operation.note($0, in: self, seen: &seen) } ?? false
            if !answered { operation.giveUp(in: self) }
            completion(answered)
        }
    }

    func ask(_ body: Document, completion: @escaping (Document?) -> Void) {
        let command = ClientCommand(name: body.first!.name.string, database: Self.database, body: body)
        run(command, on: anyNode(), completion: completion)
    }
}
