import CairnBSON
import CairnFiles
import CairnQuery
import CairnSharding
import Logging
import NIOPosix
import Synchronization

/// What all loops of a node share: facts that do not change, and counters.
final class NodeShared: Sendable {
    let configuration: NodeConfiguration
    private let newestLayout: Mutex<ClusterLayout>
    let commands: CommandTable
    let failPoints = FailPointTable()
    let topology = NodeTopology()
    let profiler = Profiler()
    let connectionCount = ConnectionCount()
    let counters = OperationCounters()
    let startedAtNanoseconds = LoopClock.monotonicNanoseconds
    /// The command line, as `getCmdLineOpts` shows it.
    let arguments: [String]
    let logger: Logger
    /// What the queries of the node hold together, on all loops.
    let queryMemory = MemoryAccount(bytesMax: 1 << 30)
    /// What one sort and one group of them hold.
    let stageMemory = StageMemory()
    /// Where queries go that compute for long, at low priority. More than there are cores, so that one that runs to the end of
    /// its time does not keep the next from beginning.
    let longQueryThreads = NIOThreadPool(numberOfThreads: 8)
    /// The data keys, once the folder is open; nil where data is in the clear.
    let dataKeys = Mutex<DataKeyUpkeep?>(nil)

    init(configuration: NodeConfiguration, layout: ClusterLayout, arguments: [String], logger: Logger) {
        self.configuration = configuration
        commands = CommandTable(includesTestCommands: configuration.testCommandsEnabled)
        self.arguments = arguments
        self.logger = logger
        newestLayout = Mutex(layout)
        longQueryThreads.start()
    }

    /// The newest layout that this process has heard of.
    var layout: ClusterLayout { newestLayout.withLock { $0 } }

    /// - Returns: whether it is newer than the one before.
    func adopt(_ layout: ClusterLayout) -> Bool {
        newestLayout.withLock { newest in
            guard layout.version > newest.version else { return false }
            newest = layout
            return true
        }
    }
}

extension NodeConfiguration {
    /// Nodes and groups as the router and the group hosts know them.
    public var layout: ClusterLayout {
        ClusterLayout.spread(
            nodes: nodes.map {
                NodeDescription(
                    id: $0.id, clientAddress: "\($0.client)", peerAddress: "\($0.peer)", httpAddress: "\($0.http)")
            },
            dataGroups: dataGroups, replicas: replicas)
    }
}

/// How many commands of each kind clients have sent, as `serverStatus` and `/metrics` show them.
final class OperationCounters: Sendable {
    private let insert = Atomic(0)
    private let query = Atomic(0)
    private let update = Atomic(0)
    private let delete = Atomic(0)
    private let getMore = Atomic(0)
    private let command = Atomic(0)

    func count(_ name: String, documents: Int) {
        switch name {
        case "insert": insert.wrappingAdd(max(documents, 1), ordering: .relaxed)
        case "update": update.wrappingAdd(max(documents, 1), ordering: .relaxed)
        case "delete": delete.wrappingAdd(max(documents, 1), ordering: .relaxed)
        case "find": query.wrappingAdd(1, ordering: .relaxed)
        case "getMore": getMore.wrappingAdd(1, ordering: .relaxed)
        default: command.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// Names and counts, in MongoDB's order.
    var all: [(name: String, count: Int)] {
        [
            ("insert", insert.load(ordering: .relaxed)), ("query", query.load(ordering: .relaxed)),
            ("update", update.load(ordering: .relaxed)), ("delete", delete.load(ordering: .relaxed)),
            ("getmore", getMore.load(ordering: .relaxed)), ("command", command.load(ordering: .relaxed)),
        ]
    }

    var document: Document {
        var builder = DocumentBuilder()
        for (name, count) in all { builder.append(name, .int64(Int64(count))) }
        return builder.finish()
    }
}
