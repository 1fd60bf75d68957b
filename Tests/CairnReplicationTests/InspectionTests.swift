import CairnFiles
import CairnRaft
import CairnReplication
import CairnSimulator
import CairnStorage
import Testing

/// What is shown of a node's directory is what its log and its tablets hold.
@Suite struct InspectionTests {
    private static let segment = "node/raft/segment-0000000001"

    /// The directory of a node that ran and was stopped, with two groups in the log and the tablet of one.
    private func filled() throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem(seed: 3)
        let log = try SharedLog.open(directory: "node/raft", fileSystem: disk, options: LogWorkload.options())
        for group in [log.open(GroupID(1)), log.open(GroupID(7))] {
            for index in 1...4 as ClosedRange<UInt64> {
                var batch = LogBatch(id: index)
                let entry = Entry(
                    term: Term(2), index: LogIndex(index), kind: index == 1 ? .empty : .normal,
                    payload: index == 1 ? [] : [1, 2, 3])
                group.append(
                    [entry], hardState: HardState(term: Term(2), vote: NodeID(3), commit: LogIndex(index - 1)),
                    to: &batch)
                try log.append(batch)
                try log.synchronize()
            }
        }
        try log.close()
        let engine = try Engine.open(
            directory: "node/groups/1/tablet", fileSystem: disk, background: ManualBackgroundExecutor())
        var batch = WriteBatch()
        batch.put("a".utf8, "b".utf8)
        try engine.apply(batch, at: Version(1), mark: 4)
        try engine.flush()
        try engine.close()
        try disk.replace("node/NODE_ID", with: Array("{\"node\": 3}\n".utf8))
        return disk
    }

    private func inspect(
        _ path: String, _ disk: SimulatedFileSystem
    ) throws(FileError) -> (text: String, damages: [InspectedDamage]) {
        var options = InspectionOptions()
        options.linesMax = nil
        options.describePayload = { payload, _ in ["payload \(InspectionText.hexadecimal(payload))"] }
        var text = ""
        var report = InspectionReport { text += $0 + "\n" }
        try DataDirectoryInspector(fileSystem: disk, options: options).inspect(path, into: &report)
        return (text, report.damages)
    }

    @Test func aSegmentShowsRecordsGroupsTermsAndIndexes() throws {
        let (text, damages) = try inspect(Self.segment, try filled())
        #expect(damages == [])
        #expect(text.contains("entry 1 of term 2, empty\n"), "\(text)")
        #expect(text.contains("entry 4 of term 2, 3 bytes, payload 010203\n"))
        #expect(text.contains("hard state term 2, vote n3, commit 3\n"))
        #expect(text.contains("everything before is synced\n"))
        #expect(text.contains("entries 1 of term 2 to 4 of term 2\n"))
        #expect(text.contains("  g7: "))
    }

    @Test func aNodesDirectoryShowsItsNameItsLogAndItsTablets() throws {
        let disk = try filled()
        let operations = disk.operationCount
        let (text, damages) = try inspect("node/", disk)
        #expect(damages == [])
        #expect(text.contains("{\"node\": 3}"), "\(text)")
        #expect(text.contains("g1 life 1: term 2, vote n3, commit 3, entries 1 to 4 (last of term 2)"))
        #expect(text.contains("group 1\n  tablet\n"))
        #expect(text.contains("1 table, "))
        for part in [
            "node/raft", "node/groups", "node/groups/1", "node/groups/1/tablet", "node/NODE_ID",
            "node/groups/1/tablet/CURRENT",
        ] {
            #expect(try inspect(part, disk).damages == [], "\(part)")
        }
        #expect(disk.operationCount == operations, "nothing was changed or synced")
    }

    @Test func aFlippedByteOfTheLogNamesFilePlaceAndGroup() throws {
        let disk = try filled()
        let size = try disk.contents(of: Self.segment).lastIndex { $0 != 0 }!
        var found = 0
        for byte in stride(from: RecordLogHeader.byteCount, to: size - 200, by: 13) {
            let offset = byte
            // Padding between records is under no checksum, and needs none.
            try disk.flipBit(2, ofByte: offset, in: Self.segment)
            let (text, damages) = try inspect(Self.segment, disk)
            if let damage = damages.first {
                found += 1
                #expect(damages.count == 1)
                #expect(damage.path == Self.segment)
                #expect(try #require(damage.offset) <= UInt64(byte) && UInt64(byte) < damage.offset! + 96, "\(text)")
                #expect(damage.reason.contains("record of g1") || damage.reason.contains("record of g7"))
                let whole = try inspect("node", disk)
                #expect(whole.damages.contains(damage), "\(whole.text)")
            }
            try disk.flipBit(2, ofByte: offset, in: Self.segment)
        }
        #expect(found > 20)
    }

    @Test func aLogThatIsWrittenBesideIsNeverCalledDamaged() async throws {
        let disk = SimulatedFileSystem(seed: 8)
        let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
        let writer = Task.detached {
            let group = log.open(GroupID(1))
            for index in 1...1500 as ClosedRange<UInt64> {
                var batch = LogBatch(id: index)
                let entry = Entry(
                    term: Term(1), index: LogIndex(index), kind: .normal,
                    payload: [UInt8](repeating: 7, count: 200)[...])
                group.append([entry], to: &batch)
                if index > 20 { group.purge(through: LogIndex(index - 20), in: &batch) }
                try log.append(batch)
                if index % 3 == 0 { try log.synchronize() }
                group.persisted(through: entry.position)
                await Task.yield()
            }
        }
        for _ in 0..<40 {
            let (text, damages) = try inspect("raft", disk)
            #expect(damages == [], "\(text)")
            await Task.yield()
        }
        try await writer.value
        try log.close()
    }

    @Test func aPathThatIsNoNodesIsRefused() throws {
        let disk = try filled()
        #expect(throws: FileError.self) { try inspect("node/nothing", disk) }
        try disk.createDirectory("elsewhere/pictures")
        #expect(throws: FileError.self) { try inspect("elsewhere", disk) }
        try disk.replace("elsewhere/note", with: Array("hello".utf8))
        #expect(throws: FileError.self) { try inspect("elsewhere/note", disk) }
        // A file is known by its contents under any name.
        try disk.link(Self.segment, to: "elsewhere/copy")
        #expect(try inspect("elsewhere/copy", disk).text.contains("entry 4 of term 2"))
    }
}
