import CairnBSON
import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator
import CairnStorage
import CairnTestSupport
import Testing

@Suite("A replica and its requests")
struct DataGroupTests {
    private let clock = TestClock()
    private let disk = SimulatedFileSystem(seed: 1)
    private let descriptor = CollectionDescriptor(
        id: CollectionID(100), uuid: Array(0..<16), database: "d", name: "c", placement: .single,
        chunks: [Chunk(.all, group: 1)])

    private func makeGroup() throws -> TestGroup {
        let group = try TestGroup(GroupID(1), node: NodeID(rawValue: 1), clock: clock, disk: disk)
        try group.becomeLeader()
        var installed = false
        group.replica.execute(
            GroupRequest(.installDescriptor, collection: descriptor.id, epoch: 1, body: descriptor.document)
        ) { result in
            if case .success = result { installed = true }
        }
        try group.settle()
        #expect(installed)
        return group
    }

    private func insert(_ id: Int32) -> GroupRequest {
        GroupRequest(.insert, collection: descriptor.id, epoch: 1, documents: [["_id": .int32(id)]])
    }

    private var count: GroupRequest {
        GroupRequest(.count, collection: descriptor.id, epoch: 1, body: ["query": [:]])
    }

    @Test func writesOfATurnBecomeOneEntry() throws {
        let group = try makeGroup()
        let before = group.proposals
        var answers = 0
        for id in Int32(0)..<200 { group.replica.execute(insert(id)) { _ in answers += 1 } }
        #expect(answers == 0, "nothing is acknowledged before it is applied")
        try group.settle()
        #expect(answers == 200)
        #expect(group.proposals == before + 1)
    }

    @Test func entriesGrowWhileOthersAreUnderWay() throws {
        let group = try makeGroup()
        let before = group.proposals
        group.commits = false
        var answers = 0
        for id in Int32(0)..<200 {
            group.replica.execute(insert(id)) { _ in answers += 1 }
            try group.turn()
        }
        #expect(group.proposals == before + 2, "two are in flight, the rest gathers")
        group.commits = true
        try group.settle()
        #expect(answers == 200)
        #expect(group.proposals == before + 3)
    }

    @Test func aReadUnderTheLeaseIsAnsweredAtOnce() throws {
        let group = try makeGroup()
        group.replica.execute(insert(1)) { _ in }
        try group.settle()
        var answer: Int64?
        group.replica.execute(count) { answer = try? $0.get().body["n"]?.int64Exactly }
        #expect(answer == 1)
    }

    @Test func aLongReadIsAnsweredByTheReadersAndSeesTheStateAtItsBeginning() throws {
        let group = try makeGroup()
        for id in Int32(0)..<50 { group.replica.execute(insert(id)) { _ in } }
        try group.settle()
        var answer: Int64?
        group.replica.execute(count) { answer = try? $0.get().body["n"]?.int64Exactly }
        #expect(answer == nil && group.replica.pendingRequests == 1)
        group.replica.execute(insert(50)) { _ in }
        group.replica.flush()
        try group.loseOffice(losingEntries: false)
        #expect(answer == 50, "the lease held when it began, whoever leads when it ends")
        #expect(group.replica.pendingRequests == 0)
    }

    @Test func aWriteThatIsReadForGoesToTheNextLeaderWhenOfficeIsLostMeanwhile() throws {
        let group = try makeGroup()
        for id in Int32(0)..<50 { group.replica.execute(insert(id)) { _ in } }
        try group.settle()
        let update = GroupRequest(
            .update, collection: descriptor.id, epoch: 1, documents: [["q": ["_id": 7], "u": ["$set": ["a": 1]]]])
        var results: [String] = []
        for _ in 0..<2 {
            try group.loseOffice(losingEntries: false)
            try group.forgetBlocks()
            try group.becomeLeader()
            group.replica.execute(update) { result in
                switch result {
                case .success(let reply): results.append("\(reply.body)")
                case .failure(.notLeader): results.append("not leader")
                case .failure(let failure): results.append("\(failure)")
                }
            }
            #expect(!group.readers.isIdle, "the document is on the disk")
        }
        try group.settle()
        #expect(results == ["not leader", #"{"n":1,"nModified":1}"#])
        #expect(group.replica.pendingRequests == 0)
    }

