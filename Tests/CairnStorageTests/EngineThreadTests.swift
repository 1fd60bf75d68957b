import CairnFiles
import CairnSimulator
import CairnTestSupport
import Synchronization
import Testing

@testable import CairnStorage

/// Several threads on one engine, with real background threads.
@Suite struct EngineThreadTests {
    private final class Flag: Sendable {
        let isSet = Atomic<Bool>(false)
    }

    private final class Turn: Sendable {
        let last = Mutex<UInt64>(0)
    }

    @Test func B26_readersAndWritersOnSeveralThreadsSeeWholeBatches() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.memtableBytesMax = 16 << 10
        options.tableBytesMax = 16 << 10
        let background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        let engine = try Engine.open(directory: "/e", fileSystem: disk, options: options, background: background)
        let done = Flag()
        let rounds = EngineCrashTests.volume(debug: 400, release: 4000)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for round in 1...rounds {
                    // Every batch gives all keys the same value.
                    var batch = WriteBatch()
                    for key in 0..<20 as Range<UInt8> {
                        batch.put([key], Array(repeating: UInt8(round & 0xFF), count: 50))
                    }
                    try engine.apply(
                        batch, at: Version(UInt64(round)), mark: UInt64(round),
                        durability: round % 50 == 0 ? .synced : .buffered)
                    if round % 20 == 0, round > 40 { engine.setHistoryHorizon(Version(UInt64(round - 40))) }
                    if round % 8 == 0 { await Task.yield() }
                }
                done.isSet.store(true, ordering: .releasing)
            }
            for reader in 0..<2 {
                group.addTask {
                    var last: UInt64 = 0
                    while !done.isSet.load(ordering: .acquiring) {
                        let mark = engine.mark
                        #expect(mark >= last)
                        last = mark
                        guard mark > 0 else { continue }
                        let iterator = try engine.makeIterator()
                        var values: Set<UInt8> = []
                        var count = 0
                        if reader == 0 {
                            try iterator.seekToFirst()
                            while iterator.isValid {
                                values.insert(iterator.value.first!)
                                count += 1
                                try iterator.next()
                            }
                        } else {
                            try iterator.seekToLast()
                            while iterator.isValid {
                                values.insert(iterator.value.first!)
                                count += 1
                                try iterator.previous()
                            }
                        }
                        #expect(count == 20 && values.count == 1, "\(count) keys, values \(values)")
                        #expect(try engine.get([3]) != nil)
                        await Task.yield()
                    }
                }
            }
            try await group.waitForAll()
        }
        try engine.flush()
        #expect(engine.durableMark == UInt64(rounds))
        try engine.verify()
        try engine.close()
        background.shutDown()
    }

    @Test func syncedWritersShareTheirSyncs() async throws {
        let disk = SimulatedFileSystem(seed: 1)
        let background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: EngineOptions(), background: background)
        let turns = Turn()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<4 as Range<UInt8> {
                group.addTask {
                    for round in 0..<50 as Range<UInt8> {
                        var batch = WriteBatch()
                        batch.put([writer, round], [round])
                        // The version is drawn and the batch applied in one turn; the wait for the disk is not in it.
                        let mark = try turns.last.withLock { turn -> UInt64 in
                            turn += 1
                            try engine.apply(batch, at: Version(turn), mark: turn)
                            return turn
                        }
                        try engine.synchronizeLog(through: mark)
                        #expect(engine.durableMark >= mark)
                    }
                }
            }
            try await group.waitForAll()
        }
        disk.cutPower()
        disk.restart()
        let again = try Engine.open(
            directory: "/e", fileSystem: disk, options: EngineOptions(), background: background)
        #expect(again.mark == 200)
        try again.close()
        background.shutDown()
    }
}
