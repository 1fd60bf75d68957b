import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

@Suite struct WriteBatchTests {
    @Test func whatWasPutInComesOutAgain() throws {
        var batch = WriteBatch()
        batch.put([1, 2], Array(repeating: 9, count: 300))
        batch.delete([])
        batch.deleteRange(from: [3], to: [4])
        batch.deleteRange(from: [4], to: [4])
        var other = WriteBatch()
        other.put([5], [])
        batch.append(contentsOf: other)
        let decoded = try WriteBatch(decoding: batch.encoded[...])
        #expect(decoded == batch)
        #expect(decoded.count == 4)
        var operations: [WriteBatch.Operation] = []
        decoded.forEach { operations.append($0) }
        #expect(
            operations == [
                .put(key: [1, 2], value: ArraySlice(repeating: 9, count: 300)), .delete(key: []),
                .deleteRange(from: [3], to: [4]), .put(key: [5], value: []),
            ])
    }

    @Test func aBatchThatIsCutOrChangedGivesAnErrorOrAnotherBatchNeverACrash() throws {
        var random = SeededGenerator(seed: 1)
        var batch = WriteBatch()
        for number in 0..<6 {
            batch.put(random.bytes(number * 3), random.bytes(number * 50))
            batch.deleteRange(from: [UInt8(number)], to: [UInt8(number), 0])
        }
        let bytes = batch.encoded
        for length in 0..<bytes.count {
            #expect(throws: StorageError.self, "cut to \(length)") { try WriteBatch(decoding: bytes[..<length]) }
        }
        #expect(throws: StorageError.self) { try WriteBatch(decoding: (bytes + [0])[...]) }
        for _ in 0..<2000 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            guard let decoded = try? WriteBatch(decoding: changed[...]) else { continue }
            decoded.forEach { _ in }
            decoded.forEachBorrowed { _, _, _, _ in }
        }
    }

    @Test func aSliceOfSomethingLargerIsDecodedInPlace() throws {
        var batch = WriteBatch()
        batch.put([7], [8, 9])
        let frame = [1, 2, 3] + batch.encoded + [4]
        let decoded = try WriteBatch(decoding: frame[3..<frame.count - 1])
        #expect(decoded.encoded == batch.encoded)
        var extended = decoded
        extended.delete([1])
        #expect(try WriteBatch(decoding: extended.encodedSlice).count == 2)
    }
}

