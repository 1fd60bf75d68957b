import CairnBSON
import CairnDefects
import CairnRaft
import CairnReplication

/// One node's address book entry: where clients, peers and browsers reach it.
public struct NodeAddress: Hashable, Sendable {
    public var id: NodeID
    public var client: SocketEndpoint
    public var peer: SocketEndpoint
    public var http: SocketEndpoint

    public init(id: NodeID, client: SocketEndpoint, peer: SocketEndpoint, http: SocketEndpoint) {
        self.id = id
        self.client = client
        self.peer = peer
        self.http = http
    }

    /// Reads `1 client=HOST:PORT peer=HOST:PORT http=HOST:PORT`, the form of a line under `cluster.nodes`.
    public init(parsing line: String) throws(ConfigurationError) {
        let words = line.split(separator: " ")
        guard let first = words.first, let id = UInt64(first), id > 0 else {
            throw ConfigurationError(
                key: "cluster.nodes", problem: "'\(line)' does not start with a node number",
                fix: "write '1 client=HOST:PORT peer=HOST:PORT http=HOST:PORT'")
        }
        var endpoints: [Substring: SocketEndpoint] = [:]
        for word in words.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, ["client", "peer", "http"].contains(parts[0]),
                let endpoint = SocketEndpoint(parsing: String(parts[1]))
            else {
                throw ConfigurationError(
                    key: "cluster.nodes", problem: "'\(word)' in '\(line)' is not an address",
                    fix: "write client=HOST:PORT, peer=HOST:PORT or http=HOST:PORT")
            }
            endpoints[parts[0]] = endpoint
        }
        guard let client = endpoints["client"], let peer = endpoints["peer"], let http = endpoints["http"] else {
            throw ConfigurationError(
                key: "cluster.nodes", problem: "'\(line)' lacks one of client=, peer= and http=",
                fix: "name all three addresses of node \(id)")
        }
        self.init(id: NodeID(rawValue: id), client: client, peer: peer, http: http)
    }
}

/// A host and a TCP port.
public struct SocketEndpoint: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `HOST:PORT`; nil when there is no port or it is not in 1...65535.
    public init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65535).contains(port), colon > text.startIndex
        else { return nil }
        self.init(host: String(text[..<colon]), port: port)
    }

    public var description: String { "\(host):\(port)" }
}

