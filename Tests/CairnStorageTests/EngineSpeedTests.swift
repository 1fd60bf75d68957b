import CairnFiles
import CairnTestSupport
import Testing

@testable import CairnStorage

#if canImport(Glibc)
    import Glibc
#endif

/// Prints what operations cost: `CAIRN_BENCH=1 swift test -c release --filter EngineSpeedTests`.
@Suite(.serialized, .enabled(if: getenv("CAIRN_BENCH") != nil)) struct EngineSpeedTests {
    /// CPU time of this thread, which a busy machine does not stretch as it does the time of day.
    static func nanoseconds(_ body: () throws -> Void) rethrows -> Double {
        func now() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
        }
        let start = now()
        try body()
        return now() - start
    }

    /// Keys as Cairn's: collection, index, slot, type byte, object id.
    static func key(_ number: UInt64) -> [UInt8] {
        let mixed = number &* 0x9E37_79B9_7F4A_7C15
        var key: [UInt8] = [0, 0, 0, 9, 0, 0, UInt8(mixed >> 58), UInt8(mixed >> 50 & 0xFF), 7, 0x66, 0x12, 0x34, 0x56]
        for shift in stride(from: 56 as UInt64, through: 0, by: -8) { key.append(UInt8(number >> shift & 0xFF)) }
        return key
    }

    static func temporaryDirectory() -> String { "/tmp/cairn-bench-\(getpid())" }

    @Test func speeds() throws {
        let fileSystem = PosixFileSystem()
        let directory = Self.temporaryDirectory()
        defer { try? fileSystem.removeTree(directory) }
        var options = EngineOptions()
        options.memtableBytesMax = 256 << 20
        options.blockCache = BlockCache(capacityBytes: 512 << 20)
        options.disablesAutomaticCompaction = true
        let background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        let engine = try Engine.open(
            directory: directory, fileSystem: fileSystem, options: options, background: background)
        // Ten string fields, as compressible as text is.
        var random = SeededGenerator(seed: 1)
        let words = (0..<400).map { _ in random.bytes(5).map { 97 + $0 % 26 } }
        var values: [[UInt8]] = []
        for _ in 0..<64 {
            var value: [UInt8] = []
            while value.count < 1024 { value += words.randomElement(using: &random)! + [32] }
            values.append(Array(value.prefix(1024)))
        }
        let count: UInt64 = 100_000
        var batches: [WriteBatch] = []
        for start in stride(from: 0, to: count, by: 1000) {
            var batch = WriteBatch()
            batch.reserveCapacity(1_100_000)
            for number in start..<start + 1000 { batch.put(Self.key(number), values[Int(number % 64)]) }
            batches.append(batch)
        }
        var version: UInt64 = 0
        let puts = try Self.nanoseconds {
            for batch in batches {
                version += 1
                try engine.apply(batch, at: Version(version), mark: version)
            }
        }
        print("put of 1 KiB, 1000 a batch, with log: \(Int(puts / Double(count))) ns")
        let keys = (0..<200_000).map { _ in Self.key(UInt64.random(in: 0..<count, using: &random)) }
        var found = 0
        var gets = try Self.nanoseconds { for key in keys where try engine.get(key) != nil { found += 1 } }
        #expect(found == keys.count)
        print("get from memtable of \(count): \(Int(gets / Double(keys.count))) ns")
        var bytes = 0
        var scan = try Self.nanoseconds {
            let iterator = try engine.makeIterator()
            try iterator.seekToFirst()
            while iterator.isValid {
                bytes += iterator.value.count
                try iterator.next()
            }
        }
        print("scan of memtable: \(Int(scan / Double(count))) ns an entry")
        let flush = try Self.nanoseconds { try engine.flush() }
        print("flush: \(Int(Double(count) * 1045 / 1e6 / (flush / 1e9))) MB/s of input")
        for key in keys { _ = try engine.get(key) }
        gets = try Self.nanoseconds { for key in keys where try engine.get(key) != nil { found += 1 } }
        print("get from cached block: \(Int(gets / Double(keys.count))) ns")
        scan = try Self.nanoseconds {
            let iterator = try engine.makeIterator()
            try iterator.seekToFirst()
            while iterator.isValid {
                bytes += iterator.value.count
                try iterator.next()
            }
        }
        print("scan of cached table: \(Int(scan / Double(count))) ns an entry")
        let missing = keys.map { $0 + [1] }
        gets = try Self.nanoseconds { for key in missing where try engine.get(key) != nil { found += 1 } }
        print("get of a missing key: \(Int(gets / Double(keys.count))) ns")
        let compact = try Self.nanoseconds {
            for batch in batches {
                version += 1
                try engine.apply(batch, at: Version(version), mark: version)
            }
            try engine.flush()
        }
        print("put and flush again: \(Int(compact / Double(count))) ns an entry")
        engine.setHistoryHorizon(engine.lastVersion)
        let merge = try Self.nanoseconds { try engine.compactRange() }
        print("compaction: \(Int(2 * Double(count) * 1045 / 1e6 / (merge / 1e9))) MB/s of input")
        let clock = ContinuousClock()
        let start = clock.now
        _ = try Self.nanoseconds {
            for _ in 0..<200 {
                version += 1
                var batch = WriteBatch()
                batch.put(Self.key(version), values[0])
                try engine.apply(batch, at: Version(version), mark: version, durability: .synced)
            }
        }
        print("synced put: \((clock.now - start) / 200)")
        try engine.close()
    }
}
