import CairnFiles
import CairnRaft
import CairnReplication
import CairnSimulator
import CairnStorage
import Testing

/// Verifying a node's directory reads everything, counts it, and names each place that is bad.
@Suite struct VerificationTests {
    /// The directory of a node that ran and was stopped; with or without a keyring.
    private func filled(isEncrypted: Bool = false) throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem(seed: 5)
        try disk.createDirectory("node")
        if isEncrypted {
            let master = try MasterKey([UInt8](repeating: 7, count: 32), source: "test")
            disk.use(try Keyring.open("node/keyring", master: master, in: disk))
        }
        let log = try SharedLog.open(directory: "node/raft", fileSystem: disk, options: LogWorkload.options())
        let group = log.open(GroupID(1))
        for index in 1...4 as ClosedRange<UInt64> {
            var batch = LogBatch(id: index)
            let entry = Entry(term: Term(2), index: LogIndex(index), kind: .normal, payload: [1, 2, 3])
            group.append([entry], hardState: HardState(term: Term(2), vote: NodeID(3), commit: LogIndex(1)), to: &batch)
            try log.append(batch)
            try log.synchronize()
        }
        try log.close()
        let engine = try Engine.open(
            directory: "node/groups/1/tablet", fileSystem: disk, background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        for number in 0..<2000 { batch.put("key\(number)".utf8, repeatElement(UInt8(number & 255), count: 50)) }
        try engine.apply(batch, at: Version(1), mark: 4)
        try engine.flush()
        var more = WriteBatch()
        more.put("late".utf8, "value".utf8)
        try engine.apply(more, at: Version(2), mark: 5, durability: .synced)
        try engine.close()
        try disk.replace("node/NODE_ID", with: Array("{\"node\": 3}\n".utf8))
        return disk
    }

    private func verify(
        _ disk: SimulatedFileSystem, _ path: String = "node",
        progress: @escaping (DataDirectoryVerifier.Progress) -> Void = { _ in }
    ) throws -> DataDirectoryVerifier.Summary {
        var told: [InspectedDamage] = []
        let summary = try DataDirectoryVerifier(fileSystem: disk).verify(path, progress: progress) { told.append($0) }
        #expect(told == summary.damages, "what is told is what is summed up")
        return summary
    }

    private func path(_ disk: SimulatedFileSystem, _ kind: DataFile.Kind) throws -> String {
        try #require(try DataFile.all(below: "node", in: disk).files.last { $0.kind == kind }).path
    }

    @Test(arguments: [false, true])
    func everyKindOfFileIsCountedAndNothingIsChanged(isEncrypted: Bool) throws {
        let disk = try filled(isEncrypted: isEncrypted)
        let operations = disk.operationCount
        let summary = try verify(disk)
        #expect(summary.damages == [])
        #expect(summary.unfinished == [] && summary.others == [])
        let rows = Dictionary(uniqueKeysWithValues: summary.rows.map { ($0.kind, $0) })
        var kinds: Set<DataFile.Kind> = [.table, .wal, .manifest, .segment, .current, .note]
        if isEncrypted { kinds.insert(.keyring) }
        #expect(Set(rows.keys) == kinds)
        let table = try #require(rows[.table])
        #expect(table.amount.blocks > 5, "\(table)")
        let bytes = try disk.size(of: try path(disk, .table))
        #expect(table.amount.bytes == bytes, "every byte of a table is in a block")
        #expect(try #require(rows[.segment]).amount.blocks >= 9, "the header, four entries, four hard states")
        #expect(disk.operationCount == operations)
    }

    @Test func eachDamageIsNamedWithFileAndOffset() throws {
        let disk = try filled()
        let table = try path(disk, .table)
        try disk.flipBit(3, ofByte: 100, in: table)
        var damages = try verify(disk).damages
        #expect(damages.map(\.path) == [table])
        #expect(damages.first?.offset == 0, "the block that has the byte begins there")
        let segment = try path(disk, .segment)
        try disk.flipBit(3, ofByte: 70, in: segment)
        damages = try verify(disk).damages
        #expect(Set(damages.map(\.path)) == [table, segment])
        #expect(damages.contains { $0.path == segment && $0.offset == 64 })
        // A file alone is checked as well.
        #expect(try verify(disk, table).damages.map(\.path) == [table])
    }

    @Test func aTableThatIsGoneIsMissed() throws {
        let disk = try filled()
        let table = try path(disk, .table)
        try disk.remove(table)
        let damages = try verify(disk).damages
        #expect(damages.map(\.path) == [table])
        #expect(damages.first?.reason.contains("missing") == true)
    }

    @Test func progressBeginsAtNothingNeverGoesBackAndEndsWithAll() throws {
        let disk = try filled()
        var last: UInt64 = 0
        var updates: [DataDirectoryVerifier.Progress] = []
        _ = try verify(disk) { updates.append($0) }
        #expect(updates.first?.doneBytes == 0)
        for update in updates {
            #expect(update.doneBytes >= last)
            last = update.doneBytes
        }
        #expect(last == updates.last?.totalBytes)
        #expect(updates.count > 20, "it is heard of between files, too")
    }

    @Test func whatIsUnfinishedIsNamedAndNotCalledDamaged() throws {
        let disk = try filled()
        try disk.createDirectory("node/groups/1/incoming-2-7")
        try disk.replace("node/groups/1/incoming-2-7/000009.sst", with: [1, 2, 3])
        try disk.replace("node/groups/1/tablet/000099.sst", with: [1, 2, 3])
        try disk.replace("node/picture", with: [1, 2, 3])
        let summary = try verify(disk)
        #expect(summary.damages == [])
        #expect(
            Set(summary.unfinished) == ["node/groups/1/incoming-2-7/000009.sst", "node/groups/1/tablet/000099.sst"])
        #expect(summary.others == ["node/picture"])
    }

    @Test func aFolderOfOtherThingsIsRefused() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.createDirectory("pictures")
        try disk.replace("pictures/one", with: [1])
        #expect(throws: FileError.self) { try verify(disk, "pictures") }
        #expect(throws: FileError.self) { try verify(disk, "nowhere") }
    }

    @Test func aKeyringShowsHowManyKeysItHasAndNoneOfThem() throws {
        let disk = try filled(isEncrypted: true)
        let keyring = try #require(disk.keyring)
        let first = keyring.activeID
        let second = try keyring.rotate()
        var text = ""
        var report = InspectionReport { text += $0 + "\n" }
        try DataDirectoryInspector(fileSystem: disk).inspect("node/keyring", into: &report)
        #expect(report.damages == [])
        #expect(text.contains("2 data keys, format 1\n"), "\(text)")
        #expect(text.contains("  \(Keyring.name(first))\n"))
        #expect(text.contains("  \(Keyring.name(second))  active"))
        #expect(text.contains("the master key opens all of them"))
        for key in keyring.keys { #expect(!text.contains(InspectionText.hexadecimal(key.bytes.prefix(4)))) }
        // In a folder it has a section of its own, and damage is named.
        try disk.flipBit(0, ofByte: 60, in: "node/keyring")
        #expect(try verify(disk).damages.map(\.path) == ["node/keyring"])
    }
}
