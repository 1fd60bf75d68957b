import ArgumentParser
import CairnBSON
import CairnClient
import CairnRaft
import CairnServer
import CairnSharding
import Foundation
import NIOCore
import NIOPosix

/// `cairn node`: nodes join and leave while clients write.
struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Add nodes to a running cluster, empty them, replace and remove them.",
        discussion: """
            A node that joins:     cairn node add --data DIR --client HOST:PORT ADDRESS, then cairn serve --data DIR
            A node that leaves:    cairn node drain N ADDRESS, then cairn node remove N ADDRESS, then stop it
            A node that is gone:   its replicas are made anew elsewhere after cluster.rebuild-after-seconds, or at once by \
            cairn node drain N

            ADDRESS is any node of the cluster. Reads and writes go on meanwhile.
            """,
        subcommands: [List.self, Add.self, Drain.self, Activate.self, Remove.self, Replace.self])

    /// `cairn node list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the nodes and what they are to hold.")
        @OptionGroup var cluster: ClusterOption

        func run() async throws {
            let layout = try await cluster.layout()
            var table = Table(
                ["node", "state", "client", "peer", "http", "replicas", "leads"], numbers: [0, 5, 6])
            for node in layout.nodes {
                table.add([
                    "\(node.id.rawValue)", node.state.rawValue, node.clientAddress, node.peerAddress, node.httpAddress,
                    "\(layout.groups.count { $0.voters.contains(node.id) })",
                    "\(layout.groups.count { $0.preferredLeader == node.id })",
                ])
            }
            print(table.text)
        }
    }

    /// `cairn node add`
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a new node into a running cluster, and make its data folder.",
            discussion: """
                Run it on the new machine. The cluster gives the node a number and its share of the replicas, which move \
                once the node runs: start it with 'cairn serve --data DIR'. It may be repeated.
                """)
        @Option(help: ArgumentHelp("The new node's data folder.", valueName: "dir"))
        var data: String
        @Option(help: ArgumentHelp("Where drivers will reach the node.", valueName: "host:port"))
        var client: String
        @Option(
            help: ArgumentHelp(
                "Where the other nodes will reach it (default: 100 above client).", valueName: "host:port"))
        var peer: String?
        @Option(
            help: ArgumentHelp("Where operators will reach it (default: 1000 above client).", valueName: "host:port"))
        var http: String?
        @OptionGroup var cluster: ClusterOption

        func run() async throws {
            guard let endpoint = SocketEndpoint(parsing: client), endpoint.port + 1000 <= 65_535 else {
                throw ValidationError("--client: '\(client)' is no address like 10.0.0.4:27017")
            }
            // Before the cluster counts on the node.
            guard try NodeFolder.mayJoin(with: data) else {
                throw NodeCommandFailure("\(data) holds other data: name an empty folder, or one that is not there")
            }
            let reply = try await cluster.ask([
                "cairnAddNode": 1, "client": .text(client),
                "peer": .text(peer ?? "\(endpoint.host):\(endpoint.port + 100)"),
                "http": .text(http ?? "\(endpoint.host):\(endpoint.port + 1000)"),
            ])
            guard let id = reply["node"]?.int64Exactly, let name = reply["cluster"]?.stringValue,
                let layout = reply["layout"]?.asDocument.flatMap({ ClusterLayout(document: $0) }),
                let life = reply["life"]?.asDocument.flatMap({ ClusterLife(document: $0) })
            else { throw NodeCommandFailure("the cluster's answer cannot be read: \(reply)") }
            do {
                try NodeFolder.prepare(
                    data, node: NodeID(rawValue: UInt64(id)), cluster: name, life: life, layout: layout)
            } catch {
                throw NodeCommandFailure("\(error)")
            }
            print("node \(id) belongs to the cluster '\(name)'; start it: cairn serve --data \(data)")
        }
    }

    /// `cairn node drain`
    struct Drain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move all replicas and leaders of a node to the others, and wait until it is empty.",
            discussion: "A node that is down can be drained as well: its replicas are made anew from their peers.")
        @Argument(help: "The node's number.") var node: Int
        @OptionGroup var cluster: ClusterOption
        @OptionGroup var patience: PatienceOption

        func run() async throws {
            _ = try await cluster.ask(["cairnDrainNode": 1, "node": .int64(Int64(node))])
            try await cluster.waitUntilEmpty(node, patience)
            print("node \(node) is empty; forget it: cairn node remove \(node) \(cluster.address)")
        }
    }

    /// `cairn node activate`
    struct Activate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a drained node replicas again.")
        @Argument(help: "The node's number.") var node: Int
        @OptionGroup var cluster: ClusterOption

        func run() async throws {
            _ = try await cluster.ask(["cairnActivateNode": 1, "node": .int64(Int64(node))])
            print("node \(node) is active")
        }
    }

    /// `cairn node remove`
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a node that holds no replica any more.",
            discussion: "Refused while it holds one: drain it first. Its number is not given again.")
        @Argument(help: "The node's number.") var node: Int
        @OptionGroup var cluster: ClusterOption

        func run() async throws {
            _ = try await cluster.ask(["cairnRemoveNode": 1, "node": .int64(Int64(node))])
            print("node \(node) is no longer in the cluster; its process may be stopped and its folder deleted")
        }
    }

    /// `cairn node replace`
    struct Replace: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move everything of one node to another, and wait until the first is empty.")
        @Argument(help: "The number of the node that goes.") var node: Int
        @Argument(help: "The number of the node that comes, which was added before.") var new: Int
        @OptionGroup var cluster: ClusterOption
        @OptionGroup var patience: PatienceOption

        func run() async throws {
            _ = try await cluster.ask([
                "cairnReplaceNode": 1, "node": .int64(Int64(node)), "with": .int64(Int64(new)),
            ])
            try await cluster.waitUntilEmpty(node, patience)
            print("node \(node) is empty; forget it: cairn node remove \(node) \(cluster.address)")
        }
    }
}

