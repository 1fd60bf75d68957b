/// Writes records to the end of one file: the writing half of the WAL, the manifest and the Raft log.
///
/// Records are staged in a reused buffer and go to the file in one write call however many they are; staging costs one
/// copy and about 0.1 µs. A life of a file has one writer: a record log is never reopened for append. After a restart its
/// owner reads it and starts another file.
///
/// - Invariant: `syncedPosition <= position`; every byte of the file is written at most once in a life.
/// - Important: One owner. Copies of the value would write over each other.
public struct RecordLogWriter: Sendable {
    public let file: any WritableFile
    public let header: RecordLogHeader
    /// What bodies are sealed with; nil leaves them in the clear.
    public let cipher: FileCipher?
    private let sealer: FileCipher.Sealer?
    /// Compress bodies that shrink by an eighth or more.
    private let compresses: Bool
    /// Where the next staged record will begin once what is staged now has been written; a multiple of eight.
    public var nextPosition: UInt64 { position + UInt64(buffer.count) }
    /// The end of the last record that has been written.
    public private(set) var position: UInt64
    /// The end of the last record that is known to be on the disk.
    public private(set) var syncedPosition: UInt64
    /// After a failed write or sync nothing more may go into this file.
    public private(set) var hasFailed = false

    private var buffer: [UInt8] = []
    private var compressed: [UInt8] = []
    /// A buffer that grew beyond this for one large record is given back.
    private static let bufferBytesKept = 4 << 20

    /// The log's name, which the file was given once its header was on the disk.
    public let path: String
    public var stagedBytes: Int { buffer.count }

