import CairnDatabase
import CairnFiles
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator
import CairnStorage

/// A group with one replica whose log commits whatever it is given, at the next flush.
final class TestGroup: GroupConsensus {
    var logBatchesInFlight: Int { 0 }
    let id: GroupID
    let node: NodeID
    let replica: DataGroup
    private(set) var term = Term(rawValue: 0)
    private var last = LogIndex(rawValue: 0)
    private var uncommitted: [Entry] = []
    let readers = TestReaders()
    private let background = ManualBackgroundExecutor()
    private let openEngine: (String) throws -> Engine
    private var waitingReads: [(Result<LogIndex, GroupReadError>) -> Void] = []

    /// Whether the leader's lease holds; without it every read needs a round.
    var hasLease = true
    /// What the nodes' disks have room for.
    var room = WriteRoom.ample
    /// The log takes nothing, as while an office is handed over.
    var refusesProposals = false
    /// Whether entries commit; off, everything stays under way.
    var commits = true
    /// Entries that the log has been given.
    private(set) var proposals = 0

    init(_ id: GroupID, node: NodeID, clock: TestClock, disk: SimulatedFileSystem) throws {
        self.id = id
        self.node = node
        var databaseOptions = GroupDatabaseOptions()
        // So few that most reads of several documents are deferred.
        databaseOptions.documentsReadAtOnce = 2
        databaseOptions.cursorSeed = UInt64(id.rawValue) &* 0x9E37_79B9
        let background = background
        openEngine = { directory in
            var options = EngineOptions()
            options.blockBytes = 1_024
            return try Engine.open(directory: directory, fileSystem: disk, options: options, background: background)
        }
        replica = try DataGroup(
            group: id, node: node, directory: "/groups/\(id.rawValue)", fileSystem: disk, clock: clock,
            readers: readers,
            databaseOptions: databaseOptions,
            openEngine: openEngine)
        last = replica.appliedIndex
        replica.attach(self)
    }

    func becomeLeader() throws {
        term = Term(rawValue: term.rawValue + 1)
        uncommitted.removeAll()
        last = LogIndex(rawValue: last.rawValue + 1)
        // As Raft does: the role is told once the term's empty entry is proposed.
        uncommitted.append(Entry(term: term, index: last, kind: .empty, payload: []))
        replica.roleDidChange(.leader(term: term))
        try settle()
    }

    /// Leaves all documents on the disk and none in memory.
    func forgetBlocks() throws {
        let engine = replica.database.engine
        engine.requestFlush()
        background.runAll()
        try engine.close()
        try replica.database.replaceEngine(try openEngine(engine.directory))
    }

    /// What is under way is lost, as when another leader's log wins.
    func loseOffice(losingEntries: Bool) throws {
        if losingEntries {
            uncommitted.removeAll()
            last = replica.appliedIndex
        }
        replica.roleDidChange(.follower(leader: nil))
        try settle()
    }

    func propose(_ payload: [UInt8], in group: GroupID) throws(GroupProposalError) -> LogPosition {
        guard replica.role.isLeader else { throw .notLeader(leader: nil) }
        guard !refusesProposals else { throw .busy }
        proposals += 1
        last = LogIndex(rawValue: last.rawValue + 1)
        uncommitted.append(Entry(term: term, index: last, kind: .normal, payload: payload[...]))
        return LogPosition(term: term, index: last)
    }

    func room(for group: GroupID) -> WriteRoom { room }

    func leaseReadIndex(_ group: GroupID, now: UInt64) -> LogIndex? {
        hasLease && replica.role.isLeader ? replica.appliedIndex : nil
    }

    func readIndex(_ group: GroupID, completion: @escaping (Result<LogIndex, GroupReadError>) -> Void) {
        waitingReads.append(completion)
    }

    func configuration(of group: GroupID) -> Configuration? { Configuration(voters: [node]) }

    func leader(of group: GroupID) -> NodeID? {
        replica.role.isLeader ? node : nil
    }

    /// One turn of the loop. Returns whether anything happened.
    @discardableResult
    func turn() throws -> Bool {
        var didWork = replica.needsFlush
        replica.flush()
        if readers.turn() { didWork = true }
        for completion in waitingReads {
            completion(replica.role.isLeader ? .success(replica.appliedIndex) : .failure(.notLeader(leader: nil)))
            didWork = true
        }
        waitingReads.removeAll()
        if commits, !uncommitted.isEmpty {
            let entries = uncommitted
            uncommitted.removeAll()
            try replica.apply(entries[...])
            didWork = true
        }
        return didWork
    }

    func settle() throws {
        while try turn() {}
    }
}