    @Test func aReadWithoutALeaseWaitsForARound() throws {
        let group = try makeGroup()
        group.hasLease = false
        var answer: Int64?
        group.replica.execute(count) { answer = try? $0.get().body["n"]?.int64Exactly }
        #expect(answer == nil)
        try group.settle()
        #expect(answer == 0)
    }

    @Test func aFollowerRefusesAndALostOfficeLeavesWritesUnknown() throws {
        let group = try makeGroup()
        group.commits = false
        var failures: [String] = []
        group.replica.execute(insert(1)) { result in
            if case .failure(.unavailable) = result { failures.append("unavailable") }
        }
        try group.turn()
        try group.loseOffice(losingEntries: true)
        #expect(failures == ["unavailable"])
        group.replica.execute(insert(2)) { result in
            if case .failure(.notLeader) = result { failures.append("not leader") }
        }
        group.replica.execute(count) { result in
            if case .failure(.notLeader) = result { failures.append("not leader") }
        }
        #expect(failures == ["unavailable", "not leader", "not leader"])
        #expect(group.replica.pendingRequests == 0)
    }

    @Test func aNewLeaderTakesWritesOnceItsFirstEntryIsApplied() throws {
        let group = try makeGroup()
        try group.loseOffice(losingEntries: true)
        group.commits = false
        try group.becomeLeader()
        var answered = false
        group.replica.execute(insert(1)) { result in
            if case .success = result { answered = true }
        }
        try group.settle()
        #expect(!answered && group.replica.pendingRequests == 1)
        group.commits = true
        try group.settle()
        #expect(answered && group.replica.pendingRequests == 0)
    }

    @Test func tooManyWaitingRequestsAreRefused() throws {
        let group = try makeGroup()
        group.commits = false
        var refused = 0
        for id in Int32(0)..<21_000 {
            group.replica.execute(insert(id)) { result in
                if case .failure(.unavailable) = result { refused += 1 }
            }
        }
        #expect(refused == 1_000)
        group.commits = true
        try group.settle()
        #expect(group.replica.pendingRequests == 0)
    }

    @Test func A41_whereSpaceIsShortDeletesAreTakenAndOtherWritesAreToldWhy() throws {
        let group = try makeGroup()
        group.replica.execute(insert(1)) { _ in }
        try group.settle()
        func outcome(_ request: GroupRequest) throws -> String {
            var outcome = "none"
            group.replica.execute(request) { result in
                switch result {
                case .success: outcome = "done"
                case .failure(.error(let error)): outcome = "\(error.code.rawValue) \(error.message)"
                case .failure(.notLeader): outcome = "elsewhere"
                case .failure(let failure): outcome = "\(failure)"
                }
            }
            try group.settle()
            return outcome
        }
        let delete = GroupRequest(
            .delete, collection: descriptor.id, epoch: 1, documents: [["q": ["_id": 1], "limit": 1]])
        group.room = .deletesOnly("/data is nearly full")
        #expect(try outcome(insert(2)) == "14031 /data is nearly full")
        #expect(try outcome(delete) == "done")
        group.room = .moving
        #expect(try outcome(insert(2)) == "elsewhere")
        group.room = .none("/data is full")
        #expect(try outcome(delete) == "14031 /data is full")
        #expect(try outcome(count) == "done")
        group.room = .ample
        #expect(try outcome(insert(2)) == "done")
    }

    @Test func A49_aRefusedProposalWithNothingElseUnderWayLeavesTheGroupWorking() throws {
        let group = try makeGroup()
        var failures = 0
        group.refusesProposals = true
        group.replica.execute(insert(1)) { result in
            if case .failure(.unavailable) = result { failures += 1 }
        }
        try group.settle()
        #expect(failures == 1)
        group.refusesProposals = false
        var answered = false
        group.replica.execute(insert(2)) { result in
            if case .success = result { answered = true }
        }
        try group.settle()
        #expect(answered && group.replica.pendingRequests == 0)
    }