    /// Makes a new record log, header on the disk and name durable.
    ///
    /// - Parameters:
    ///   - bytes: How much of the file to fill with zeros ahead; see ``FileSystem/create(_:preallocate:)``.
    ///   - syncsEachWrite: The owner syncs after nearly every write, so that a cache would only be in the way; see
    ///     ``FileSystem/openForOverwriting(_:)``.
    public static func create(
        _ path: String, header: RecordLogHeader, preallocate bytes: Int = 0, syncsEachWrite: Bool = false,
        compresses: Bool = false, in fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogWriter {
        let temporary = path + ".new"
        if try fileSystem.exists(temporary) { try fileSystem.remove(temporary) }
        var file = try fileSystem.create(temporary, preallocate: bytes)
        if syncsEachWrite {
            try file.synchronizeData()
            try file.close()
            file = try fileSystem.openForOverwriting(temporary)
        }
        return try begin(file, from: temporary, as: path, header: header, compresses, in: fileSystem)
    }

    /// Makes a new record log in the place of the file at `spare`, whose contents count for nothing and whose name goes.
    ///
    /// Rewriting blocks that exist needs no journal commit per sync, which is why segments are recycled.
    ///
    /// - Parameter syncsEachWrite: as for ``create(_:header:preallocate:syncsEachWrite:in:)``.
    public static func recycle(
        _ spare: String, as path: String, header: RecordLogHeader, syncsEachWrite: Bool = false,
        compresses: Bool = false, in fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogWriter {
        let file =
            syncsEachWrite ? try fileSystem.openForOverwriting(spare) : try fileSystem.openForWriting(spare)
        return try begin(file, from: spare, as: path, header: header, compresses, in: fileSystem)
    }

    private static func begin(
        _ file: any WritableFile, from temporary: String, as path: String, header: RecordLogHeader,
        _ compresses: Bool, in fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogWriter {
        let cipher = fileSystem.keyring?.makeCipher(fileID: header.fileID)
        var header = header
        header.cipher = cipher?.label ?? .none
        try file.write(header.encoded(), at: 0)
        try file.synchronizeData()
        try fileSystem.rename(temporary, to: path)
        try fileSystem.synchronizeDirectory(type(of: fileSystem).directory(of: path))
        return RecordLogWriter(path: path, file: file, header: header, cipher: cipher, compresses: compresses)
    }

    private init(
        path: String, file: any WritableFile, header: RecordLogHeader, cipher: FileCipher?, compresses: Bool
    ) {
        self.cipher = cipher
        sealer = cipher?.makeSealer()
        self.compresses = compresses
        self.path = path
        self.file = file
        self.header = header
        position = UInt64(RecordLogHeader.byteCount)
        syncedPosition = position
    }

    /// Stages a record and returns where it will begin.
    @discardableResult
    public mutating func stage(_ body: RawSpan, tag: UInt64 = 0) -> UInt64 {
        beginRecord(capacity: body.byteCount)
        unsafe body.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
        return endRecord(tag: tag)
    }

    /// Stages a record and returns where it will begin.
    @discardableResult
    public mutating func stage(_ body: [UInt8], tag: UInt64 = 0) -> UInt64 {
        unsafe stage(body.span.bytes, tag: tag)
    }

    /// Stages the record whose body `build` appends, and returns where it will begin.
    ///
    /// - Parameter capacity: The bytes that the body will have, as far as that is known.
    @inline(__always)
    @discardableResult
    public mutating func stage(
        tag: UInt64 = 0, capacity: Int, _ build: (_ buffer: inout [UInt8]) -> Void
    ) -> UInt64 {
        beginRecord(capacity: capacity)
        build(&buffer)
        return endRecord(tag: tag)
    }

    /// Where the record that ``beginRecord(capacity:)`` opened starts in the buffer; -1 when none is open.
    private var open = -1

    private mutating func beginRecord(capacity: Int) {
        precondition(open < 0, "a record is open already")
        open = buffer.count
        let needed = buffer.count + RecordFrame.totalBytes(bodyBytes: capacity + FileCipher.tagBytes)
        if needed > buffer.capacity { buffer.reserveCapacity(max(needed, buffer.capacity * 2)) }
        buffer.append(contentsOf: repeatElement(0, count: RecordFrame.byteCount))
    }

    private mutating func endRecord(tag: UInt64) -> UInt64 {
        let start = open
        open = -1
        let offset = position + UInt64(start)
        let body = start + RecordFrame.byteCount
        precondition(
            buffer.count - body <= RecordFrame.bodyBytesMax, "a record of \(buffer.count - body) bytes")
        let isCompressed = compresses && Self.compressBody(&buffer, from: body, &compressed)
        if let sealer {
            precondition(offset < RecordFrame.sealedOffsetEnd, "a sealed record at \(offset)")
            sealer.seal(&buffer, from: body, RecordFrame.nonce(tag: tag, offset: offset, isCompressed: isCompressed))
        }
        RecordFrame.seal(
            &buffer, at: start, fileID: header.fileID, offset: offset, syncedPosition: syncedPosition, tag: tag,
            isCompressed: isCompressed)
        return offset
    }

    /// Compresses the body from `start` on in place, by way of `scratch`, if that takes off an eighth or more.
    private static func compressBody(_ buffer: inout [UInt8], from start: Int, _ scratch: inout [UInt8]) -> Bool {
        let count = buffer.count - start
        scratch.removeAll(keepingCapacity: true)
        unsafe Snappy.compress(buffer.span.bytes.extracting(start..<buffer.count), appendingTo: &scratch)
        guard scratch.count <= count - count / 8 else { return false }
        buffer.removeLast(count)
        buffer.append(contentsOf: scratch)
        return true
    }

    /// Bytes that a record with a body of `count` bytes takes in a file whose records are not compressed.
    public static func recordBytes(bodyBytes count: Int, isSealed: Bool) -> Int {
        RecordFrame.totalBytes(bodyBytes: isSealed ? count + FileCipher.tagBytes : count)
    }

    /// Drops what is staged and not written.
    public mutating func discardStaged() {
        buffer.removeAll(keepingCapacity: true)
    }

    /// Hands all staged records to the file in one write call.
    ///
    /// The bytes are in the kernel, not on the disk. After a crash a prefix of the records that were not synced may be
    /// there, and each of those whole.
    ///
    /// - Throws: ``FileError``; the writer has then failed, and the owner goes on in another file or not at all. The
    ///   records that were staged count as never written: ``retire()`` makes sure of it.
    public mutating func writeStaged() throws(FileError) {
        guard !buffer.isEmpty else { return }
        try checkUsable(.write)
        do {
            try file.write(buffer, at: position)
        } catch {
            hasFailed = true
            discardStaged()
            throw named(error)
        }
        position += UInt64(buffer.count)
        if buffer.capacity > Self.bufferBytesKept {
            buffer = []
        } else {
            buffer.removeAll(keepingCapacity: true)
        }
    }

    /// Fills the file's next `bytes` with zeros if it ends less than `margin` bytes behind the last record: to write over
    /// zeros costs a sync less than to make the file longer. An error shows with the next record.
    public func reserve(_ bytes: Int, below margin: Int) {
        guard !hasFailed, file.size < position + UInt64(margin) else { return }
        try? file.write([UInt8](repeating: 0, count: bytes), at: max(file.size, position))
    }

    /// Stages `body` and writes everything that is staged; returns where the record begins.
    @discardableResult
    public mutating func append(_ body: RawSpan, tag: UInt64 = 0) throws(FileError) -> UInt64 {
        let offset = stage(body, tag: tag)
        try writeStaged()
        return offset
    }

    /// Stages `body` and writes everything that is staged; returns where the record begins.
    @discardableResult
    public mutating func append(_ body: [UInt8], tag: UInt64 = 0) throws(FileError) -> UInt64 {
        unsafe try append(body.span.bytes, tag: tag)
    }

    /// Returns once every record that has been written is on the disk.
    ///
    /// - Throws: ``FileError``; whether anything since the last sync is on the disk is then unknown for good.
    public mutating func synchronize() throws(FileError) {
        guard syncedPosition < position else { return }
        try checkUsable(.synchronize)
        do {
            try file.synchronizeData()
        } catch {
            hasFailed = true
            throw named(error)
        }
        syncedPosition = position
    }

    /// Takes note that every record up to `position` is on the disk, because its owner has synced ``file`` by itself,
    /// beside further writes.
    public mutating func noteSynchronized(through position: UInt64) {
        precondition(position <= self.position, "synced through \(position) of \(self.position)")
        syncedPosition = max(syncedPosition, position)
    }

    /// After a failed write: cuts the file behind the last record that was written whole, for good.
    ///
    /// Without this, parts of the failed write might be read back as records after a restart.
    public mutating func retire() throws(FileError) {
        hasFailed = true
        discardStaged()
        try file.truncate(to: position)
        try file.synchronizeData()
    }

    /// Closes the file, synced or not.
    public mutating func close() throws(FileError) {
        hasFailed = true
        try file.close()
    }

    /// `error` under the log's own name: the file still goes by the one it was opened with.
    private func named(_ error: FileError) -> FileError {
        var error = error
        error.path = path
        return error
    }

    private func checkUsable(_ operation: FileError.Operation) throws(FileError) {
        guard !hasFailed else {
            throw FileError(.io, operation, path: path, offset: position, reason: "an earlier operation failed")
        }
    }
}
