public import CairnFiles

/// The folders of a node's replicas, one a group: how one comes and goes, so that a crash leaves nothing that could be taken
/// for a replica.
///
/// ```
/// GROUP/            a replica
/// GROUP/newcomer    it was made after its group had begun; see GroupHost.add
/// GROUP.new/        one that is being made
/// GROUP.gone/       one that is being deleted
/// ```
public struct ReplicaFolders: Sendable {
    private static let newSuffix = ".new"
    private static let goneSuffix = ".gone"
    private static let newcomerMark = "newcomer"

    /// The folder that holds the others.
    public let directory: String
    private let fileSystem: any FileSystem

    public init(in directory: String, _ fileSystem: any FileSystem) {
        self.directory = directory
        self.fileSystem = fileSystem
    }

    /// Where the replica of a group is, or would be.
    public func path(of group: GroupID) -> String { "\(directory)/\(group.rawValue)" }

    /// Whether the node holds a replica of the group.
    public func hasReplica(of group: GroupID) throws(FileError) -> Bool { try fileSystem.exists(path(of: group)) }

    /// Whether the replica was made by ``makeNewcomer(of:)``.
    public func isNewcomer(_ group: GroupID) throws(FileError) -> Bool {
        try fileSystem.exists("\(path(of: group))/\(Self.newcomerMark)")
    }

    /// Deletes what a crash left of replicas on their way in or out. Once, before any replica is opened.
    public func removeUnfinished() throws(FileError) {
        guard try fileSystem.exists(directory) else { return }
        for name in try fileSystem.list(directory)
        where name.hasSuffix(Self.goneSuffix) || name.hasSuffix(Self.newSuffix) {
            try fileSystem.removeTree("\(directory)/\(name)")
        }
    }

    /// Makes the folder of a replica that joins a group which exists already, unless there is one.
    public func makeNewcomer(of group: GroupID) throws(FileError) {
        guard try !hasReplica(of: group) else { return }
        // The mark is there before the folder has the name that makes it a replica.
        let unfinished = path(of: group) + Self.newSuffix
        try fileSystem.createDirectory(unfinished)
        try fileSystem.replace("\(unfinished)/\(Self.newcomerMark)", with: [])
        try fileSystem.rename(unfinished, to: path(of: group))
        try fileSystem.synchronizeDirectory(directory)
    }

    /// Deletes the files of a replica, which must be closed, and which the log has forgotten.
    ///
    /// They get another name first, so that what a crash leaves of them is no replica.
    public func remove(_ group: GroupID) throws(FileError) {
        let gone = path(of: group) + Self.goneSuffix
        try fileSystem.removeTree(gone)
        try fileSystem.rename(path(of: group), to: gone)
        try fileSystem.synchronizeDirectory(directory)
        try fileSystem.removeTree(gone)
    }
}
