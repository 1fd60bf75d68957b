import CairnFiles

/// The log of batches that are not in tables yet: segments `n.wal` of records, one record a batch.
///
/// A record's tag is its sequence number, which has no gaps over all segments; its body says up to which sequence all was
/// on the disk when it was written, then version, mark and batch. So recovery can tell what never arrived, which is no
/// loss, from what was there once, which is damage, also across files.
///
/// Not synchronized: the engine's writer owns it.
struct WriteAheadLog {
    static let kind = RecordLogHeader.Kind("CWAL")
    static let recordHeaderBytes = 24
    /// Segments that wait to be used again.
    static let sparesMax = 2

    private let fileSystem: any FileSystem
    private let directory: String
    private let compression: BlockCodec.Compression
    /// The segment that takes records; nil until the first record after the memtable was frozen.
    private(set) var segment: RecordLogWriter?
    private(set) var segmentNumber: UInt64 = 0
    /// The segment after that, made ahead by the background so that no writer waits for its header's sync.
    private var prepared: (number: UInt64, writer: RecordLogWriter)?
    /// Older segments with records that may not be on the disk yet, oldest first.
    private(set) var unsyncedSegments: [RecordLogWriter] = []
    /// The last record written.
    private(set) var sequence: UInt64
    /// Every record up to here is on the disk or in synced tables.
    private(set) var durableSequence: UInt64
    /// Segments that are no longer needed, waiting to be used again.
    private(set) var spares: [String] = []
    private(set) var writtenBytes: UInt64 = 0

    init(
        fileSystem: any FileSystem, directory: String, compression: BlockCodec.Compression, sequence: UInt64
    ) {
        self.fileSystem = fileSystem
        self.compression = compression
        self.directory = directory
        self.sequence = sequence
        durableSequence = sequence
    }

    /// Goes on after what recovery found.
    mutating func restart(after sequence: UInt64) {
        self.sequence = sequence
        durableSequence = sequence
    }

    var needsSegment: Bool { segment == nil }

    /// Begins a segment: the one that was prepared, or a new one, whose header has to be synced here and now.
    mutating func beginSegment(makeNumber: () -> UInt64) throws(FileError) {
        if let (number, writer) = prepared {
            prepared = nil
            segment = writer
            segmentNumber = number
            return
        }
        let number = makeNumber()
        segment = try Self.makeSegment(number, recycling: takeSpare(), compression, in: directory, fileSystem)
        segmentNumber = number
    }

    /// A file for ``makeSegment(_:recycling:in:_:)`` to use again.
    mutating func takeSpare() -> String? { spares.popLast() }

    /// Keeps a segment for ``beginSegment(makeNumber:)``; false if it is not wanted.
    ///
    /// The numbers of segments have to stand in the order of their records, so one that was overtaken is useless.
    mutating func offer(_ writer: RecordLogWriter, number: UInt64) -> Bool {
        guard prepared == nil, number > segmentNumber else { return false }
        prepared = (number, writer)
        return true
    }

    var wantsSegment: Bool { prepared == nil }

    /// A segment with its header on the disk; in the place of a spare file, if there is one.
    static func makeSegment(
        _ number: UInt64, recycling spare: String?, _ compression: BlockCodec.Compression,
        in directory: String, _ fileSystem: any FileSystem
    ) throws(FileError) -> RecordLogWriter {
        let header = RecordLogHeader(kind: kind, number: number, fileID: fileSystem.makeFileID())
        let path = FileName.wal(number).path(in: directory)
        if let spare {
            do throws(FileError) {
                return try recycle(spare, as: path, header: header, compression, fileSystem)
            } catch  where StorageError(error).code != .failed {
                // It stays behind as an orphan; a new file does as well.
            }
        }
        return try create(path, header: header, compression, fileSystem)
    }

