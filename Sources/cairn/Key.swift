import ArgumentParser
import CairnBSON
import CairnClient
import CairnFiles
import NIOPosix

/// `cairn key`: the keys that data at rest is encrypted with.
struct Key: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a master key, or change the data keys of a running cluster.",
        discussion: """
            A node that is started with a master key (encryption.key-file, encryption.key-command, or CAIRN_ENCRYPTION_KEY \
            in the environment) encrypts every file that it begins: logs, tables and manifests. The master key locks the \
            node's keyring, whose data keys lock the files. Without the master key the data is lost, so keep a copy of it \
            away from the data.
            """,
        subcommands: [Generate.self, Rotate.self])

    /// `cairn key generate`
    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a new master key.",
            discussion: "For example: (umask 077 && cairn key generate > master.key)")

        func run() { print(MasterKey.generate()) }
    }

    /// `cairn key rotate`
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give every node of a running cluster a new data key.",
            discussion: """
                Files that are begun from then on are sealed under the new key, and what is in memory is written to such \
                files now. Older files keep their key until a compaction replaces them. The exit code is 0 when every node \
                has a new key, otherwise 1.
                """)

        @Argument(help: ArgumentHelp("Any node of the cluster.", valueName: "address"))
        var address = "127.0.0.1:27017"

        func run() async throws {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let layout = try await ClusterDiscovery.layout(from: try ConnectionString(address), on: group.next())
            var table = Table(["node", "client", "data key", "outcome"], numbers: [0])
            var isWhole = true
            for node in layout.nodes {
                do throws(ClientError) {
                    let reply = try await ClusterDiscovery.ask(
                        try ConnectionString(node.clientAddress), ["cairnRotateKey": 1, "$db": "admin"],
                        on: group.next())
                    guard let id = reply["keyId"]?.stringValue else {
                        isWhole = false
                        table.add([
                            "\(node.id.rawValue)", node.clientAddress, "-",
                            reply["errmsg"]?.stringValue ?? "an answer without a key",
                        ])
                        continue
                    }
                    table.add(["\(node.id.rawValue)", node.clientAddress, id, "rotated"])
                } catch {
                    isWhole = false
                    table.add(["\(node.id.rawValue)", node.clientAddress, "-", "\(error)"])
                }
            }
            print(table.text)
            if !isWhole { throw ExitCode(1) }
        }
    }
}
