import ArgumentParser
import CairnRaft
import CairnServer

/// `cairn recover`: the last resort when most nodes are lost for good.
struct Recover: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go on with one surviving node when most of the cluster's nodes are lost for good.",
        discussion: """
            A group whose majority is gone takes no writes, for good reason: whoever is left does not know what the others \
            had acknowledged. If their disks will never come back, this command makes one survivor the whole cluster. Without \
            --accept-data-loss it changes nothing and prints what would be lost.

              1. Stop every node that is left, and make sure that the lost ones do not start.
              2. Run this on each survivor, without --accept-data-loss, and choose the one whose groups go furthest.
              3. Run it there with --accept-data-loss, and start that node as before.
              4. Give the cluster its copies back: delete the folders of all other nodes, and cairn node add them.

            Pass the same --config, --node and --data as to cairn serve. What the survivor has stays, acknowledged or not; what \
            only the others had is gone. Its cluster begins a new life: a node of the old one that comes back is turned away, \
            says so in its log, and ends.
            """)

    @Option(help: ArgumentHelp("The cluster's configuration.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("Which of the configuration's nodes the survivor is.", valueName: "number"))
    var node: Int?

    @Option(help: ArgumentHelp("The survivor's data folder.", valueName: "dir"))
    var data: String

    @Flag(help: "Do it: give up what only the lost nodes have.")
    var acceptDataLoss = false

    func run() async throws {
        var flags = ["node.data": data]
        if let node { flags["node.id"] = "\(node)" }
        do {
            let recovery = try NodeRecovery(try await ConfigurationLoader.load(file: config, flags: flags))
            print(recovery.text)
            guard !recovery.isAlone else {
                print("Node \(recovery.node.rawValue) is the only node of its cluster: there is nothing to recover.")
                return
            }
            guard recovery.replicas.allSatisfy({ $0.problem == nil }) else {
                print("This folder cannot be recovered from. Nothing was changed.")
                throw ExitCode(1)
            }
            guard acceptDataLoss else {
                print("Nothing was changed. To do it, run the same command with --accept-data-loss.")
                return
            }
            try recovery.carryOut()
            print(
                """
                Node \(recovery.node.rawValue) is the cluster '\(recovery.cluster)' now. Start it as before; delete the folders of \
                the other nodes, and let them join as new ones: cairn node add --data DIR --client HOST:PORT ADDRESS
                """)
        } catch let code as ExitCode {
            throw code
        } catch {
            print("cairn recover: \(error)")
            throw ExitCode(1)
        }
    }
}

extension NodeRecovery {
    /// What there is, and what would be lost.
    fileprivate var text: String {
        var table = Table(
            ["group", "last entry", "of term", "committed", "also on", "what may be lost"], numbers: [0, 1, 2, 3])
        for replica in replicas {
            let name = replica.group.rawValue == 0 ? "0 (meta)" : "\(replica.group.rawValue)"
            let others = replica.others.isEmpty ? "-" : replica.others.map { "\($0.rawValue)" }.joined(separator: ", ")
            let loss: String
            if let problem = replica.problem {
                loss = "CANNOT BE RECOVERED: \(problem)"
            } else if let last = replica.last, last.index > .zero {
                loss = "what the others acknowledged after entry \(last.index)"
            } else {
                loss = "EVERYTHING: this node has nothing of it"
            }
            table.add([
                name, replica.last.map { "\($0.index)" } ?? "-", replica.last.map { "\($0.term)" } ?? "-",
                replica.committed.map { "\($0)" } ?? "-", others, loss,
            ])
        }
        let names = lost.map { "\($0.rawValue)" }.joined(separator: ", ")
        return """
            Node \(node.rawValue) of the cluster '\(cluster)'. The nodes \(names.isEmpty ? "-" : names) would be given up.

            \(table.text)

            """
    }
}