    private static func create(
        _ path: String, header: RecordLogHeader, _ compression: BlockCodec.Compression, _ fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogWriter {
        try RecordLogWriter.create(path, header: header, compresses: compression == .snappy, in: fileSystem)
    }

    private static func recycle(
        _ spare: String, as path: String, header: RecordLogHeader, _ compression: BlockCodec.Compression,
        _ fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogWriter {
        try RecordLogWriter.recycle(
            spare, as: path, header: header, compresses: compression == .snappy, in: fileSystem)
    }

    /// Writes one batch in one call. On an error the batch is not in the log, and the segment takes no more.
    mutating func append(_ batch: ArraySlice<UInt8>, version: UInt64, mark: UInt64) throws(FileError) {
        let next = sequence + 1
        let durable = durableSequence
        segment!.stage(tag: next, capacity: Self.recordHeaderBytes + batch.count) { buffer in
            buffer.append(littleEndian: durable)
            buffer.append(littleEndian: version)
            buffer.append(littleEndian: mark)
            buffer.append(contentsOf: batch)
        }
        do {
            try segment!.writeStaged()
        } catch {
            // What was written of it must not come back after a restart. If even that fails, the next segment starts
            // with the same sequence number, which tells recovery to ignore this one from there on.
            try? segment!.retire()
            endSegment()
            throw error
        }
        sequence = next
        writtenBytes += UInt64(batch.count + Self.recordHeaderBytes)
    }

    /// Makes room in the running segment whose syncs need not write the file's size each time.
    func reserveForSyncs() { segment?.reserve(1 << 20, below: 128 << 10) }

    /// The next record starts a new segment.
    mutating func endSegment() {
        if let segment, segment.syncedPosition < segment.position, !segment.hasFailed {
            unsyncedSegments.append(segment)
        }
        segment = nil
    }

    /// What has to be synced for all records so far to be on the disk.
    struct SyncPoint: Sendable {
        var sequence: UInt64
        var files: [any WritableFile]
        /// How much of the running segment that covers.
        var segmentNumber: UInt64?
        var position: UInt64
    }

    var syncPoint: SyncPoint {
        SyncPoint(
            sequence: sequence, files: unsyncedSegments.map(\.file) + (segment.map { [$0.file] } ?? []),
            segmentNumber: segment.map { _ in segmentNumber }, position: segment?.position ?? 0)
    }

    /// The files of `point` have been synced.
    mutating func noteSynced(_ point: SyncPoint) {
        noteDurable(point.sequence)
        unsyncedSegments.removeAll { segment in point.files.contains { $0 === segment.file } }
        if segment != nil, point.segmentNumber == segmentNumber, !segment!.hasFailed {
            segment!.noteSynchronized(through: point.position)
        }
    }

    /// Records up to `sequence` are in synced tables.
    mutating func noteDurable(_ sequence: UInt64) { durableSequence = max(durableSequence, sequence) }

    /// Drops segments below `number`, whose records are all in tables; keeps some of their files for later segments.
    ///
    /// - Returns: the paths to remove.
    mutating func release(_ numbers: [UInt64]) -> [String] {
        var removable: [String] = []
        for number in numbers {
            let path = FileName.wal(number).path(in: directory)
            unsyncedSegments.removeAll { $0.path == path || $0.header.number == number }
            if spares.count < Self.sparesMax { spares.append(path) } else { removable.append(path) }
        }
        return removable
    }

    /// Gives up what waits to be used, which may lie under an older key.
    ///
    /// - Returns: the paths to remove.
    mutating func giveUpUnused() -> [String] {
        let unused = spares + (prepared.map { [FileName.wal($0.number).path(in: directory)] } ?? [])
        try? prepared?.writer.close()
        prepared = nil
        spares = []
        return unused
    }

    /// - Returns: the paths to remove.
    mutating func close() -> [String] {
        for var segment in unsyncedSegments { try? segment.close() }
        try? segment?.close()
        let unused = giveUpUnused()
        unsyncedSegments = []
        segment = nil
        return unused
    }
}

/// One record read back from a segment.
struct WALRecord {
    var sequence: UInt64
    var durableSequence: UInt64
    var version: UInt64
    var mark: UInt64
    var batch: WriteBatch

    init(_ record: LogRecord, path: String) throws(StorageError) {
        let decoded = record.body.withBorrowedBytes { view -> (UInt64, UInt64, UInt64)? in
            var reader = ByteReader(view)
            guard let durable = reader.uint64(), let version = reader.uint64(), let mark = reader.uint64() else {
                return nil
            }
            return (durable, version, mark)
        }
        guard let decoded else {
            throw StorageError(.corruption, "a WAL record without header", file: path, offset: record.offset)
        }
        sequence = record.tag
        (durableSequence, version, mark) = decoded
        do throws(StorageError) {
            batch = try WriteBatch(decoding: record.body.dropFirst(WriteAheadLog.recordHeaderBytes))
        } catch {
            let code: StorageError.Code = error.code == .unsupportedFormat ? .unsupportedFormat : .corruption
            throw StorageError(code, error.message, file: path, offset: record.offset)
        }
    }
}

/// Reads back what the segments hold, oldest first.
struct WALRecovery {
    let fileSystem: any FileSystem
    let directory: String

    /// Calls `apply` with every record after `sequence` in order, up to the first that never got to the disk.
    ///
    /// - Returns: the last sequence number.
    /// - Throws: ``StorageError`` with code `corruption` if a record is missing or damaged that was on the disk once.
    func replay(
        _ numbers: [UInt64], after sequence: UInt64, _ apply: (WALRecord) throws(StorageError) -> Void
    ) throws(StorageError) -> UInt64 {
        // A segment that starts again at an earlier number follows a failed append: what the older ones have from there on
        // was reported as not written.
        var cuts = [UInt64](repeating: .max, count: numbers.count)
        var cut = UInt64.max
        for index in numbers.indices.reversed() {
            cuts[index] = cut
            var reader = try open(numbers[index])
            if let first = try mappingFileErrors({ () throws(FileError) in try reader.next() }) {
                cut = min(cut, first.tag)
            }
        }
        var last = sequence
        var hasGap = false
        for (index, number) in numbers.enumerated() {
            var reader = try open(number)
            while let record = try mappingFileErrors({ () throws(FileError) in try reader.next() }) {
                if record.tag >= cuts[index] { break }
                if record.tag <= last { continue }
                let decoded = try WALRecord(record, path: reader.path)
                if record.tag > last + 1 { hasGap = true }
                if hasGap {
                    guard decoded.durableSequence <= last else {
                        throw StorageError(
                            .corruption, "record \(last + 1) was on the disk and is missing before this one",
                            file: reader.path, offset: record.offset)
                    }
                    continue
                }
                try apply(decoded)
                last = record.tag
            }
        }
        return last
    }

    private func open(_ number: UInt64) throws(StorageError) -> RecordLogReader {
        let path = FileName.wal(number).path(in: directory)
        let reader = try mappingFileErrors { () throws(FileError) in try Self.open(path, fileSystem) }
        guard reader.header.number == number else {
            throw StorageError(
                .corruption, "segment \(reader.header.number) in the place of \(number)", file: path, offset: 0)
        }
        return reader
    }

    private static func open(_ path: String, _ fileSystem: some FileSystem) throws(FileError) -> RecordLogReader {
        try RecordLogReader(path, kind: WriteAheadLog.kind, in: fileSystem)
    }
}
