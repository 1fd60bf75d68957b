public import CairnFiles

/// The folders of a node's replicas, one a group: how one comes and goes, so that a crash leaves nothing that could be taken
/// for a replica.
///
/// ```
/// GROUP/            a replica
/// GROUP/newcomer    it was made after its group had begun; see GroupHost.add
/// GROUP/leaving     it is not to be opened again
/// GROUP.left        what a replica that left had promised
/// GROUP.rejoins     the group goes on without the replica, which is to be made anew
/// GROUP.new/        one that is being made
/// GROUP.gone/       one that is being deleted
/// ```
public struct ReplicaFolders: Sendable {
    private static let newSuffix = ".new"
    private static let goneSuffix = ".gone"
    private static let rejoinsSuffix = ".rejoins"
    private static let newcomerMark = "newcomer"
    private static let leavingMark = "leaving"

    /// Whether a file of that name is one of those by which a replica is known to come or go.
    static func isNote(_ name: String) -> Bool {
        name == newcomerMark || name == leavingMark || name.hasSuffix(rejoinsSuffix)
    }

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
    func isNewcomer(_ group: GroupID) throws(FileError) -> Bool {
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

    /// Notes that the replica here is none any more and that another one joins in its place, whatever happens in between: one
    /// that began as the group did would vote as though it remembered.
    func noteRejoin(of group: GroupID) throws(FileError) {
        try fileSystem.replace(path(of: group) + Self.rejoinsSuffix, with: [])
    }

    /// Whether such a note is there.
    public func rejoins(_ group: GroupID) throws(FileError) -> Bool {
        try fileSystem.exists(path(of: group) + Self.rejoinsSuffix)
    }

    /// Sees to it that the replica can be opened.
    ///
    /// - Parameter isNew: whether a replica that is not there joins a group that exists already.
    /// - Returns: whether it joined its group, see ``GroupHost``.
    public func prepare(_ group: GroupID, isNew: Bool) throws(FileError) -> Bool {
        let rejoins = try rejoins(group)
        if rejoins, try hasReplica(of: group) { try remove(group) }
        if isNew || rejoins { try makeNewcomer(of: group) }
        if rejoins {
            try fileSystem.remove(path(of: group) + Self.rejoinsSuffix)
            try fileSystem.synchronizeDirectory(directory)
        }
        return try isNewcomer(group)
    }

    /// Makes the folder of a replica that joins a group which exists already, unless there is one.
    func makeNewcomer(of group: GroupID) throws(FileError) {
        guard try !hasReplica(of: group) else { return }
        // The mark is there before the folder has the name that makes it a replica.
        let unfinished = path(of: group) + Self.newSuffix
        try fileSystem.createDirectory(unfinished)
        try fileSystem.replace("\(unfinished)/\(Self.newcomerMark)", with: [])
        try fileSystem.rename(unfinished, to: path(of: group))
        try fileSystem.synchronizeDirectory(directory)
    }

    /// Makes sure that the replica is not opened again, whatever happens from here on. Before the log forgets it.
    ///
    /// What the log knows of a replica is durable for itself, and so are its files: a power cut between the end of one and of
    /// the other would leave a tablet without the votes and entries that it has acknowledged. It could vote again, for a member
    /// that has not heard of the change, and bring back a majority that the group has left.
    func noteLeaving(_ group: GroupID) throws(FileError) {
        try fileSystem.replace("\(path(of: group))/\(Self.leavingMark)", with: [])
    }

    /// Ends what ``noteLeaving(_:)`` began, where the process ended before it was done. Once, before any replica is opened.
    ///
    /// - Throws: `FileError` or `SharedLogError`.
    public func finishLeaving(_ log: SharedLog) throws {
        guard try fileSystem.exists(directory) else { return }
        for name in try fileSystem.list(directory) {
            guard let group = UInt32(name).map({ GroupID($0) }),
                try fileSystem.exists("\(path(of: group))/\(Self.leavingMark)")
            else { continue }
            if log.groups[group] != nil {
                var batch = LogBatch(id: 0)
                log.open(group).destroy(in: &batch)
                try log.append(batch)
                try log.synchronize()
            }
            try remove(group)
        }
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
