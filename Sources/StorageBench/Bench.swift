import CairnFiles
import CairnStorage
import Foundation
import Synchronization

/// What can be measured; the names are `db_bench`'s.
enum Workload: String, CaseIterable {
    case fillseq, fillrandom, overwrite, fillsync, readrandom, readmissing, readseq, seekrandom, readwhilewriting
    /// Not measured: returns once flushes and compactions have nothing left to do.
    case settle
}

struct Row {
    var workload: Workload
    var operations: Int
    var found: Int
    var seconds: Double

    var json: String {
        let rate = Int(Double(operations) / max(seconds, 1e-9))
        return """
            {"workload": "\(workload.rawValue)", "operations": \(operations), "found": \(found), \
            "seconds": \(seconds), "operationsPerSecond": \(rate)}
            """
    }
}

/// An engine with `db_bench`'s options, and the loops that load it.
final class Bench: Sendable {
    private let engine: Engine
    private let background: ThreadBackgroundExecutor
    private let keys: Int
    private let valueBytes: Int
    private let operations: Int
    private let threads: Int
    private let seed: UInt64
    /// Of the writer beside readers.
    private let writeBytesPerSecond: Double

    init(
        directory: String, keys: Int, valueBytes: Int, operations: Int, threads: Int, seed: UInt64,
        writeBytesPerSecond: Double, isEncrypted: Bool
    ) throws {
        var keyring: Keyring?
        if isEncrypted {
            let plain = PosixFileSystem()
            try plain.createDirectory(directory)
            // The key is kept beside the data because nothing here is secret: only the cost is measured.
            let master = directory + "/master"
            if try !plain.exists(master) { try plain.replace(master, with: Array(MasterKey.generate().utf8)) }
            keyring = try Keyring.open(
                directory + "/keyring", master: MasterKey(try plain.contents(of: master), source: master), in: plain)
        }
        var options = EngineOptions()
        options.history = .latest
        options.walCompression = .snappy
        options.memtableBytesMax = 64 << 20
        options.blockBytes = 4 << 10
        options.bloomBitsPerKey = 10
        options.compression = .snappy
        options.uncompressedLevels = 0
        options.level0BloomBitsPerKey = 10
        options.level0Trigger = 4
        options.restartInterval = 16
        options.tableBytesMax = 64 << 20
        options.blockCache = BlockCache(capacityBytes: 128 << 20)
        background = ThreadBackgroundExecutor(flushThreads: 1, compactionThreads: 1)
        engine = try Engine.open(
            directory: directory, fileSystem: PosixFileSystem(keyring: keyring), options: options,
            background: background)
        self.keys = keys
        self.valueBytes = valueBytes
        self.operations = operations
        self.threads = threads
        self.seed = seed
        self.writeBytesPerSecond = writeBytesPerSecond
    }

    func close() throws {
        try engine.close()
        background.shutDown()
    }

    /// What the engine has done so far, as a line of JSON.
    var statistics: String {
        let found = engine.statistics
        let levels = found.levels.map { "{\"tables\": \($0.tables), \"bytes\": \($0.bytes)}" }
        return """
            {"levels": [\(levels.joined(separator: ", "))], "userBytes": \(found.userBytes), \
            "walBytes": \(found.walBytes), "flushes": \(found.flushes), "flushedBytes": \(found.flushedBytes), \
            "flushSeconds": \(found.flushTime.seconds), "compactions": \(found.compactions), \
            "compactionReadBytes": \(found.compactionReadBytes), \
            "compactionWrittenBytes": \(found.compactionWrittenBytes), \
            "compactionSeconds": \(found.compactionTime.seconds), \
            "writeAmplification": \(found.writeAmplification), "stalls": \(found.stalls), \
            "stallSeconds": \(found.stallTime.seconds), "lookups": \(found.lookups), \
            "lookupTables": \(found.lookupTables), "lookupBlockReads": \(found.lookupBlockReads), \
            "filterRejections": \(found.filterRejections), "filterFalsePositives": \(found.filterFalsePositives), \
            "cacheHits": \(found.cacheHits), "cacheMisses": \(found.cacheMisses), "cacheBytes": \(found.cacheBytes)}
            """
    }

    func run(_ workload: Workload) throws -> Row {
        switch workload {
        case .fillseq: try onThreads(workload) { try self.fill(thread: $0, isRandom: false, .buffered) }
        case .fillrandom, .overwrite: try onThreads(workload) { try self.fill(thread: $0, isRandom: true, .buffered) }
        case .fillsync: try onThreads(workload) { try self.fill(thread: $0, isRandom: true, .synced) }
        case .readrandom: try onThreads(workload) { try self.read(thread: $0, isMissing: false) }
        case .readmissing: try onThreads(workload) { try self.read(thread: $0, isMissing: true) }
        case .readseq: try onThreads(workload) { _ in try self.readInOrder() }
        case .seekrandom: try onThreads(workload) { try self.seek(thread: $0) }
        case .readwhilewriting: try readWhileWriting()
        case .settle: try settle()
        }
    }

