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
    /// Which life of the cluster the folder belongs to.
    var life = ClusterLife.first
    /// The folder's own number, drawn when it was made; 0 before it has one.
    var folder: UInt64 = 0
    /// The folders that the peers came with; see ``PeerAcquaintances``.
    var acquaintances: [NodeID: UInt64] = [:]

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

    /// The cluster and its life, as peers name them to each other.
    var link: LinkName { LinkName(cluster: cluster, life: life) }

    private var document: Document {
        let acquaintances = acquaintances.sorted { $0.key < $1.key }.map { node, folder -> Value in
            ["node": .int64(Int64(node.rawValue)), "folder": .int64(Int64(bitPattern: folder))]
        }
        var document: Document = [
            "cluster": .string(BSONString(cluster)), "node": .int64(Int64(node.rawValue)),
            "groups": .int64(Int64(groups)), "replicas": .int64(Int64(replicas)),
            "nodes": .array(BSONArray(founders.map { .int64(Int64($0.rawValue)) })),
            "folder": .int64(Int64(bitPattern: folder)), "acquaintances": .array(BSONArray(acquaintances)),
        ]
        if life != .first { document.append("life", .document(life.document)) }
        return document
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
        var identity = NodeIdentity(
            cluster: cluster, node: NodeID(rawValue: UInt64(clamping: node)), groups: groups, replicas: replicas,
            founders: founders.compactMap { $0.int64Exactly.map { NodeID(rawValue: UInt64(clamping: $0)) } })
        if let life = known["life"] {
            guard let life = life.asDocument.flatMap({ ClusterLife(document: $0) }) else {
                throw ConfigurationError(
                    key: "node.data", problem: "the cluster's life in \(file) cannot be read",
                    fix: "restore it from a copy")
            }
            identity.life = life
        }
        identity.folder = UInt64(bitPattern: known["folder"]?.int64Exactly ?? 0)
        for case .document(let acquaintance) in known["acquaintances"]?.asArray ?? [] {
            guard let node = acquaintance["node"]?.int64Exactly, let folder = acquaintance["folder"]?.int64Exactly
            else { continue }
            identity.acquaintances[NodeID(rawValue: UInt64(clamping: node))] = UInt64(bitPattern: folder)
        }
        return identity
    }

    func write(in directory: String, _ fileSystem: any FileSystem) throws {
        try fileSystem.replace(Self.path(directory), with: Array(ExtendedJSON.string(from: document).utf8) + [10])
    }

    /// Writes who the folder belongs to, or refuses when it is someone else's: a replica under a wrong number would break
    /// the promises that its group rests on.
    ///
    /// - Returns: what the folder says, which is more than a configuration knows.
    /// - Throws: ``ConfigurationError`` that names what differs.
    @discardableResult
    func claim(_ directory: String, _ fileSystem: any FileSystem) throws -> NodeIdentity {
        var known: NodeIdentity
        if let found = try Self.read(in: directory, fileSystem) {
            try found.check(against: self, directory)
            guard found.folder == 0 else { return found }
            known = found
        } else {
            known = self
        }
        known.folder = UInt64.random(in: 1 ... .max)
        try known.write(in: directory, fileSystem)
        return known
    }

    /// Refuses a folder that is someone else's.
    ///
    /// - Throws: ``ConfigurationError`` that names what differs.
    func check(against wanted: NodeIdentity, _ directory: String) throws(ConfigurationError) {
        func check<T: Equatable>(_ name: String, _ was: T, _ now: T) throws(ConfigurationError) {
            guard was != now else { return }
            throw ConfigurationError(
                key: "node.data", problem: "\(directory) was made with \(name) \(was), not \(now)",
                fix: "name the folder of this node, or set the configuration back")
        }
        try check("cluster", cluster, wanted.cluster)
        try check("node", node.rawValue, wanted.node.rawValue)
        try check("groups", groups, wanted.groups)
        try check("replicas", replicas, wanted.replicas)
        try check("nodes", founders.map(\.rawValue), wanted.founders.map(\.rawValue))
    }
}