/// Everything that a node is told before it starts.
///
/// The keys of the file, the environment and the flags are documented in `cluster-configs/local-3/cluster.yaml`.
public struct NodeConfiguration: Sendable {
    /// This node's number in the cluster (1 or more).
    public var node = NodeID(rawValue: 1)
    /// The folder that holds all of this node's data.
    public var dataDirectory: String
    /// Event loops, each a thread that owns some of the groups (1 to 64).
    public var eventLoops = 1
    /// A name that all nodes of a cluster share; peers of another name are refused.
    public var clusterName = "cairn"
    /// Every node of the cluster, this one included.
    public var nodes: [NodeAddress]
    /// The nodes with which the cluster began, where that is known better than from ``nodes``.
    var founders: [NodeID]?
    /// Seconds of a node's silence after which its replicas are made anew on other nodes; 0 leaves that to operators.
    public var rebuildAfterSeconds = 600
    /// Raft groups that hold data, besides the meta group (1 to 1,000). Fixed once the cluster has data.
    public var dataGroups = 6
    /// Replicas of each group (1, 3, 5 or 7; no more than there are nodes).
    public var replicas = 3
    /// Milliseconds between a leader's heartbeats (10 to 1,000).
    public var heartbeatMilliseconds = 100
    /// The longest time without a heartbeat before a follower campaigns, in milliseconds (5 heartbeats or more).
    public var electionTimeoutMilliseconds = 1_000
    /// Milliseconds without a request after which a group falls silent (100 to 3,600,000); 0 keeps all groups
    /// awake.
    public var quietAfterMilliseconds = 5_000
    /// Bytes of a memtable before it is flushed (64 KiB to 1 GiB).
    public var memtableBytesMax = 32 << 20
    /// Whether each tablet keeps a write-ahead log of its own beside the Raft log. It saves replaying the Raft log after a
    /// SIGKILL, and costs a second write of everything.
    public var tabletsHaveWAL = false
    /// Bytes of the block cache that all groups of the node share.
    public var cacheBytesMax = 256 << 20
    /// Threads that read what is not in the cache, and run queries that look at many documents (1 to 256).
    public var readerThreads = 4
    /// Bytes that the block cache and the memtables of all groups may take together; 0 is room for the cache and 256 MiB, or
    /// for the cache and four memtables if that is more.
    public var memoryBytesMax = 0
    /// Bytes a second that compactions of all groups may write together (1 MiB or more); 0 does not hold them back.
    public var compactionBytesPerSecond = 0
    /// Seconds between two passes over the indexes that delete documents (1 to 86,400), as MongoDB's `ttlMonitorSleepSecs`.
    public var expirySleepSeconds = 60
    /// Bytes of the data folder's disk that stay free: below, the node takes no writes but deletes (1 MiB to 1 TiB).
    public var spaceReserveBytes = 256 << 20
    /// Log bytes that a group may keep beyond what its tablet has made durable, before lagging peers get a snapshot.
    public var logBytesMax = 64 << 20
    /// Entries that a group may keep for lagging peers.
    public var logEntriesMax = 100_000
    /// Connections that clients may hold at once.
    public var connectionsMax = 10_000
    /// Whether the admin endpoint takes commands that break things on purpose (loopback only).
    public var testCommandsEnabled = false
    /// Deliberate bugs, for tests of the tests; see `CAIRN_DEFECT`.
    package var defects = Defects()
    /// Where the master key comes from; nil leaves data in the clear.
    public var encryption: EncryptionSource?
    /// The least severe level that is logged.
    public var logLevel = "info"

    /// A node of its own: one replica of each group, on the default ports.
    public init(standaloneIn dataDirectory: String, port: Int = 27017) {
        self.dataDirectory = dataDirectory
        replicas = 1
        nodes = [
            NodeAddress(
                id: node, client: SocketEndpoint(host: "127.0.0.1", port: port),
                peer: SocketEndpoint(host: "127.0.0.1", port: port + 100),
                http: SocketEndpoint(host: "127.0.0.1", port: port + 1000))
        ]
    }

    /// This node's own addresses.
    public var address: NodeAddress {
        guard let own = nodes.first(where: { $0.id == node }) else {
            preconditionFailure("node \(node) is not in the cluster; validated() was not called")
        }
        return own
    }