    // MARK: - Loops

    /// Operations done and keys found.
    private typealias Tally = (operations: Int, found: Int)

    private func fill(thread: Int, isRandom: Bool, _ durability: Durability) throws -> Tally {
        var random = Random(seed: seed &* 1000 &+ UInt64(thread))
        var values = Values(bytes: valueBytes, seed: seed)
        var key = Key()
        for number in 0..<operations {
            key.set(isRandom ? random.next(below: keys) : number)
            var batch = WriteBatch()
            batch.reserveCapacity(key.bytes.count + valueBytes + 8)
            batch.put(key.bytes, values.next())
            try engine.write(batch, durability: durability)
        }
        return (operations, 0)
    }

    private func read(thread: Int, isMissing: Bool) throws -> Tally {
        var random = Random(seed: seed &* 1000 &+ 500 &+ UInt64(thread))
        var key = Key(extraBytes: isMissing ? 1 : 0)
        var found = 0
        for _ in 0..<operations {
            key.set(random.next(below: keys))
            if try engine.get(key.bytes) != nil { found += 1 }
        }
        return (operations, found)
    }

    private func readInOrder() throws -> Tally {
        let iterator = try engine.makeIterator()
        try iterator.seekToFirst()
        var entries = 0
        var bytes = 0
        while iterator.isValid, entries < operations {
            iterator.withEntry { bytes += $0.byteCount + $1.byteCount }
            entries += 1
            try iterator.next()
        }
        precondition(bytes >= entries, "entries without bytes")
        return (entries, entries)
    }

    private func seek(thread: Int) throws -> Tally {
        var random = Random(seed: seed &* 1000 &+ 700 &+ UInt64(thread))
        var key = Key()
        var found = 0
        var bytes = 0
        for _ in 0..<operations {
            key.set(random.next(below: keys))
            let iterator = try engine.makeIterator()
            try iterator.seek(to: key.bytes[...])
            if iterator.isValid, iterator.key.elementsEqual(key.bytes) { found += 1 }
            var step = 0
            while iterator.isValid, step < 10 {
                iterator.withEntry { bytes += $0.byteCount + $1.byteCount }
                try iterator.next()
                step += 1
            }
        }
        precondition(bytes >= found, "entries without bytes")
        return (operations, found)
    }

    /// Readers at full speed beside one writer at a steady rate, whose writes do not count.
    private func readWhileWriting() throws -> Row {
        let isDone = Atomic(false)
        let failure = Mutex<(any Error)?>(nil)
        let writer = Thread {
            var random = Random(seed: self.seed &* 1000 &+ 900)
            var values = Values(bytes: self.valueBytes, seed: self.seed)
            var key = Key()
            let clock = ContinuousClock()
            let start = clock.now
            var written = 0.0
            while !isDone.load(ordering: .relaxed) {
                let ahead = written / self.writeBytesPerSecond - (clock.now - start).seconds
                if ahead > 0.001 { usleep(UInt32(ahead * 1e6)) }
                written += Double(key.bytes.count + self.valueBytes)
                key.set(random.next(below: self.keys))
                var batch = WriteBatch()
                batch.put(key.bytes, values.next())
                do { try self.engine.write(batch) } catch { return failure.withLock { $0 = error } }
            }
        }
        writer.start()
        let row = try onThreads(.readwhilewriting) { try self.read(thread: $0, isMissing: false) }
        isDone.store(true, ordering: .relaxed)
        while !writer.isFinished { usleep(1000) }
        if let error = failure.withLock({ $0 }) { throw error }
        return row
    }

    private func settle() throws -> Row {
        let clock = ContinuousClock()
        let start = clock.now
        try engine.flush()
        while try engine.compactIfNeeded() {}
        return Row(workload: .settle, operations: 1, found: 0, seconds: (clock.now - start).seconds)
    }

    private func onThreads(_ workload: Workload, _ body: @escaping @Sendable (Int) throws -> Tally) throws -> Row {
        let tallies = Mutex<[Tally]>([])
        let failure = Mutex<(any Error)?>(nil)
        let clock = ContinuousClock()
        let start = clock.now
        let running = (0..<threads).map { number in
            Thread {
                do {
                    let tally = try body(number)
                    tallies.withLock { $0.append(tally) }
                } catch { failure.withLock { $0 = error } }
            }
        }
        for thread in running {
            thread.stackSize = 1 << 20
            thread.start()
        }
        while !running.allSatisfy(\.isFinished) { usleep(500) }
        if let error = failure.withLock({ $0 }) { throw error }
        let all = tallies.withLock { $0 }
        return Row(
            workload: workload, operations: all.reduce(0) { $0 + $1.operations },
            found: all.reduce(0) { $0 + $1.found }, seconds: (clock.now - start).seconds)
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
