import CairnRaft

/// Runs the commands of golden scripts on a ``TestCluster``.
struct ScriptedCluster {
    struct Mistake: Error, CustomStringConvertible {
        let description: String
    }

    private final class Transcript {
        var lines: [String] = []
    }

    private var cluster = TestCluster(voters: [1])
    private var options = RaftOptions()
    private var showsHeartbeats = false

    /// Carries out one command and returns what was heard meanwhile.
    mutating func run(_ line: String) throws -> [String] {
        let words = line.split(separator: " ").map(String.init)
        let heard = Transcript()
        let showsHeartbeats = self.showsHeartbeats
        cluster.say = { if showsHeartbeats || !$0.contains("heartbeat") { heard.lines.append($0) } }
        do {
            try run(words[0], Array(words.dropFirst()), heard)
        } catch let error as ProposalError {
            heard.lines.append("refused: \(error)")
        } catch let error as TransferError {
            heard.lines.append("refused: \(error)")
        } catch let error as ReadError {
            heard.lines.append("refused: \(error)")
        }
        return heard.lines.isEmpty && words[0] == "deliver" ? ["(silence)"] : heard.lines
    }

    private mutating func run(_ command: String, _ arguments: [String], _ heard: Transcript) throws {
        func number(_ offset: Int) throws -> UInt64 {
            guard offset < arguments.count, let value = UInt64(arguments[offset]) else {
                throw Mistake(description: "\(command): argument \(offset + 1) is no number")
            }
            return value
        }
        func list(_ name: String) -> [UInt64] {
            let found = arguments.first { $0.hasPrefix(name + "=") }?.dropFirst(name.count + 1)
            return found?.split(separator: ",").compactMap { UInt64($0) } ?? []
        }
        switch command {
        case "cluster":  // cluster voters=1,2,3 learners= others= ; nothing is said yet
            let say = cluster.say
            cluster = TestCluster(
                voters: list("voters"), others: list("others"), learners: list("learners"), options: options)
            cluster.say = say
        case "options":  // options inflight=2 appendBytes=100
            if let value = list("inflight").first { options.inflightMessagesMax = Int(value) }
            if let value = list("appendBytes").first { options.appendBytesMax = Int(value) }
            if let value = list("uncommittedBytes").first { options.uncommittedBytesMax = Int(value) }
            if let value = list("promotionLag").first { options.promotionLagMax = Int(value) }
            if let value = list("commitsAtOnce").first { options.announcesCommitsAtOnce = value != 0 }
            if let value = list("quietAfter").first { options.quietAfter = .milliseconds(value) }
            if let value = list("heartbeats").first { showsHeartbeats = value != 0 }
        case "elect":  // an election that nobody listens to
            let say = cluster.say
            cluster.say = { _ in }
            cluster.campaign(try number(0))
            cluster.deliver()
            cluster.run(milliseconds: 200)
            cluster.say = say
        case "campaign": cluster.campaign(try number(0))
        case "propose":
            for text in arguments.dropFirst() { try cluster.propose(try number(0), text) }
        case "batch":  // several proposals of one turn
            let payloads = arguments.dropFirst().map { Array($0.utf8)[...] }
            _ = try cluster.with(try number(0)) { core throws in try core.propose(payloads) }
        case "deliver":  // deliver [FROM->TO]
            if let link = arguments.first.map({ $0.split(separator: "-") }), link.count == 2 {
                let from = UInt64(link[0])
                let to = UInt64(link[1].dropFirst())
                cluster.deliver { $0.from.rawValue == from && $0.to.rawValue == to }
            } else {
                cluster.deliver()
            }
        case "drop":
            for message in cluster.network { cluster.say("\(message.line) (lost)") }
            cluster.network = []
        case "run": cluster.run(milliseconds: try number(0))
        case "tick": cluster.tick(milliseconds: try number(0))
        case "isolate": cluster.isolate(try number(0))
        case "cut":  // cut FROM TO, one way
            cluster.cut.insert(TestCluster.Link(from: try number(0), to: try number(1)))
        case "heal": cluster.heal()
        case "crash": cluster.crash(try number(0), survivors: arguments.count > 1 ? Int(try number(1)) : 0)
        case "start": cluster.start(try number(0))
        case "hold": cluster.hold(disk: try number(0))
        case "write": cluster.write(try number(0), count: arguments.count > 1 ? Int(try number(1)) : .max)
        case "report": cluster.report(try number(0), at: arguments.count > 1 ? Int(try number(1)) : 0)
        case "release": cluster.release(disk: try number(0))
        case "purge": cluster.purge(try number(0), through: try number(1))
        case "snapshot": cluster.sendSnapshot(from: try number(0), to: try number(1))
        case "lost":  // lost NODE TO REQUEST: a node without a log asks to be taken out
            cluster.network.append(
                Message(
                    from: NodeID(try number(0)), to: NodeID(try number(1)), term: .zero,
                    kind: .logLost(request: try number(2))))
        case "transfer":
            let target = NodeID(try number(1))
            try cluster.with(try number(0)) { core throws in _ = try core.transferLeadership(to: target) }
        case "members":
            let voters = list("voters").map { NodeID($0) }
            let learners = list("learners").map { NodeID($0) }
            _ = try cluster.with(try number(0)) { core throws in
                try core.changeMembership(voters: voters, learners: learners)
            }
        case "read":
            let context = try number(1)
            try cluster.with(try number(0)) { core throws in try core.requestRead(context: context) }
        case "lease":
            let index = cluster[try number(0)].leaseReadIndex(now: cluster.now)
            heard.lines.append(index.map { "lease read at \($0)" } ?? "no lease")
        case "absent":  // absent NODE [nodes=1,2]: the host of a node has lost sight of others
            let absent = list("nodes").map { NodeID($0) }
            let now = cluster.now
            cluster.with(try number(0)) { $0.setAbsent(absent, now: now) }
        case "log":
            let storage = cluster.disk(try number(0)).storage
            if storage.firstIndex > LogIndex(1) { heard.lines.append("purged through \(storage.log.base)") }
            heard.lines += storage.log.entries.map(\.line)
        case "status":
            for node in cluster.nodes {
                guard cluster.isUp(node) else {
                    heard.lines.append("n\(node) down")
                    continue
                }
                let status = cluster[node].status
                var line = "n\(node) \(status.role) term \(status.term) last \(status.last) commit \(status.commit)"
                if status.isRemoved { line += " removed" }
                if status.isQuiet { line += " quiet" }
                if let target = status.transferTarget { line += " handing over to \(target)" }
                for peer in status.peers {
                    line += " \(peer.node):\(peer.phase) \(peer.match)" + (peer.hasLostLog ? " lost" : "")
                }
                heard.lines.append(line)
            }
        default: throw Mistake(description: "unknown command \(command)")
        }
    }
}
