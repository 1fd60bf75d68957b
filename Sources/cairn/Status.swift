import ArgumentParser
import CairnBSON
import CairnClient
import NIOPosix

/// `cairn status`: the nodes, the groups, who leads them, and who lags.
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the nodes, the groups, their leaders and their lag.",
        discussion: "The exit code is 0 when every node answers and every group has a leader, otherwise 1.")

    @Argument(help: ArgumentHelp("Any node of the cluster.", valueName: "address"))
    var address = "127.0.0.1:27017"

    @Option(help: ArgumentHelp("Wait up to this long until every group has a leader.", valueName: "seconds"))
    var wait = 0

    func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let deadline = ContinuousClock.now + .seconds(wait)
        var lastCount: Int?
        while true {
            let fetched: Result<ClusterStatus, ClientError>
            do throws(ClientError) {
                fetched = .success(try await ClusterStatus.fetch(from: try ConnectionString(address), on: group.next()))
            } catch {
                fetched = .failure(error)
            }
            let isLate = ContinuousClock.now >= deadline
            switch fetched {
            case .success(let status):
                let leaderless = status.leaderlessGroups.count
                if leaderless == 0 || isLate {
                    print(status.text)
                    throw ExitCode(leaderless == 0 && (wait > 0 || status.silentNodes.isEmpty) ? 0 : 1)
                }
                if lastCount != leaderless {
                    print("\(status.groupCount - leaderless) of \(status.groupCount) groups have a leader")
                    lastCount = leaderless
                }
            case .failure(let error):
                if isLate {
                    print("cairn status: \(error)")
                    throw ExitCode(1)
                }
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }
}

extension Document {
    /// One word for the state of the node that sent this reply.
    fileprivate var stateOfNode: String {
        let space = self["space"]?.asDocument
        guard let state = space?["state"]?.stringValue, state != "ample" else { return "up" }
        return "read-only: \((space?["freeBytes"]?.int64Exactly ?? 0) >> 20) MiB free"
    }
}

extension ClusterStatus {
    /// Two tables: the nodes, and the groups.
    var text: String {
        var nodeTable = Table(
            ["node", "client", "state", "memory", "connections", "leads", "uptime"], numbers: [0, 3, 4, 5, 6])
        for node in nodes {
            let leads = groups.count { $0.leader == node.id }
            guard let reply = node.reply else {
                nodeTable.add(["\(node.id)", node.address, "no answer", "-", "-", "\(leads)", "-"])
                continue
            }
            nodeTable.add([
                "\(node.id)", node.address, reply.stateOfNode,
                "\((reply["residentBytes"]?.int64Exactly ?? 0) >> 20) MiB",
                "\(reply["connections"]?.int64Exactly ?? 0)", "\(leads)",
                "\((reply["uptimeMillis"]?.int64Exactly ?? 0) / 1000) s",
            ])
        }
        let ids = nodes.map(\.id)
        var groupTable = Table(
            ["group", "leader", "term", "committed", "log"] + ids.map { "lag of \($0)" },
            numbers: Set(2..<(5 + ids.count)))
        for group in groups {
            groupTable.add(
                [
                    group.id == 0 ? "0 (meta)" : "\(group.id)", group.leader.map { "node \($0)" } ?? "none",
                    "\(group.term)", "\(group.commitIndex)", "\(group.logBytes / 1024) KiB",
                ] + ids.map { id in group.lag[id].map(String.init) ?? "-" })
        }
        let failures = groups.flatMap { group in group.failures.map { "group \(group.id), \($0)" } }
        return ([nodeTable.text, "", groupTable.text] + (failures.isEmpty ? [] : [""] + failures)).joined(
            separator: "\n")
    }
}
