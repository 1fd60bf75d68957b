import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Files under good checksums that no engine writes: each is an error, never a trap, an endless loop or a lot of memory.
@Suite struct HostileFileTests {
    private func isCorruption(_ error: any Error) -> Bool { (error as? StorageError)?.code == .corruption }

    /// Puts a manifest of this one state into the place of the engine's.
    private func rewriteManifest(_ disk: SimulatedFileSystem, _ change: (inout ManifestState) -> Void) throws {
        var (state, number) = try #require(try Manifest.read(in: "/e", fileSystem: disk))
        change(&state)
        let path = FileName.manifest(number).path(in: "/e")
        try disk.remove(path)
        let header = RecordLogHeader(kind: Manifest.kind, number: number, fileID: disk.makeFileID())
        var writer = try RecordLogWriter.create(path, header: header, in: disk)
        try writer.append(state.snapshot.encoded())
        try writer.close()
    }

    private func open(_ disk: SimulatedFileSystem) throws -> Engine {
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        return try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
    }

    /// An engine with several tables in level 1, closed.
    private func filled() throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        let engine = try EngineFaultTests.filled(disk, options, count: 200)
        try engine.compactRange()
        #expect(engine.statistics.levels[1].tables > 2)
        try engine.close()
        return disk
    }

    @Test func blocksBeyondEveryFileAreRefused() throws {
        for handle in [
            BlockHandle(offset: .max, byteCount: .max), BlockHandle(offset: .max - 1, byteCount: 2),
            BlockHandle(offset: 0, byteCount: .max), BlockHandle(offset: 1000, byteCount: 1),
        ] {
            var footer = TableFooter(fileID: 7)
            footer.index = handle
            let bytes = footer.encoded(at: 1000)
            #expect(throws: StorageError.self) { try TableFooter(decoding: bytes, at: 1000, fileID: 7, path: "t") }
        }
        #expect(BlockHandle(offset: 999, byteCount: 1).ends(by: 1000))
    }

    @Test func restartsInNoOrderDoNotHoldAnIteratorForEver() throws {
        var builder = BlockBuilder(restartInterval: 1)
        for key in 1...3 as ClosedRange<UInt8> {
            [key].withBorrowedBytes { builder.add($0, 1, .put, $0) }
        }
        builder.finish()
        var bytes = builder.bytes
        let last = Array(bytes[bytes.count - 8..<bytes.count - 4])
        bytes.replaceSubrange(bytes.count - 16..<bytes.count - 4, with: last + last + last)
        let iterator = BlockIterator()
        try iterator.reset(bytes[...], path: "b", offset: 5)
        try iterator.seekToLast()
        #expect(iterator.key.copied() == [3])
        #expect { try iterator.previous() } throws: { isCorruption($0) && ($0 as? StorageError)?.offset == 5 }
    }

    @Test func aManifestWhoseTablesOverlapOrStandTwiceIsRefused() throws {
        let disk = try filled()
        for change in [
            { $0.levels[2].append($0.levels[1][0]) },
            { $0.levels[1][0].range.largest = $0.levels[1][1].range.largest },
        ] as [(inout ManifestState) -> Void] {
            let copy = disk.copy(seed: 1)
            try rewriteManifest(copy, change)
            #expect { try open(copy) } throws: { isCorruption($0) && ($0 as? StorageError)?.file != nil }
        }
    }

    @Test func countsThatOverflowAreRefused() throws {
        let disk = try filled()
        for change in [
            { $0.levels[1][0].deletions = .max }, { $0.levels[1][0].entries = .max }, { $0.levels[1][0].number = .max },
            { $0.nextFileNumber = .max }, { $0.logNumber = .max }, { $0.flushedSequence = .max },
        ] as [(inout ManifestState) -> Void] {
            let copy = disk.copy(seed: 1)
            try rewriteManifest(copy, change)
            #expect { try open(copy) } throws: { isCorruption($0) }
        }
    }

    @Test func aFileWithAnImpossibleNumberIsNotOurs() throws {
        let disk = try filled()
        try disk.create("/e/\(UInt64.max).sst").close()
        try disk.create("/e/\(UInt64.max).wal").close()
        try open(disk).close()
        #expect(try disk.exists("/e/\(UInt64.max).wal"))
    }

    @Test func aCompactionOfATableWithKeysBeyondItsRangeFailsWhole() throws {
        let disk = try filled()
        try rewriteManifest(disk) { state in
            let table = state.levels[1].remove(at: 1)
            state.levels[0] = [table]
            state.levels[0][0].range.largest = table.range.smallest
            // So that it is rewritten and does not only move.
            state.levels[0][0].deletions = table.entries
        }
        let engine = try open(disk)
        #expect { try engine.compactRange() } throws: { isCorruption($0) }
        #expect(engine.statistics.levels[0].tables == 1)
        try engine.close()
    }
}
