import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@Suite struct SimulatedDiskTests {
    @Test func B10_unsyncedNamesVanishAndSyncedOnesStay() throws {
        var kept = 0
        for seed in 0..<64 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            try disk.createDirectory("d")
            let safe = try disk.create("d/safe")
            try safe.write([1], at: 0)
            try safe.synchronizeData()
            try disk.synchronizeDirectory("d")
            let risky = try disk.create("d/risky")
            try risky.write([2], at: 0)
            try risky.synchronizeData()
            try disk.rename("d/safe", to: "d/renamed")
            disk.restart()
            let names = try disk.list("d")
            // A rename is one change: the file is there under one of its names, or under neither's loss.
            #expect(names.contains("safe") != names.contains("renamed"), "seed \(seed): \(names)")
            if names.contains("risky") {
                kept += 1
                #expect(try disk.contents(of: "d/risky") == [2])
            }
        }
        #expect(kept > 10 && kept < 54)
    }

    @Test func D1_syncedBytesStayAndUnsyncedSectorsAreTossed() throws {
        var mixed = 0
        for seed in 0..<64 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            let file = try disk.create("f")
            try file.write([UInt8](repeating: 1, count: 4096), at: 0)
            try file.synchronizeData()
            try disk.synchronizeDirectory("/")
            try file.write([UInt8](repeating: 2, count: 4096), at: 512)
            disk.restart()
            #expect(throws: FileError.self) { try file.write([0], at: 0) }
            let bytes = try disk.contents(of: "f")
            #expect(bytes.count == 4096 || bytes.count == 4608)
            #expect(bytes.prefix(512).allSatisfy { $0 == 1 })
            let sectors = stride(from: 512, to: 4096, by: 512).map { bytes[$0] }
            for start in stride(from: 512, to: 4096, by: 512) {
                #expect(bytes[start..<start + 512].allSatisfy { $0 == bytes[start] }, "seed \(seed)")
            }
            if sectors.contains(1), sectors.contains(2) { mixed += 1 }
        }
        #expect(mixed > 20)
    }

    @Test func thePowerGoesAfterTheGivenOperation() throws {
        let disk = SimulatedFileSystem(seed: 3)
        disk.cutPower(afterOperations: 2)
        let file = try disk.create("f")
        try file.write([1], at: 0)
        do throws(FileError) {
            try file.synchronizeData()
            Issue.record("the power is off")
        } catch {
            #expect(error.isPowerCut)
        }
        #expect(disk.isPowerOff)
        #expect(throws: FileError.self) { try disk.list("/") }
        disk.restart()
        _ = try disk.list("/")
    }

    @Test func D2_aFailedSyncLosesItsBytesThoughTheNextSucceeds() throws {
        var lost = 0
        for seed in 0..<32 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            let file = try disk.create("f", preallocate: 512)
            try file.synchronizeData()
            try disk.synchronizeDirectory("/")
            disk.inject(DiskFault(.error(.io), on: .synchronize, nth: 1))
            try file.write([1], at: 0)
            #expect(throws: FileError.self) { try file.synchronizeData() }
            try file.synchronizeData()
            disk.restart()
            if try disk.contents(of: "f")[0] == 0 { lost += 1 }
        }
        #expect(lost > 4)
    }

    @Test func D4_D5_D8_faultsHitWhatTheyName() throws {
        let disk = SimulatedFileSystem(seed: 4)
        let file = try disk.create("a.wal")
        let other = try disk.create("b.sst")
        disk.inject(DiskFault(.shortWrite, on: .write, pathContains: ".wal", nth: 2))
        try file.write([1], at: 0)
        try other.write([1], at: 0)
        #expect(throws: FileError.self) { try file.write([UInt8](repeating: 2, count: 100), at: 1) }
        try file.write([3], at: 1)
        #expect(try disk.contents(of: "a.wal").count < 101)
        disk.removeFaults()
        disk.inject(DiskFault(.loseWrite, on: .write))
        try other.write([7], at: 0)
        #expect(try disk.contents(of: "b.sst") == [1])
        disk.removeFaults()
        disk.setCapacity(200)
        do throws(FileError) {
            try other.write([UInt8](repeating: 0, count: 300), at: 0)
            Issue.record("no room for this")
        } catch {
            #expect(error.code == .outOfSpace)
        }
    }

    @Test func theSameSeedGivesTheSameEnd() throws {
        func end(_ seed: UInt64) throws -> [[UInt8]] {
            let disk = SimulatedFileSystem(seed: seed)
            var random = SeededGenerator(seed: seed)
            for number in 0..<10 {
                let file = try disk.create("f\(number)")
                try file.write(random.bytes(2000), at: 0)
                if number % 3 == 0 { try file.synchronizeData() }
            }
            disk.restart()
            return try disk.list("/").map { Array($0.utf8) + (try disk.contents(of: $0)) }
        }
        #expect(try end(5) == end(5))
        #expect(try end(5) != end(6))
    }
}
