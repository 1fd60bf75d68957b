import CairnFiles
public import CairnRaft
public import CairnSharding

/// A data folder made for a node that joins a running cluster: all that it has to know is in it, so that `cairn serve
/// --data DIR` needs no configuration.
public enum NodeFolder {
    /// Makes the folder of a node that the cluster has taken in.
    ///
    /// - Parameters:
    ///   - life: which life of the cluster it is.
    ///   - layout: the one that holds the node.
    /// - Throws: ``ConfigurationError`` when the folder belongs to another node; what the file system says.
    public static func prepare(
        _ directory: String, node: NodeID, cluster: String, life: ClusterLife = .first, layout: ClusterLayout
    ) throws {
        let fileSystem = PosixFileSystem()
        try fileSystem.createDirectory(directory)
        var identity = NodeIdentity(
            cluster: cluster, node: node, groups: layout.dataGroups.count, replicas: layout.replicas,
            founders: layout.founders)
        identity.life = life
        guard try identity.claim(directory, fileSystem).life == life else {
            throw ConfigurationError(
                key: "node.data",
                problem: "\(directory) was made in another life of the cluster, which was recovered since",
                fix: "name an empty folder, or one that is not there")
        }
        try StoredLayout.write(layout, in: directory, fileSystem)
    }

    /// Whether a node may join with this folder: it is not there, it is empty, or it was made for a joining node before.
    public static func mayJoin(with directory: String) throws -> Bool {
        let fileSystem = PosixFileSystem()
        return try !fileSystem.exists(directory) || fileSystem.list(directory).isEmpty
            || configuration(of: directory) != nil
    }

    /// The configuration that a folder holds by itself: who the node is, and the cluster as it was last seen; nil when it does
    /// not.
    static func configuration(of directory: String) throws -> NodeConfiguration? {
        let fileSystem = PosixFileSystem()
        guard let identity = try NodeIdentity.read(in: directory, fileSystem),
            let layout = try StoredLayout.read(in: directory, fileSystem)
        else { return nil }
        var result = NodeConfiguration(standaloneIn: directory)
        result.node = identity.node
        result.clusterName = identity.cluster
        result.dataGroups = identity.groups
        result.replicas = identity.replicas
        result.nodes = try layout.nodes.map { node in
            guard let client = SocketEndpoint(parsing: node.clientAddress),
                let peer = SocketEndpoint(parsing: node.peerAddress),
                let http = SocketEndpoint(parsing: node.httpAddress)
            else {
                throw ConfigurationError(
                    key: "node.data", problem: "the layout in \(directory) has an address that cannot be read",
                    fix: "copy the file 'layout' from another node")
            }
            return NodeAddress(id: node.id, client: client, peer: peer, http: http)
        }
        result.founders = identity.founders
        return result
    }
}

extension ClusterLayout {
    /// The nodes with which the cluster began, as far as groups remember them.
    var founders: [NodeID] { Set(groups.flatMap(\.founders)).sorted() }
}