@Suite struct OrderedTreeTests {
    @Test(arguments: 1...6)
    func theTreeIsSortedWhateverItsKeysShare(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let memtable = TreeMemtable()
        var expected: [[UInt8]: [UInt64]] = [:]
        let prefixes: [[UInt8]] = [
            [], Array("collection-index-slot-and-more-than-24-bytes".utf8), [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 1],
        ]
        let isAscending = seed % 3 == 0
        for number in 0..<2500 {
            var key = prefixes.randomElement(using: &random)!
            if isAscending {
                for shift in stride(from: 24, through: 0, by: -8) { key.append(UInt8(number >> shift & 0xFF)) }
            } else {
                key += random.bytes(Int.random(in: 0...(seed % 2 == 0 ? 3 : 20), using: &random))
            }
            let version = UInt64.random(in: 1...20, using: &random)
            key.withBorrowedBytes { key in
                [UInt8(version)].withBorrowedBytes { memtable.insert(.put, key, $0, version: version) }
            }
            if !(expected[key]?.contains(version) ?? false) { expected[key, default: []].append(version) }
        }
        memtable.checkInvariants()
        let sorted = expected.keys.sorted { $0.lexicographicallyPrecedes($1) }
            .flatMap { key in expected[key]!.sorted(by: >).map { (key, $0) } }
        let iterator = memtable.makeIterator()
        try iterator.seekToFirst()
        for (key, version) in sorted {
            guard iterator.isValid, iterator.key.copied() == key, iterator.version == version else {
                Issue.record("seed \(seed): at \(key) version \(version)")
                return
            }
            try iterator.next()
        }
        #expect(!iterator.isValid)
        for _ in 0..<500 {
            let (key, _) = sorted.randomElement(using: &random)!
            let at = UInt64.random(in: 0...21, using: &random)
            let found = key.withBorrowedBytes { memtable.find($0, at: at) }
            #expect(found.entry?.version == expected[key]!.filter { $0 <= at }.max(), "seed \(seed)")
            var probe = key
            probe.append(0)
            let place = sorted.firstIndex { !$0.0.lexicographicallyPrecedes(probe) }
            try probe.withBorrowedBytes { key throws(StorageError) in try iterator.seek(to: key, .max) }
            #expect(iterator.isValid == (place != nil))
            if let place { #expect(iterator.key.copied() == sorted[place].0) }
        }
    }

    @Test func anIteratorGoesOnWhileTheTreeGrows() throws {
        let memtable = TreeMemtable()
        func put(_ number: Int) {
            [UInt8(number >> 8), UInt8(number & 0xFF)].withBorrowedBytes {
                memtable.insert(.put, $0, .empty, version: 1)
            }
        }
        for number in stride(from: 0, to: 2000, by: 2) { put(number) }
        let iterator = memtable.makeIterator()
        try iterator.seekToFirst()
        var seen = 0
        while iterator.isValid {
            let number = Int(iterator.key[0]) << 8 | Int(iterator.key[1])
            // Behind it and before it.
            put(max(0, number - 1))
            if number % 2 == 0 { seen += 1 }
            put(min(1999, number + 301))
            try iterator.next()
        }
        #expect(seen == 1000)
        memtable.checkInvariants()
    }

    @Test func anEmptyMemtableTakesNoMemoryAndASmallOneLittle() {
        let memtable = TreeMemtable()
        #expect(memtable.reservedBytes == 0)
        [1].withBorrowedBytes { memtable.insert(.put, $0, .empty, version: 1) }
        #expect(memtable.reservedBytes == 64 << 10)
    }
}

@Suite struct BlockTests {
    /// Builds a block of random entries and looks for each of them, and for what is between.
    @Test(arguments: 1...40)
    func B28_whatABlockHoldsIsFoundAndNothingElse(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var keys: Set<[UInt8]> = []
        for _ in 0..<Int.random(in: 1...60, using: &random) {
            let stem = [[], [1, 2, 3], [1, 2, 3, 4, 5, 6]].randomElement(using: &random)! as [UInt8]
            keys.insert(stem + random.bytes(Int.random(in: 0...3, using: &random)).map { $0 & 3 })
        }
        var entries: [(key: [UInt8], version: UInt64, value: [UInt8])] = []
        for key in keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            for version in Set(
                (0..<Int.random(in: 1...4, using: &random)).map { _ in UInt64.random(in: 1...9, using: &random) }
            )
            .sorted(by: >) {
                entries.append((key, version, random.bytes(Int.random(in: 0...200, using: &random))))
            }
        }
        var builder = BlockBuilder(restartInterval: [1, 2, 3, 8, 100].randomElement(using: &random)!)
        for entry in entries {
            entry.key.withBorrowedBytes { key in
                entry.value.withBorrowedBytes { builder.add(key, entry.version, .put, $0) }
            }
        }
        builder.finish()
        let block = builder.bytes[...]
        let iterator = BlockIterator()
        try iterator.reset(block, path: "b", offset: 0)
        try iterator.seekToFirst()
        for entry in entries {
            #expect(iterator.isValid && iterator.key.copied() == entry.key && iterator.version == entry.version)
            #expect(Array(iterator.value()) == entry.value)
            try iterator.next()
        }
        #expect(!iterator.isValid)
        try iterator.seekToLast()
        for entry in entries.reversed() {
            #expect(iterator.isValid && iterator.key.copied() == entry.key && iterator.version == entry.version)
            try iterator.previous()
        }
        #expect(!iterator.isValid)
        for _ in 0..<200 {
            var target = entries.randomElement(using: &random)!.key
            if random.oneIn(2) { target = random.bytes(Int.random(in: 0...7, using: &random)).map { $0 & 7 } }
            let version = UInt64.random(in: 0...10, using: &random)
            let expected = entries.first { entry in
                target.lexicographicallyPrecedes(entry.key) || (entry.key == target && entry.version <= version)
            }
            try target.withBorrowedBytes { target throws(StorageError) in try iterator.seek(to: target, version) }
            #expect(iterator.isValid == (expected != nil))
            if let expected { #expect(iterator.key.copied() == expected.key && iterator.version == expected.version) }
            block.withBorrowedBytes { bytes in
                target.withBorrowedBytes { key in
                    switch BlockView(bytes)!.search(key, version) {
                    case .found(let entry, let isKey):
                        #expect(
                            entry.version == expected?.version && isKey == (expected?.key == target), "seed \(seed)")
                    case .behind: #expect(expected == nil, "seed \(seed)")
                    case .malformed: Issue.record("seed \(seed): malformed")
                    }
                }
            }
        }
    }

