import CairnBSON
import CairnDatabase
import CairnFiles
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator
import CairnStorage
import Testing

@Suite("A replica whose tablet is damaged")
struct DamagedReplicaTests {
    private let clock = TestClock()
    private let descriptor = CollectionDescriptor(
        id: CollectionID(100), uuid: Array(0..<16), database: "d", name: "c", placement: .single,
        chunks: [Chunk(.all, group: 1)])

    private func makeReplica(_ disk: SimulatedFileSystem) throws -> DataGroup {
        try DataGroup(
            group: GroupID(1), node: NodeID(rawValue: 1), directory: "/groups/1", fileSystem: disk, clock: clock,
            openEngine: { directory in
                var options = EngineOptions()
                options.wal = .disabled
                return try Engine.open(
                    directory: directory, fileSystem: disk, options: options, background: ManualBackgroundExecutor())
            })
    }

    /// A disk with a replica of 200 documents in tables, and beside it a checkpoint of the same.
    private func makeDisk(encrypts: Bool = false) throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem(seed: 28)
        if encrypts { try disk.encrypt(masterByte: 1) }
        let group = try TestGroup(GroupID(1), node: NodeID(rawValue: 1), clock: clock, disk: disk)
        try group.becomeLeader()
        group.replica.execute(
            GroupRequest(.installDescriptor, collection: descriptor.id, epoch: 1, body: descriptor.document)
        ) { _ in }
        try group.settle()
        for id in Int32(0)..<200 {
            group.replica.execute(
                GroupRequest(.insert, collection: descriptor.id, epoch: 1, documents: [["_id": .int32(id)]])
            ) { _ in }
        }
        try group.settle()
        try group.replica.database.engine.flush()
        _ = try group.replica.checkpoint(into: "/snapshot")
        try group.replica.close()
        // Links share their bytes, and only one of the two is to be damaged.
        for name in try disk.list("/snapshot") {
            let bytes = try disk.contents(of: "/snapshot/\(name)")
            try disk.replace("/snapshot/\(name)", with: bytes)
        }
        return disk
    }

    private func tables(_ disk: SimulatedFileSystem, in directory: String) throws -> [String] {
        try disk.list(directory).filter { $0.hasSuffix(".sst") }.map { "\(directory)/\($0)" }
    }

    @Test func B28_aTabletThatCannotBeOpenedStaysUntilASnapshotTakesItsPlace() throws {
        let disk = try makeDisk()
        for table in try tables(disk, in: "/groups/1/tablet") { try disk.cut(table, to: 100) }
        let files = try disk.list("/groups/1/tablet")
        let replica = try makeReplica(disk)
        #expect(replica.damage?.contains("corruption") == true)
        #expect(replica.appliedIndex.rawValue == 0)
        #expect(try disk.list("/groups/1/tablet") == files)
        try replica.install(from: "/snapshot")
        #expect(replica.damage == nil && replica.appliedIndex.rawValue > 0)
        #expect(replica.database.descriptor(of: descriptor.id) == descriptor)
        #expect(try disk.list("/groups/1") == ["TABLET", "tablet-1"])
        try replica.close()
        #expect(try makeReplica(disk).damage == nil)
    }

    @Test func B28_damageThatAReadMeetsIsKnownAndOutlivesARestart() throws {
        let disk = try makeDisk()
        for table in try tables(disk, in: "/groups/1/tablet") { try disk.flipBit(2, ofByte: 60, in: table) }
        let replica = try makeReplica(disk)
        // The descriptor may lie in the damaged block, and is read when the tablet is opened.
        if replica.damage == nil {
            let context = EvaluationContext(nowMilliseconds: 0, monotonicMilliseconds: 0)
            let count = GroupRequest(.validate, collection: descriptor.id, epoch: 1)
            if case .answer(.reply(let reply)) = replica.database.evaluate(count, context).outcome {
                Issue.record("an answer from damaged bytes: \(reply.body)")
            }
        }
        #expect(replica.damage?.contains("corruption") == true)
        try replica.noteDamage()
        try replica.close()
        let again = try makeReplica(disk)
        #expect(again.damage?.contains("corruption") == true)
        #expect(try disk.list("/groups/1").contains("tablet"))
        try again.install(from: "/snapshot")
        try again.close()
        #expect(try makeReplica(disk).damage == nil)
        #expect(try disk.list("/groups/1") == ["TABLET", "tablet-1"])
    }

    @Test func E19_aMissingKeyIsNoDamage() throws {
        let disk = try makeDisk(encrypts: true)
        let keyring = disk.keyring
        disk.use(nil)
        #expect {
            _ = try makeReplica(disk)
        } throws: { error in
            (error as? StorageError)?.code == .wrongKey
        }
        disk.use(keyring)
        #expect(try makeReplica(disk).damage == nil)
    }
}
