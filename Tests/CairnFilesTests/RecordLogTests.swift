import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@Suite struct RecordLogTests {
    private static let kind = RecordLogHeader.Kind("TEST")
    private static let header = RecordLogHeader(kind: kind, number: 3, fileID: 0x1122_3344_5566_7788, note: 9)

    private func read(_ disk: some FileSystem, _ path: String = "log", knownEnd: UInt64? = nil) throws -> [[UInt8]] {
        var reader = try RecordLogReader(path, kind: Self.kind, knownEnd: knownEnd, in: disk)
        var bodies: [[UInt8]] = []
        while let record = try reader.next() { bodies.append(Array(record.body)) }
        return bodies
    }

    /// A log of `bodies`, synced after each of them if asked.
    private func make(
        _ bodies: [[UInt8]], on disk: SimulatedFileSystem, syncingEach: Bool, preallocate: Int = 0
    ) throws -> (RecordLogWriter, [UInt64]) {
        var writer = try RecordLogWriter.create("log", header: Self.header, preallocate: preallocate, in: disk)
        var offsets: [UInt64] = []
        for body in bodies {
            offsets.append(try writer.append(body, tag: UInt64(body.count)))
            if syncingEach { try writer.synchronize() }
        }
        return (writer, offsets)
    }

    private func bodies(_ count: Int, seed: UInt64, upTo size: Int = 60) -> [[UInt8]] {
        var random = SeededGenerator(seed: seed)
        return (0..<count).map { _ in random.bytes(1 + Int(random.next() % UInt64(size))) }
    }

    @Test func recordsComeBackInOrderWithTheirTags() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var writer = try RecordLogWriter.create("log", header: Self.header, in: disk)
        let first = writer.stage([1, 2, 3], tag: 7)
        let second = writer.stage(tag: 8, capacity: 2) { $0.append(contentsOf: [4, 5]) }
        let before = disk.operationCount
        try writer.writeStaged()
        // However many records: one write.
        #expect(disk.operationCount == before + 1)
        var random = SeededGenerator(seed: 2)
        let large = random.bytes(3 << 20)
        try writer.append(large)
        var reader = try RecordLogReader("log", kind: Self.kind, in: disk)
        #expect(reader.header == Self.header)
        let one = try #require(try reader.next())
        #expect((one.offset, one.tag, Array(one.body)) == (first, 7, [1, 2, 3]))
        let two = try #require(try reader.next())
        #expect((two.offset, two.tag, Array(two.body)) == (second, 8, [4, 5]))
        #expect(try reader.next()?.body == large[...])
        #expect(try reader.next() == nil)
        #expect(reader.position == writer.position)
    }

    @Test(arguments: [0, 4096]) func B01_aTornTailIsCutAtEveryByte(preallocate: Int) throws {
        let bodies = bodies(5, seed: 3)
        let disk = SimulatedFileSystem(seed: 3)
        let (writer, offsets) = try make(bodies, on: disk, syncingEach: true, preallocate: preallocate)
        let whole = try disk.contents(of: "log")
        for cut in Int(offsets[4])..<Int(writer.position) {
            // The padding behind the body carries nothing.
            let torn = disk.copy(seed: 1)
            if preallocate == 0 {
                try torn.cut("log", to: cut)
            } else {
                try torn.overwrite([UInt8](repeating: 0, count: whole.count - cut), at: cut, in: "log")
            }
            let found = try read(torn)
            #expect(found == bodies || found == bodies.dropLast(), "cut at \(cut)")
            if cut < Int(offsets[4]) + 24 + bodies[4].count, preallocate == 0 {
                #expect(found.count == 4, "cut at \(cut)")
            }
        }
    }

    @Test func B01_sectorsOutOfOrderGiveAPrefixWithAllThatWasSynced() throws {
        for seed in 0..<150 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            let bodies = bodies(30, seed: seed, upTo: 400)
            var random = SeededGenerator(seed: seed)
            var writer = try RecordLogWriter.create("log", header: Self.header, preallocate: 8192, in: disk)
            var synced = 0
            for (number, body) in bodies.enumerated() {
                try writer.append(body)
                if random.oneIn(6) {
                    try writer.synchronize()
                    synced = number + 1
                }
            }
            disk.restart()
            let found = try read(disk)
            #expect(found.count >= synced, "seed \(seed)")
            #expect(found == Array(bodies.prefix(found.count)), "seed \(seed)")
        }
    }

    @Test func B02_damageBeforeTheTailIsAnErrorThatNamesThePlace() throws {
        let bodies = bodies(4, seed: 5, upTo: 30)
        let disk = SimulatedFileSystem(seed: 5)
        let (writer, offsets) = try make(bodies, on: disk, syncingEach: true)
        _ = writer
        for (number, offset) in offsets.enumerated().dropLast() {
            for byte in 0..<24 + bodies[number].count {
                for bit in 0..<8 {
                    let damaged = disk.copy(seed: 1)
                    try damaged.flipBit(bit, ofByte: Int(offset) + byte, in: "log")
                    do {
                        _ = try read(damaged)
                        Issue.record("bit \(bit) of byte \(byte) of record \(number) was not found")
                    } catch let error as FileError {
                        #expect(error.code == .corruption && error.offset == offset && error.path == "log")
                    }
                    // Whose record it was, and what stands behind it, can still be said.
                    var reader = try RecordLogReader("log", kind: Self.kind, in: damaged)
                    for _ in 0..<number { _ = try reader.next() }
                    #expect(
                        try reader.nextItem() == .damage(offset: offset, tag: UInt64(bodies[number].count)),
                        "bit \(bit) of byte \(byte) of record \(number)")
                    #expect(try reader.next()?.body == bodies[number + 1][...])
                }
            }
        }
    }

    @Test func B02_aLostWriteBeforeTheTailIsDamage() throws {
        let bodies = bodies(4, seed: 6)
        let disk = SimulatedFileSystem(seed: 6)
        var writer = try RecordLogWriter.create("log", header: Self.header, preallocate: 4096, in: disk)
        for (number, body) in bodies.enumerated() {
            if number == 1 { disk.inject(DiskFault(.loseWrite, on: .write, nth: 1)) }
            try writer.append(body)
            try writer.synchronize()
        }
        #expect(throws: FileError.self) { try read(disk) }
    }

    @Test func B03_aLogThatEndsBeforeItsKnownEndIsDamaged() throws {
        let bodies = bodies(4, seed: 7)
        let disk = SimulatedFileSystem(seed: 7)
        let (writer, offsets) = try make(bodies, on: disk, syncingEach: false)
        #expect(try read(disk, knownEnd: writer.position) == bodies)
        // What follows the known end was never reported to anyone.
        #expect(try read(disk, knownEnd: offsets[3]) == bodies.dropLast())
        try disk.flipBit(3, ofByte: Int(offsets[3]) + 24, in: "log")
        #expect(try read(disk) == bodies.dropLast())
        #expect(throws: FileError.self) { try read(disk, knownEnd: writer.position) }
        try disk.cut("log", to: Int(offsets[2]))
        #expect(throws: FileError.self) { try read(disk, knownEnd: writer.position) }
    }

    @Test func B04_recordsOfAnEarlierLifeAreNotReplayed() throws {
        let old = bodies(20, seed: 8)
        let disk = SimulatedFileSystem(seed: 8)
        let (writer, _) = try make(old, on: disk, syncingEach: true, preallocate: 4096)
        _ = writer
        var header = Self.header
        header.fileID += 1
        header.number = 4
        var next = try RecordLogWriter.recycle("log", as: "log-4", header: header, in: disk)
        #expect(try read(disk, "log-4") == [])
        // The same lengths, so that the old records behind stand exactly where new ones would.
        for count in 1...3 {
            try next.append([UInt8](repeating: 1, count: old[count - 1].count))
            try next.synchronize()
            #expect(try read(disk, "log-4").count == count)
        }
        #expect(try disk.list("/") == ["log-4"])
    }

    @Test func aRecordLogUnderItsNameHasItsHeader() throws {
        for cut in 0..<8 {
            for seed in 0..<8 as Range<UInt64> {
                let disk = SimulatedFileSystem(seed: seed)
                disk.cutPower(afterOperations: cut)
                _ = try? RecordLogWriter.create("log", header: Self.header, preallocate: 2048, in: disk)
                disk.restart()
                if try disk.exists("log") { #expect(try read(disk) == []) }
                _ = try? disk.remove("log")
                var writer = try RecordLogWriter.create("log", header: Self.header, in: disk)
                try writer.append([1])
                #expect(try read(disk) == [[1]])
            }
        }
    }

    @Test func B06_aFailedAppendDoesNotComeBack() throws {
        for seed in 0..<40 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            var writer = try RecordLogWriter.create("log", header: Self.header, in: disk)
            try writer.append([1])
            disk.inject(DiskFault(.shortWrite, on: .write, nth: 1))
            for number in 2...9 as ClosedRange<UInt8> {
                writer.stage([UInt8](repeating: number, count: 80))
            }
            #expect(throws: FileError.self) { try writer.writeStaged() }
            #expect(throws: FileError.self) { try writer.append([3]) }
            try writer.retire()
            #expect(try read(disk, knownEnd: writer.position) == [[1]])
            #expect(try read(disk) == [[1]])
        }
    }

    @Test func B18_otherKindsAndVersionsAreRefusedByName() throws {
        let disk = SimulatedFileSystem(seed: 9)
        _ = try RecordLogWriter.create("log", header: Self.header, in: disk)
        do throws(FileError) {
            _ = try RecordLogReader("log", kind: RecordLogHeader.Kind("RAFT"), in: disk)
            Issue.record("another kind was taken")
        } catch {
            #expect(error.code == .unsupported && error.reason == "a TEST log, not a RAFT log")
        }
        var bytes = Self.header.encoded()
        bytes[8] = 3
        let checksum = CRC32C.checksum(Array(bytes.prefix(60)))
        for shift in 0..<4 { bytes[60 + shift] = UInt8(truncatingIfNeeded: checksum >> (shift * 8)) }
        try disk.overwrite(bytes, at: 0, in: "log")
        #expect(throws: FileError(.unsupported, .decode, path: "log", offset: 8, reason: "record log version 3")) {
            try read(disk)
        }
        for byte in 0..<RecordLogHeader.byteCount {
            let damaged = disk.copy(seed: 1)
            try damaged.flipBit(byte % 8, ofByte: byte, in: "log")
            #expect(throws: FileError.self) { try read(damaged) }
        }
    }

    @Test func aHostileFileGivesErrorsOrAnEndAndNeverMore() throws {
        var random = SeededGenerator(seed: 10)
        for _ in 0..<200 {
            let disk = SimulatedFileSystem(seed: 10)
            let file = try disk.create("log")
            try file.write(Self.header.encoded() + random.bytes(Int(random.next() % 500)), at: 0)
            #expect(try read(disk) == [])
        }
    }
}