    @Test func aBlockOfRandomBytesGivesAnErrorNeverAnOverRead() throws {
        var random = SeededGenerator(seed: 9)
        for _ in 0..<3000 {
            var bytes = random.bytes(Int.random(in: 0...80, using: &random))
            if bytes.count >= 8, random.oneIn(2) {
                bytes.replaceSubrange(bytes.count - 4..<bytes.count, with: [1, 0, 0, 0])
            }
            let iterator = BlockIterator()
            guard (try? iterator.reset(bytes[...], path: "b", offset: 0)) != nil else { continue }
            do throws(StorageError) {
                try iterator.seekToFirst()
                var steps = 0
                while iterator.isValid, steps < 100 {
                    steps += 1
                    try iterator.next()
                }
                try iterator.seekToLast()
                if iterator.isValid { try iterator.previous() }
            } catch { #expect(error.code == .corruption) }
            bytes.withBorrowedBytes { view in
                [1, 2, 3].withBorrowedBytes { if let block = BlockView(view) { _ = block.search($0, 5) } }
            }
        }
    }
}

@Suite struct BloomFilterTests {
    /// 10 bits a key in the deeper levels, 20 in level 0.
    @Test(arguments: [(10, 0.01), (20, 0.0015)])
    func B25_noKeyIsEverDeniedAndFewForeignKeysPass(bitsPerKey: Int, rateMax: Double) throws {
        var random = SeededGenerator(seed: 25)
        let count = EngineCrashTests.volume(debug: 20_000, release: 1_000_000)
        var keys: [[UInt8]] = [[], [0], [0, 0], Array(repeating: 1, count: 8), Array(repeating: 1, count: 9)]
        while keys.count < count {
            // Half random, half counting up, as object ids do.
            let number = UInt64(keys.count)
            keys.append(
                number % 2 == 0
                    ? random.bytes(16)
                    : Array("key-".utf8) + (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) })
        }
        let hashes = keys.map { $0.withBorrowedBytes { BloomFilter.hash($0) } }
        let filter = try BloomFilter(
            decoding: BloomFilter.encoded(hashes, bitsPerKey: bitsPerKey)[...], path: "f", offset: 0)
        for hash in hashes {
            guard filter.mayContain(hash) else {
                Issue.record("a key denied")
                return
            }
        }
        var passed = 0
        let probes = 500_000
        for number in 0..<probes {
            let foreign =
                number % 2 == 0
                ? random.bytes(15)
                : Array("kez-".utf8) + (0..<8).map { UInt8(truncatingIfNeeded: UInt64(number) >> (56 - 8 * $0)) }
            if filter.mayContain(foreign.withBorrowedBytes { BloomFilter.hash($0) }) { passed += 1 }
        }
        let rate = Double(passed) / Double(probes)
        print("bloom filter, \(bitsPerKey) bits a key: \(rate * 100) % pass in vain")
        #expect(rate <= rateMax)
    }