    @Test func B16_aFlushThatFoundNoRoomIsTriedAgainThoughNoWriteComes() throws {
        let background = ManualBackgroundExecutor()
        let disk = disk
        let replica = try DataGroup(
            group: GroupID(1), node: NodeID(rawValue: 1), directory: "/full", fileSystem: disk, clock: clock,
            openEngine: { directory in
                var options = EngineOptions()
                options.wal = .disabled
                return try Engine.open(
                    directory: directory, fileSystem: disk, options: options, background: background)
            })
        try replica.apply([Entry(term: Term(rawValue: 1), index: LogIndex(rawValue: 1), kind: .empty, payload: [])])
        disk.inject(DiskFault(.error(.outOfSpace), on: .write, pathContains: "/full"))
        replica.advanceDurability()
        background.runAll()
        #expect(replica.durableIndex.rawValue == 0)
        disk.removeFaults()
        replica.tick()
        background.runAll()
        #expect(replica.durableIndex.rawValue == 1)
    }

    @Test func aSnapshotReplacesTheTabletAndSurvivesReopening() throws {
        let group = try makeGroup()
        for id in Int32(0)..<50 { group.replica.execute(insert(id)) { _ in } }
        try group.settle()
        let index = try group.replica.checkpoint(into: "/snapshot")
        #expect(index == group.replica.appliedIndex)

        let other = try TestGroup(
            GroupID(1), node: NodeID(rawValue: 2), clock: clock, disk: SimulatedFileSystem(seed: 2))
        #expect(other.replica.appliedIndex.rawValue == 0)
        let third = try DataGroup(
            group: GroupID(1), node: NodeID(rawValue: 3), directory: "/third", fileSystem: disk, clock: clock,
            openEngine: openEngine)
        try third.install(from: "/snapshot")
        #expect(third.appliedIndex == index)
        #expect(third.database.descriptor(of: descriptor.id) == descriptor)
        try third.close()
        let again = try DataGroup(
            group: GroupID(1), node: NodeID(rawValue: 3), directory: "/third", fileSystem: disk, clock: clock,
            openEngine: openEngine)
        #expect(again.appliedIndex == index)
        #expect(again.database.descriptor(of: descriptor.id) == descriptor)
    }

    @Test func A43_anInstallationCutShortLeavesOneWholeTablet() throws {
        let group = try makeGroup()
        for id in Int32(0)..<50 { group.replica.execute(insert(id)) { _ in } }
        try group.settle()
        let index = try group.replica.checkpoint(into: "/snapshot")
        var outcomes: Set<UInt64> = []
        for operations in 0..<60 {
            let world = disk.copy(seed: UInt64(operations))
            let open: (String) throws -> Engine = { directory in
                try Engine.open(
                    directory: directory, fileSystem: world, options: EngineOptions(),
                    background: ManualBackgroundExecutor())
            }
            let replica = try DataGroup(
                group: GroupID(1), node: NodeID(rawValue: 3), directory: "/third", fileSystem: world, clock: clock,
                openEngine: open)
            world.cutPower(afterOperations: operations)
            try? replica.install(from: "/snapshot")
            world.restart()
            let reopened = try DataGroup(
                group: GroupID(1), node: NodeID(rawValue: 3), directory: "/third", fileSystem: world, clock: clock,
                openEngine: open)
            let applied = reopened.appliedIndex.rawValue
            #expect(applied == 0 || applied == index.rawValue, "cut after \(operations) operations")
            outcomes.insert(applied)
            try reopened.close()
        }
        #expect(outcomes.count == 2, "the cuts reach both sides of the switch")
    }

    private func openEngine(_ directory: String) throws -> Engine {
        try Engine.open(
            directory: directory, fileSystem: disk, options: EngineOptions(), background: ManualBackgroundExecutor())
    }
}
