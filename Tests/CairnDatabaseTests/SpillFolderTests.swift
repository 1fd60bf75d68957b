import CairnBSON
import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnDatabase
@testable import CairnQuery

@Suite("Spilled documents")
struct SpillFolderTests {
    private func documents(_ random: inout SeededGenerator, count: Int) -> [Document] {
        (0..<count).map { number in
            let size = random.oneIn(20) ? 300_000 : Int.random(in: 0...900, using: &random)
            return [
                "_id": .int32(Int32(number)),
                "secret": .string(BSONString(String(repeating: "confidential ", count: size / 13))),
            ]
        }
    }

    @Test("come back as they were, and leave nothing behind", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let files = SimulatedFileSystem(seed: seed)
        let folder = try SpillFolder(in: "/node/spill", files, reserveBytes: 0)
        let first = documents(&random, count: 400)
        let second = documents(&random, count: 3)
        do {
            let one = try folder.makeRun()
            let two = try folder.makeRun()
            let empty = try folder.makeRun()
            for document in first { try one.append(document) }
            for document in second { try two.append(document) }
            for document in first { #expect(try one.next() == document) }
            for document in second { #expect(try two.next() == document) }
            #expect(try one.next() == nil)
            #expect(try two.next() == nil)
            #expect(try empty.next() == nil)
            #expect(folder.heldBytes > 0)
            #expect(try files.list("/node/spill").count == 3)
        }
        #expect(folder.heldBytes == 0)
        #expect(try files.list("/node/spill").isEmpty)
    }

    @Test("are removed when the node starts")
    func startUp() throws {
        let files = SimulatedFileSystem(seed: 1)
        try files.createDirectory("/node/spill")
        try files.create("/node/spill/17.spill").close()
        _ = try SpillFolder(in: "/node/spill", files, reserveBytes: 0)
        #expect(try files.list("/node/spill").isEmpty)
    }

    @Test("are told of by explain", arguments: [true, false])
    func explained(isTight: Bool) throws {
        var options = GroupDatabaseOptions()
        options.spill = try SpillFolder(in: "/node/spill", SimulatedFileSystem(seed: 5), reserveBytes: 0)
        options.stageMemory = StageMemory(sortBytesMax: isTight ? 10_000 : 10_000_000)
        let group = try TestGroup(options: options)
        try group.start()
        let pad = Value(String(repeating: "x", count: 200))
        for id in 0..<200 { try group.insert(["_id": Value(id), "a": Value(-id), "pad": pad]) }
        let body = try group.run(
            group.request(
                .explain,
                ["command": ["find": ["filter": [:], "sort": ["a": 1]]], "verbosity": "executionStats"])
        ).body
        #expect(body["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument?["usedDisk"] == nil)
        let statistics = try #require(body["executionStats"]?.asDocument)
        #expect(statistics["nReturned"] == 200)
        let sort = try #require(statistics["executionStages"]?.asDocument)
        #expect(sort["stage"] == "SORT")
        #expect(sort["usedDisk"] == .bool(isTight))
        #expect((sort["spills"]?.int64Exactly ?? 0 > 1) == isTight)
    }

    @Test("are sealed where the node's files are")
    func sealed() throws {
        let files = SimulatedFileSystem(seed: 3)
        try files.encrypt()
        let folder = try SpillFolder(in: "/node/spill", files, reserveBytes: 0)
        let run = try folder.makeRun()
        let secret: Document = ["_id": 1, "secret": "confidential"]
        for _ in 0..<60_000 { try run.append(secret) }
        let file = try #require(try files.list("/node/spill").first)
        let bytes = try files.contents(of: "/node/spill/\(file)")
        #expect(!bytes.isEmpty)
        var search = SequenceSearch(for: Array("confidential".utf8))
        #expect(search.firstIndex(in: bytes[...], from: 0, to: bytes.count) == nil)
        #expect(try run.next() == secret)
    }

    @Test("take no more of the disk than they may")
    func bound() throws {
        var random = SeededGenerator(seed: 7)
        let folder = try SpillFolder(
            in: "/node/spill", SimulatedFileSystem(seed: 1), bytesMax: 100_000, reserveBytes: 0)
        let run = try folder.makeRun()
        do {
            for number in 0..<100_000 {
                try run.append([
                    "_id": .int32(Int32(number)), "r": .int64(Int64(bitPattern: random.next())),
                    "s": .int64(Int64(bitPattern: random.next())),
                ])
            }
            Issue.record("no error")
        } catch {
            #expect(error.code == .outOfDiskSpace)
        }
    }

    @Test(
        "are an error where the disk fails, and hold nothing afterwards",
        arguments: [
            (DiskFault(.error(.outOfSpace), on: .write, nth: 3), ErrorCode.outOfDiskSpace),
            (DiskFault(.error(.io), on: .write, nth: 2), .internalError),
            (DiskFault(.shortWrite, on: .write, nth: 2), .internalError),
            (DiskFault(.loseWrite, on: .write, nth: 2), .internalError),
            (DiskFault(.error(.io), on: .read, nth: 2), .internalError),
        ])
    func failing(fault: DiskFault, code: ErrorCode) throws {
        let files = SimulatedFileSystem(seed: 9)
        let folder = try SpillFolder(in: "/node/spill", files, reserveBytes: 0)
        var random = SeededGenerator(seed: 9)
        files.inject(fault)
        do {
            let run = try folder.makeRun()
            for number in 0..<60_000 {
                try run.append(["_id": .int32(Int32(number)), "r": .int64(Int64(bitPattern: random.next()))])
            }
            while try run.next() != nil {}
            Issue.record("no error")
        } catch let error as QueryError {
            #expect(error.code == code, "\(error)")
        }
        files.removeFaults()
        #expect(folder.heldBytes == 0)
        #expect(try files.list("/node/spill").isEmpty)
        // The next query finds the disk as it is.
        let run = try folder.makeRun()
        try run.append(["_id": 1])
        #expect(try run.next() == ["_id": 1])
    }
}