/// Which cluster a command is about.
struct ClusterOption: ParsableArguments {
    @Argument(help: ArgumentHelp("Any node of the cluster.", valueName: "address"))
    var address = "127.0.0.1:27017"

    /// The answer of the first node of the address that gives one.
    func ask(_ command: Document) async throws -> Document {
        let group = MultiThreadedEventLoopGroup.singleton
        var full = DocumentBuilder()
        full.append(elementsOf: command)
        full.append("$db", "admin")
        let reply: Document
        do throws(ClientError) {
            reply = try await ClusterDiscovery.ask(try ConnectionString(address), full.finish(), on: group.next())
        } catch {
            throw NodeCommandFailure("\(error)")
        }
        guard reply["ok"]?.isTruthy == true else {
            throw NodeCommandFailure(reply["errmsg"]?.stringValue ?? "the node refused: \(reply)")
        }
        return reply
    }

    func layout() async throws -> ClusterLayout {
        guard let layout = ClusterLayout(document: try await ask(["cairnLayout": 1])) else {
            throw NodeCommandFailure("what answered at \(address) is no Cairn node")
        }
        return layout
    }

    /// Shows how many replicas the node still holds until there are none.
    func waitUntilEmpty(_ node: Int, _ patience: PatienceOption) async throws {
        let deadline = ContinuousClock.now + .seconds(patience.wait)
        var total: Int?
        var last: Int?
        while true {
            let left = try? await ask(["cairnNodeGroups": 1, "node": .int64(Int64(node))])["groups"]?.asArray?.count
            if let left {
                total = max(total ?? 0, left)
                if left != last { report(node, moved: total! - left, of: total!) }
                last = left
                if left == 0 { return }
            }
            guard ContinuousClock.now < deadline else {
                throw NodeCommandFailure(
                    "node \(node) still holds \(last.map { "\($0)" } ?? "an unknown number of") replicas after "
                        + "\(patience.wait) s; the move goes on, run the command again to watch it")
            }
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    private func report(_ node: Int, moved: Int, of total: Int) {
        let text = "node \(node): \(moved) of \(total) replicas moved"
        if isatty(STDERR_FILENO) == 1, total > 0 {
            let filled = 30 * moved / total
            let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
            FileHandle.standardError.write(Data("\r[\(bar)] \(text)\(moved == total ? "\n" : "")".utf8))
        } else {
            print(text)
        }
    }
}

/// Why a command about nodes was not carried out; the exit code is 1.
struct NodeCommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// How long a command waits for what it started.
struct PatienceOption: ParsableArguments {
    @Option(help: ArgumentHelp("Give up watching after this long; the move goes on.", valueName: "seconds"))
    var wait = 600
}