    @Test func B25_aDamagedFilterIsAnError() {
        let bytes = BloomFilter.encoded([1, 2, 3], bitsPerKey: 10)
        #expect(throws: StorageError.self) { try BloomFilter(decoding: bytes.dropLast(), path: "f", offset: 0) }
        #expect(throws: StorageError.self) {
            try BloomFilter(decoding: [0, 0, 0, 0, 6, 0, 0, 0], path: "f", offset: 0)
        }
        #expect(throws: StorageError.self) { try BloomFilter(decoding: [], path: "f", offset: 0) }
    }
}

@Suite struct RangeTombstonesTests {
    @Test(arguments: 1...20)
    func piecesCoverWhatTheWholesDid(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let all = (0..<12).map { number in
            let from = UInt8.random(in: 0..<40, using: &random)
            return RangeTombstone(
                from: [from], to: [from + UInt8.random(in: 1...20, using: &random)], version: UInt64(number % 8 + 1))
        }
        let pieces = RangeTombstones(all)
        for (left, right) in zip(pieces.fragments, pieces.fragments.dropFirst()) {
            #expect(!isOrderedBefore(right.from, left.to))
        }
        for byte in 0..<62 as Range<UInt8> {
            for version in 0...9 as ClosedRange<UInt64> {
                let covering = all.filter { $0.from[0] <= byte && byte < $0.to[0] }.map(\.version)
                [byte].withBorrowedBytes { key in
                    #expect(pieces.newest(over: key, at: version) == covering.filter { $0 <= version }.max() ?? 0)
                    #expect(pieces.oldest(over: key, after: version) == covering.filter { $0 > version }.min())
                }
            }
        }
    }
}

@Suite struct BlockCacheTests {
    @Test func B27_theCacheKeepsToItsBytesAndTellsTablesApart() {
        let cache = BlockCache(capacityBytes: 1 << 20)
        let (one, other) = (cache.makeTableNumber(), cache.makeTableNumber())
        #expect(one != other)
        for number in 0..<2000 as Range<UInt64> {
            cache.insert(ArraySlice(repeating: 1, count: 4096), BlockCache.Key(table: one, offset: number * 4096))
            #expect(cache.usedBytes <= 1 << 20)
        }
        cache.insert([7], BlockCache.Key(table: one, offset: 1))
        #expect(cache.block(BlockCache.Key(table: one, offset: 1)) == [7])
        #expect(cache.block(BlockCache.Key(table: other, offset: 1)) == nil)
        cache.pin(1 << 20)
        cache.insert([8], BlockCache.Key(table: other, offset: 1))
        #expect(cache.block(BlockCache.Key(table: other, offset: 1)) == nil)
        cache.pin(-(1 << 20))
    }
}

@Suite struct RateLimitTests {
    @Test func bytesTakeAsLongAsTheRateSaysAndIdleTimeIsNotSavedUp() {
        var pacer = Pacer(bytesPerSecond: 1000)
        let start = SuspendingClock().now
        #expect(pacer.wait(after: 500, at: start) == .milliseconds(500))
        // Whoever comes early waits for those before as well.
        #expect(pacer.wait(after: 500, at: start + .milliseconds(100)) == .milliseconds(900))
        #expect(pacer.wait(after: 100, at: start + .seconds(60)) == .milliseconds(100))
    }

    @Test func compactionsKeepToTheRateAndFlushesDoNot() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.compression = .none
        options.compactionRate = RateLimit(bytesPerSecond: 200_000)
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        for number in 0..<40 {
            var batch = WriteBatch()
            batch.put([UInt8(number)], [UInt8](repeating: UInt8(number), count: 1000))
            try engine.write(batch)
        }
        let clock = SuspendingClock()
        try engine.flush()
        var written: UInt64 = 0
        let time = try clock.measure {
            try engine.compactRange()
            written = engine.statistics.compactionWrittenBytes
        }
        #expect(written > 40_000)
        #expect(time > .seconds(Double(written) / 200_000) * 0.9)
        try engine.close()
    }
}