    /// Returns the configuration when every value is in its range.
    public func validated() throws(ConfigurationError) -> NodeConfiguration {
        func check(_ holds: Bool, _ key: String, _ problem: String, _ fix: String) throws(ConfigurationError) {
            if !holds { throw ConfigurationError(key: key, problem: problem, fix: fix) }
        }
        try check(!dataDirectory.isEmpty, "node.data", "no data folder is named", "name one, or pass --data DIR")
        try check((1...64).contains(eventLoops), "node.event-loops", "\(eventLoops) is not in 1...64", "leave it out")
        try check(
            !clusterName.isEmpty && clusterName.utf8.count <= 64, "cluster.name", "the name is empty or over 64 bytes",
            "choose a short name")
        try check(
            Set(nodes.map(\.id)).count == nodes.count, "cluster.nodes", "a node number occurs twice",
            "give every node a number of its own")
        try check(
            nodes.contains { $0.id == node }, "node.id", "node \(node.rawValue) is not under cluster.nodes",
            "add its line there, or pass --node with one of \(nodes.map { String($0.id.rawValue) }.joined(separator: ", "))"
        )
        try check(
            rebuildAfterSeconds == 0 || (5...10_000_000).contains(rebuildAfterSeconds), "cluster.rebuild-after-seconds",
            "\(rebuildAfterSeconds) is neither 0 nor 5 or more", "leave it out")
        try check((1...1000).contains(dataGroups), "cluster.groups", "\(dataGroups) is not in 1...1000", "try 6")
        try check(
            [1, 3, 5, 7].contains(replicas), "cluster.replicas", "\(replicas) is not 1, 3, 5 or 7",
            "an odd number tolerates as many lost nodes as the next even one")
        try check(
            replicas <= max(nodes.count, founders?.count ?? 0), "cluster.replicas",
            "\(replicas) replicas do not fit on \(nodes.count) nodes",
            "lower it, or add nodes")
        try check(
            (10...1000).contains(heartbeatMilliseconds), "raft.heartbeat-ms",
            "\(heartbeatMilliseconds) is not in 10...1000", "leave it out")
        try check(
            electionTimeoutMilliseconds >= 5 * heartbeatMilliseconds && electionTimeoutMilliseconds <= 60_000,
            "raft.election-timeout-ms", "\(electionTimeoutMilliseconds) is not in \(5 * heartbeatMilliseconds)...60000",
            "at least five heartbeats should fit")
        try check(
            quietAfterMilliseconds == 0 || (100...3_600_000).contains(quietAfterMilliseconds), "raft.quiet-after-ms",
            "\(quietAfterMilliseconds) is neither 0 nor in 100...3600000", "leave it out")
        try check(
            (65_536...(1 << 30)).contains(memtableBytesMax), "storage.memtable-bytes",
            "\(memtableBytesMax) is not in 65536...1073741824", "leave it out")
        try check(
            (0...(1 << 40)).contains(cacheBytesMax), "storage.cache-bytes", "\(cacheBytesMax) is out of range",
            "leave it out")
        let memoryBytesMin = max(1 << 20, cacheBytesMax + 2 * memtableBytesMax)
        try check(
            memoryBytesMax == 0 || (memoryBytesMin...(1 << 42)).contains(memoryBytesMax), "storage.memory-bytes",
            "\(memoryBytesMax) is not in \(memoryBytesMin)...4398046511104: cache and two memtables have to fit",
            "leave it out")
        try check(
            (65_536...(1 << 34)).contains(logBytesMax), "raft.log-bytes",
            "\(logBytesMax) is not in 65536...17179869184",
            "leave it out")
        try check(
            ((1 << 20)...(1 << 40)).contains(spaceReserveBytes), "storage.reserve-bytes",
            "\(spaceReserveBytes) is not in 1048576...1099511627776", "leave it out")
        try check(
            (16...10_000_000).contains(logEntriesMax), "raft.log-entries", "\(logEntriesMax) is out of range",
            "leave it out")
        try check(
            (1...1_000_000).contains(connectionsMax), "node.connections", "\(connectionsMax) is out of range",
            "leave it out")
        try check(
            (1...256).contains(readerThreads), "storage.reader-threads", "\(readerThreads) is not in 1...256",
            "leave it out")
        try check(
            compactionBytesPerSecond == 0 || compactionBytesPerSecond >= 1 << 20, "storage.compaction-bytes-per-second",
            "\(compactionBytesPerSecond) is neither 0 nor 1048576 or more", "try 52428800")
        try check(
            (1...86_400).contains(expirySleepSeconds), "storage.ttl-sleep-seconds",
            "\(expirySleepSeconds) is not in 1...86400", "leave it out")
        return self
    }

    /// ``memoryBytesMax``, or what it stands for.
    var memoryBytes: Int {
        memoryBytesMax > 0 ? memoryBytesMax : cacheBytesMax + max(256 << 20, 4 * memtableBytesMax)
    }
}

/// A setting that cannot be used: which, why, and what to write instead.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    public var file: String?
    public var key: String
    public var problem: String
    public var fix: String

    public init(file: String? = nil, key: String, problem: String, fix: String) {
        self.file = file
        self.key = key
        self.problem = problem
        self.fix = fix
    }

    public var description: String {
        "\(file.map { "\($0): " } ?? "")\(key): \(problem); \(fix)"
    }
}
