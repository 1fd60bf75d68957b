import ArgumentParser
import CairnBSON
import CairnClient
import CairnFiles
import Foundation
import NIOPosix

extension Key {
    /// `cairn key rotate`
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give every node of a running cluster a new data key.",
            discussion: """
                Files that are begun from then on are sealed under the new key, and what is in memory is written to such \
                files now. Older files keep their key until a compaction replaces them, or with --rewrite until each node \
                has written them again: tables one by one, and the segments of the Raft log. Keys that no file is under any \
                more are then dropped; `cairn key list` shows what is left. The nodes serve meanwhile.

                The exit code is 0 when every node has a new key, and with --rewrite has nothing left under older ones; \
                otherwise 1.
                """)

        @Argument(help: ArgumentHelp("Any node of the cluster.", valueName: "address"))
        var address = "127.0.0.1:27017"

        @Flag(help: "Write again what is under older keys, and wait until that is done.")
        var rewrite = false

        func run() async throws {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let layout = try await ClusterDiscovery.layout(from: try ConnectionString(address), on: group.next())
            var table = Table(["node", "client", "data key", "outcome"], numbers: [0])
            var isWhole = true
            for node in layout.nodes {
                var id = "-"
                var outcome = rewrite ? "rotated and rewritten" : "rotated"
                do throws(ClientError) {
                    let reply = try await ClusterDiscovery.ask(
                        try ConnectionString(node.clientAddress),
                        ["cairnRotateKey": 1, "rewrite": .bool(rewrite), "$db": "admin"], on: group.next())
                    if let name = reply["keyId"]?.stringValue {
                        id = name
                        let problem =
                            rewrite
                            ? await rewriting(of: "\(node.id.rawValue)", at: node.clientAddress, on: group) : nil
                        if let problem {
                            isWhole = false
                            outcome = problem
                        }
                    } else {
                        isWhole = false
                        outcome = reply["errmsg"]?.stringValue ?? "an answer without a key"
                    }
                } catch {
                    isWhole = false
                    outcome = "\(error)"
                }
                table.add(["\(node.id.rawValue)", node.clientAddress, id, outcome])
            }
            print(table.text)
            if !isWhole { throw ExitCode(1) }
        }

        /// Waits until the node has written everything again, and says what kept it from that; nil when nothing did.
        private func rewriting(
            of node: String, at address: String, on group: MultiThreadedEventLoopGroup
        ) async -> String? {
            var last: Int64 = -1
            while true {
                let keys = await NodeKeys.fetch(from: address, on: group)
                if let problem = keys.problem { return "rotated, not rewritten: \(problem)" }
                guard keys.isRewriting else {
                    return keys.oldFiles == 0
                        ? nil : "rotated, \(InspectionText.count(keys.oldFiles, "file")) still under older keys"
                }
                if keys.oldFiles != last {
                    last = keys.oldFiles
                    let size = InspectionText.size(UInt64(clamping: keys.oldBytes))
                    let line = "node \(node): \(InspectionText.count(last, "file")) to go, \(size)\n"
                    FileHandle.standardError.write(Data(line.utf8))
                }
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
    }
}
