import ArgumentParser
import CairnBSON
import CairnClient
import NIOPosix

/// `cairn leader`: who leads which group.
struct Leader: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say which node is to lead a group.",
        discussion: """
            Each group has one node that leads it when all is well; cairn status shows them. A move interrupts the group's \
            writes for some milliseconds, and clients wait for that long. It holds until nodes are added, drained or \
            removed: then leaders are spread evenly again.
            """,
        subcommands: [Move.self])

    /// `cairn leader move`
    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hand a group's leadership to another of its nodes, and wait until it leads.")
        @Argument(help: "The group's number.") var group: Int
        @Argument(help: "The number of the node that is to lead.") var node: Int
        @OptionGroup var cluster: ClusterOption
        @Option(
            help: ArgumentHelp("Give up watching after this long; the node stays the wanted one.", valueName: "seconds")
        )
        var wait = 30

        func run() async throws {
            _ = try await cluster.ask([
                "cairnMoveLeader": 1, "group": .int64(Int64(group)), "node": .int64(Int64(node)),
            ])
            let deadline = ContinuousClock.now + .seconds(wait)
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            var leader: UInt64?
            while true {
                let status = try? await ClusterStatus.fetch(from: ConnectionString(cluster.address), on: eventLoop)
                if let status { leader = status.groups.first { Int($0.id) == group }?.leader }
                if leader.map({ Int($0) == node }) ?? false { break }
                guard ContinuousClock.now < deadline else {
                    throw NodeCommandFailure(
                        "group \(group) is led by \(leader.map { "node \($0)" } ?? "nobody") after \(wait) s; node \(node) "
                            + "takes over once it is up and has caught up")
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            print("node \(node) leads group \(group)")
        }
    }
}
