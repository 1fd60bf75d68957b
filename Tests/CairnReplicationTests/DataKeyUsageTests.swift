import CairnFiles
import CairnRaft
import CairnSimulator
import CairnStorage
import Testing

@testable import CairnReplication

/// Which data keys the files of a node are under, and how old ones get out of use.
@Suite struct DataKeyUsageTests {
    private let disk = SimulatedFileSystem(seed: 6)
    private let master = try! MasterKey([UInt8](repeating: 7, count: 32), source: "test")

    private func openKeyring() throws -> Keyring {
        try disk.createDirectory("node")
        let keyring = try Keyring.open("node/keyring", master: master, in: disk)
        disk.use(keyring)
        return keyring
    }

    private func append(_ group: GroupLog, _ indexes: ClosedRange<UInt64>, to log: SharedLog) throws {
        for index in indexes {
            var batch = LogBatch(id: index)
            let entry = Entry(
                term: Term(1), index: LogIndex(index), kind: .normal, payload: [UInt8](repeating: 9, count: 300)[...])
            group.append([entry], hardState: HardState(term: Term(1), vote: nil, commit: LogIndex(index)), to: &batch)
            try log.append(batch)
            group.persisted(through: entry.position)
        }
        try log.synchronize()
    }

    @Test func everyFileCountsForTheKeyThatItIsUnder() throws {
        let keyring = try openKeyring()
        let first = keyring.activeID
        let log = try SharedLog.open(directory: "node/raft", fileSystem: disk, options: LogWorkload.options())
        try append(log.open(GroupID(1)), 1...3, to: log)
        try log.close()
        let second = try keyring.rotate()
        let engine = try Engine.open(
            directory: "node/groups/1/tablet", fileSystem: disk, background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        batch.put("a".utf8, "b".utf8)
        try engine.write(batch)
        try engine.flush()
        try engine.close()
        var usage = try DataKeyUsage(of: "node", in: disk)
        #expect(usage.keysInUse == [first, second])
        #expect(usage.uses[first]?.files == 1)
        #expect(usage.uses[second]?.files == 2, "a table and a manifest")
        // It is read without any key.
        disk.use(nil)
        usage = try DataKeyUsage(of: "node", in: disk)
        #expect(usage.keysInUse == [first, second])
        // A file that is not whole could be under any key.
        try disk.replace("node/groups/1/tablet/000077.sst", with: [1, 2, 3])
        usage = try DataKeyUsage(of: "node", in: disk)
        #expect(usage.keysInUse == nil)
        #expect(usage.unknown == ["node/groups/1/tablet/000077.sst"])
    }

    @Test func B35_theLogMovesUnderTheActiveKeyAndTheOldOnesGo() throws {
        let keyring = try openKeyring()
        let log = try SharedLog.open(directory: "node/raft", fileSystem: disk, options: LogWorkload.options())
        let group = log.open(GroupID(1))
        let idle = log.open(GroupID(2))
        try append(idle, 1...1, to: log)
        try append(group, 1...40, to: log)
        try keyring.rotate()
        try append(group, 41...80, to: log)
        try keyring.rotate()
        #expect(try keyring.dropUnused(below: "node", in: disk).isEmpty)
        #expect(try log.rewriteUnderActiveKey())
        #expect(try DataKeyUsage(of: "node", in: disk).keysInUse == [keyring.activeID])
        #expect(try keyring.dropUnused(below: "node", in: disk).count == 2)
        try append(group, 81...90, to: log)
        try log.close()
        // A start finds all of it with the one key that is left.
        disk.restart()
        #expect(try openKeyring().keys.count == 1)
        let again = try SharedLog.open(directory: "node/raft", fileSystem: disk, options: LogWorkload.options())
        #expect(again.open(GroupID(1)).lastIndex == LogIndex(90))
        #expect(again.open(GroupID(2)).lastIndex == LogIndex(1))
        try again.close()
    }

    @Test func B35_aLogUnderOldKeysSurvivesAPowerCutWhileItIsRewritten() throws {
        let keyring = try openKeyring()
        let log = try SharedLog.open(directory: "node/raft", fileSystem: disk, options: LogWorkload.options())
        try append(log.open(GroupID(1)), 1...60, to: log)
        try keyring.rotate()
        for cut in 0..<40 {
            let copy = disk.copy(seed: UInt64(cut))
            copy.restart()
            copy.use(try Keyring.open("node/keyring", master: master, in: copy))
            let opened = try SharedLog.open(directory: "node/raft", fileSystem: copy, options: LogWorkload.options())
            copy.cutPower(afterOperations: cut)
            do {
                _ = try opened.rewriteUnderActiveKey()
                _ = try copy.keyring?.dropUnused(below: "node", in: copy)
            } catch {}
            copy.restart()
            copy.use(try Keyring.open("node/keyring", master: master, createIfMissing: false, in: copy))
            let again = try SharedLog.open(directory: "node/raft", fileSystem: copy, options: LogWorkload.options())
            #expect(again.open(GroupID(1)).lastIndex == LogIndex(60), "power cut after \(cut) operations")
        }
    }
}
