import CairnBSON
import CairnFiles
import CairnRaft

/// Which node of which cluster a data folder belongs to, as its file `NODE_ID` says.
struct NodeIdentity: Hashable, Sendable {
    var cluster: String
    var node: NodeID
    /// Data groups.
    var groups: Int
    var replicas: Int
    /// The nodes with which the cluster began.
    var founders: [NodeID]

    init(cluster: String, node: NodeID, groups: Int, replicas: Int, founders: [NodeID]) {
        self.cluster = cluster
        self.node = node
        self.groups = groups
        self.replicas = replicas
        self.founders = founders
    }

    /// What a configuration says.
    init(_ configuration: NodeConfiguration) {
        self.init(
            cluster: configuration.clusterName, node: configuration.node, groups: configuration.dataGroups,
            replicas: configuration.replicas, founders: configuration.founders ?? configuration.nodes.map(\.id))
    }

    private static func path(_ directory: String) -> String { "\(directory)/NODE_ID" }

    private var document: Document {
        [
            "cluster": .string(BSONString(cluster)), "node": .int64(Int64(node.rawValue)),
            "groups": .int64(Int64(groups)), "replicas": .int64(Int64(replicas)),
            "nodes": .array(BSONArray(founders.map { .int64(Int64($0.rawValue)) })),
        ]
    }

    /// The identity of a folder; nil when it has none yet.
    ///
    /// - Throws: ``ConfigurationError`` when the file is no identity.
    static func read(in directory: String, _ fileSystem: any FileSystem) throws -> NodeIdentity? {
        let file = path(directory)
        guard try fileSystem.exists(file) else { return nil }
        let text = String(decoding: try fileSystem.contents(of: file, limit: 1 << 20), as: UTF8.self)
        guard let known = try? ExtendedJSON.document(from: text), let cluster = known["cluster"]?.stringValue,
            let node = known["node"]?.int64Exactly, let groups = known["groups"]?.intExactly,
            let replicas = known["replicas"]?.intExactly, let founders = known["nodes"]?.asArray
        else {
            throw ConfigurationError(key: "node.data", problem: "\(file) cannot be read", fix: "restore it from a copy")
        }
        return NodeIdentity(
            cluster: cluster, node: NodeID(rawValue: UInt64(clamping: node)), groups: groups, replicas: replicas,
            founders: founders.compactMap { $0.int64Exactly.map { NodeID(rawValue: UInt64(clamping: $0)) } })
    }

    func write(in directory: String, _ fileSystem: any FileSystem) throws {
        try fileSystem.replace(Self.path(directory), with: Array(ExtendedJSON.string(from: document).utf8) + [10])
    }

    /// Writes who the folder belongs to, or refuses when it is someone else's: a replica under a wrong number would break
    /// the promises that its group rests on.
    ///
    /// - Throws: ``ConfigurationError`` that names what differs.
    func claim(_ directory: String, _ fileSystem: any FileSystem) throws {
        guard let known = try Self.read(in: directory, fileSystem) else { return try write(in: directory, fileSystem) }
        func check<T: Equatable>(_ name: String, _ was: T, _ now: T) throws {
            guard was != now else { return }
            throw ConfigurationError(
                key: "node.data", problem: "\(directory) was made with \(name) \(was), not \(now)",
                fix: "name the folder of this node, or set the configuration back")
        }
        try check("cluster", known.cluster, cluster)
        try check("node", known.node.rawValue, node.rawValue)
        try check("groups", known.groups, groups)
        try check("replicas", known.replicas, replicas)
        try check("nodes", known.founders.map(\.rawValue), founders.map(\.rawValue))
    }
}
