import ArgumentParser
import CairnServer

/// The one executable: each subcommand has a file of its own beside this one.
@main
struct Cairn: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cairn",
        abstract: "A document database: MongoDB's wire protocol, Raft's guarantees, one binary.",
        discussion: """
            A database of one node, with its data in a folder:   cairn serve --data DIR
            A node of a cluster:                                 cairn serve --config FILE --node N --data DIR
            A cluster of three on this machine:                  scripts/cluster up
            """,
        version: CairnVersion.current,
        subcommands: [
            Serve.self, Route.self, Status.self, Bench.self, Inspect.self, Key.self, NodeCommand.self, Leader.self,
            Recover.self,
        ])
}
