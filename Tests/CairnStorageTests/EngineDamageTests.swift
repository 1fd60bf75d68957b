import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Bytes that are not what was written, in every place, and disks that lie about what they wrote.
@Suite struct EngineDamageTests {
    private func open(_ disk: SimulatedFileSystem, _ options: EngineOptions = EngineOptions()) throws -> Engine {
        try Engine.open(directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
    }

    @Test func B02_everyFlippedBitOfASyncedRecordThatOthersFollowIsAnError() throws {
        let disk = SimulatedFileSystem(seed: 2)
        let engine = try open(disk)
        for number in 1...3 as ClosedRange<UInt64> {
            var batch = WriteBatch()
            batch.put([UInt8(number)], Array(repeating: UInt8(number), count: 9))
            // Without a reserve of zeros behind, which would only cost time.
            try engine.apply(batch, at: Version(number), mark: number)
            let point = engine.writer.withLock { $0.log.syncPoint }
            for file in point.files { try file.synchronizeData() }
            engine.writer.withLock { $0.log.noteSynced(point) }
        }
        disk.killProcess()
        let path = try #require(try EngineFaultTests.files(disk, ".wal").first)
        var reader = try RecordLogReader(path, kind: WriteAheadLog.kind, in: disk)
        var frames: [(start: Int, bytes: Int, body: Int)] = []
        while let record = try reader.next() {
            frames.append((Int(record.offset), Int(record.end - record.offset), record.body.count))
        }
        #expect(frames.count == 3)
        for (start, _, body) in frames.dropLast() {
            for bit in 0..<(24 + body) * 8 {
                let copy = disk.copy(seed: 1)
                try copy.flipBit(bit % 8, ofByte: start + bit / 8, in: path)
                do throws(StorageError) {
                    _ = try Engine.open(
                        directory: "/e", fileSystem: copy, options: EngineOptions(),
                        background: ManualBackgroundExecutor())
                    Issue.record("bit \(bit) of the record at \(start) was not noticed")
                } catch {
                    #expect(error.code == .corruption && error.file == path, "bit \(bit) at \(start): \(error)")
                    #expect(error.offset == UInt64(start), "bit \(bit): \(error)")
                }
            }
        }
    }

    /// Which writes of a table the disk only claims to have done, or does elsewhere.
    @Test(arguments: [DiskFault.Effect.loseWrite, .misdirectWrite])
    func B28_aTableThatTheDiskLostOrMisplacedIsFoundAndNeverAnswersNotFound(effect: DiskFault.Effect) throws {
        var found = 0
        for seed in 1...12 as ClosedRange<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            var options = EngineOptions.tiny
            options.blockCache = BlockCache(capacityBytes: 0)
            options.wal = seed % 2 == 0 ? .disabled : .enabled
            options.disablesAutomaticCompaction = true
            let engine = try open(disk, options)
            disk.inject(DiskFault(effect, on: .write, pathContains: ".sst", nth: 1))
            for number in 1...20 {
                var batch = WriteBatch()
                batch.put(EngineFaultTests.key(number), Array(repeating: UInt8(number), count: 90))
                try engine.apply(batch, at: Version(UInt64(number)), mark: UInt64(number))
            }
            try engine.flush()
            // One more table above it, so that a compaction has to read both.
            var batch = WriteBatch()
            batch.put(EngineFaultTests.key(5), Array(repeating: 5, count: 90))
            try engine.apply(batch, at: Version(21), mark: 21)
            try engine.flush()
            var isFound = false
            do throws(StorageError) { try engine.verify() } catch {
                isFound = true
                #expect(error.code == .corruption && error.file?.hasSuffix(".sst") == true && error.offset != nil)
            }
            for number in 1...20 {
                do throws(StorageError) {
                    let value = try engine.get(EngineFaultTests.key(number))
                    #expect(value == ArraySlice(repeating: UInt8(number), count: 90), "seed \(seed), key \(number)")
                } catch { #expect(isFound && error.code == .corruption) }
            }
            if isFound {
                found += 1
                #expect(throws: StorageError.self) { try engine.compactRange() }
                #expect(engine.statistics.levels[0].tables == 2, "the inputs stay")
            }
            try engine.close()
        }
        // By chance some writes go astray to where they belong.
        if case .loseWrite = effect { #expect(found == 12) } else { #expect(found >= 8) }
    }

    @Test func B28_blocksOfATableThatChangedPlacesAreBadBlocks() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions()
        options.blockBytes = 256
        options.uncompressedLevels = 1
        options.blockCache = BlockCache(capacityBytes: 0)
        try EngineFaultTests.filled(disk, options, count: 60).close()
        let path = try EngineFaultTests.files(disk, ".sst")[0]
        let bytes = try disk.contents(of: path)
        let size = bytes.count
        let footer = try TableFooter(
            decoding: Array(bytes.suffix(TableFooter.byteCount)), at: UInt64(size - TableFooter.byteCount),
            fileID: bytes[...].loadUInt64(at: size - TableFooter.byteCount), path: path)
        var index: [BlockHandle] = []
        let iterator = BlockIterator()
        let stored = bytes[Int(footer.index.offset)...].prefix(Int(footer.index.byteCount))
        try iterator.reset(
            try BlockCodec().decode(stored, fileID: footer.fileID, offset: footer.index.offset, path: path),
            path: path, offset: 0)
        try iterator.seekToFirst()
        while iterator.isValid {
            index.append(try #require(TableReader.handle(iterator.lentValue)))
            try iterator.next()
        }
        // Two of one size, each good by itself.
        let pairs = index.indices.flatMap { one in index.indices.dropFirst(one + 1).map { (index[one], index[$0]) } }
        let pair = try #require(pairs.first { $0.0.byteCount == $0.1.byteCount })
        for (from, to) in [pair, (pair.1, pair.0)] {
            let piece = Array(bytes[Int(from.offset)...].prefix(Int(from.byteCount)))
            try disk.overwrite(piece, at: Int(to.offset), in: path)
        }
        let engine = try open(disk, options)
        #expect { try engine.verify() } throws: { error in
            let error = error as? StorageError
            return error?.code == .corruption && error?.file == path
                && error?.offset == min(pair.0.offset, pair.1.offset)
        }
        var refused = 0
        for number in 1...60 {
            do throws(StorageError) {
                #expect(try engine.get(EngineFaultTests.key(number))?.first == UInt8(number), "key \(number)")
            } catch { refused += 1 }
        }
        #expect(refused > 0)
        try engine.close()
    }
}
