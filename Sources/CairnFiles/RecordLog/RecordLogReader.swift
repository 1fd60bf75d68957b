/// One record that was read back whole.
public struct LogRecord: Sendable, Hashable {
    /// Where the record begins in its file.
    public var offset: UInt64
    /// Where the next one begins.
    public var end: UInt64
    public var tag: UInt64
    /// A slice of what was read; it keeps that memory alive.
    public var body: ArraySlice<UInt8>
}

/// Reads the records of one file from its first to its last: the reading half of ``RecordLogWriter``.
///
/// What follows the last good record is either a torn tail, written and not synced when the power went, or damage. It is
/// damage if any later record of this life says that the file was synced beyond the bad place when it was written, or if
/// the owner knows that the file went on (`knownEnd`); then reading throws and names file and offset. Otherwise it is the
/// end, ``position`` says where, and everything behind it counts as never written.
///
/// Memory: one window of 1 MiB, or the largest record. The search behind a bad place runs once per file.
public struct RecordLogReader {
    /// A record, or what stands in place of one.
    public enum Item: Sendable, Hashable {
        case record(LogRecord)
        /// Bytes that were a record once. `tag` is nil when not even the frame's header can be read.
        /// Reading can go on behind it.
        case damage(offset: UInt64, tag: UInt64?)
        case end
    }

    public let header: RecordLogHeader
    /// What bodies were sealed with; nil if they are in the clear.
    public let cipher: FileCipher?
    /// The end of the last item that was read.
    public private(set) var position: UInt64
    public let path: String

    private let file: any ReadableFile
    private let size: UInt64
    private let knownEnd: UInt64?
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0
    private var hasEnded = false
    private static let windowBytes = 1 << 20

    /// Opens the record log at `path` and checks its header.
    ///
    /// - Parameter knownEnd: Where the owner knows the last record to end, if it does.
    /// - Throws: ``FileError`` with code `corruption` (header), `unsupported` (version, cipher, or another kind of log).
    public init(
        _ path: String, kind: RecordLogHeader.Kind, knownEnd: UInt64? = nil, in fileSystem: some FileSystem
    ) throws(FileError) {
        let file = try fileSystem.open(path)
        let header = try RecordLogHeader(
            decoding: try file.read(at: 0, upTo: RecordLogHeader.byteCount)[...], path: path)
        guard header.kind == kind else {
            throw FileError(
                .unsupported, .decode, path: path, offset: 12, reason: "a \(header.kind) log, not a \(kind) log")
        }
        cipher = try fileSystem.cipher(of: header.cipher, fileID: header.fileID, path: path)
        self.path = path
        self.file = file
        self.header = header
        self.knownEnd = knownEnd
        size = try file.size()
        position = UInt64(RecordLogHeader.byteCount)
    }

    /// The next record, or nil at the end.
    ///
    /// - Throws: ``FileError`` with code `corruption` and the offset of the first bad record, or what reading threw.
    public mutating func next() throws(FileError) -> LogRecord? {
        switch try nextItem() {
        case .record(let record): return record
        case .end: return nil
        case .damage(let offset, _):
            throw FileError(
                .corruption, .decode, path: path, offset: offset, reason: "a damaged record before the end of the log")
        }
    }

    /// The next record, damage or the end; for owners whose records have separate fates.
    public mutating func nextItem() throws(FileError) -> Item {
        guard !hasEnded, position != knownEnd else { return .end }
        let offset = position
        let head = try bytes(at: offset, upTo: RecordFrame.byteCount)
        guard let frame = RecordFrame(head, at: head.startIndex, fileID: header.fileID, offset: offset) else {
            // One flipped bit in the frame can be undone, enough to say whose record it was.
            let repaired = RecordFrame(repairing: head, fileID: header.fileID, offset: offset)
            return try judge(
                badAt: offset, tag: repaired?.tag, resumingAt: repaired.map { offset + UInt64($0.totalBytes) })
        }
        let end = offset + UInt64(frame.totalBytes)
        let whole = try bytes(at: offset, upTo: frame.totalBytes)
        let body = whole.dropFirst(RecordFrame.byteCount).prefix(Int(frame.length))
        guard body.count == Int(frame.length), CRC32C.checksum(body) == frame.bodyChecksum else {
            return try judge(badAt: offset, tag: frame.tag, resumingAt: end)
        }
        let opened = try Self.open(body, frame, cipher, at: offset, path: path)
        position = end
        return .record(LogRecord(offset: offset, end: end, tag: frame.tag, body: opened))
    }

    /// The body as it was staged: unsealed and decompressed.
    private static func open(
        _ stored: ArraySlice<UInt8>, _ frame: RecordFrame, _ cipher: FileCipher?, at offset: UInt64, path: String
    ) throws(FileError) -> ArraySlice<UInt8> {
        var body = stored
        if let cipher {
            guard
                let text = unsafe cipher.open(
                    body.span.bytes, RecordFrame.nonce(tag: frame.tag, offset: offset, isCompressed: frame.isCompressed)
                )
            else {
                throw FileError(
                    .corruption, .decode, path: path, offset: offset,
                    reason: "the seal of a record is broken: it is not what was written here")
            }
            body = text[...]
        }
        guard frame.isCompressed else { return body }
        do throws(SnappyError) {
            return unsafe try Snappy.decompress(body.span.bytes, limit: RecordFrame.bodyBytesMax)[...]
        } catch {
            throw FileError(
                .corruption, .decode, path: path, offset: offset, reason: "snappy body of a record: \(error)")
        }
    }

    /// The record that begins at `offset`, from `bytes` that were read from `start` of the file `fileID` at `path`.
    ///
    /// - Throws: ``FileError`` with code `corruption` if it is not there whole.
    public static func record(
        in bytes: ArraySlice<UInt8>, startingAt start: UInt64, at offset: UInt64, fileID: UInt64,
        cipher: FileCipher?, path: String
    ) throws(FileError) -> LogRecord {
        let index = bytes.startIndex + Int(offset - start)
        guard let frame = RecordFrame(bytes, at: index, fileID: fileID, offset: offset) else {
            throw FileError(.corruption, .decode, path: path, offset: offset, reason: "no record begins here")
        }
        let body = bytes[(index + RecordFrame.byteCount)...].prefix(Int(frame.length))
        guard body.count == Int(frame.length), CRC32C.checksum(body) == frame.bodyChecksum else {
            throw FileError(.corruption, .decode, path: path, offset: offset, reason: "checksum of a record")
        }
        return LogRecord(
            offset: offset, end: offset + UInt64(frame.totalBytes), tag: frame.tag,
            body: try open(body, frame, cipher, at: offset, path: path))
    }

    /// Damage or the end: decides what the bad bytes at `offset` are.
    private mutating func judge(badAt offset: UInt64, tag: UInt64?, resumingAt next: UInt64?) throws(FileError) -> Item
    {
        let (following, provesDamage) = try search(behind: offset)
        guard provesDamage || knownEnd.map({ offset < $0 }) ?? false else {
            hasEnded = true
            return .end
        }
        if let next, next <= max(size, knownEnd ?? 0) {
            position = next
        } else if let following {
            position = following
        } else {
            hasEnded = true
            position = knownEnd ?? size
        }
        return .damage(offset: offset, tag: tag)
    }

    /// Looks behind the bad place at `offset` for frames of this life: the first one, and whether one of them was written
    /// after the bad place had been synced.
    private mutating func search(behind offset: UInt64) throws(FileError) -> (first: UInt64?, provesDamage: Bool) {
        var first: UInt64?
        var place = offset + UInt64(RecordFrame.alignment)
        let limit = knownEnd ?? size
        while place + UInt64(RecordFrame.byteCount) <= limit {
            let part = try bytes(at: place, upTo: Self.windowBytes)
            guard part.count >= RecordFrame.byteCount else { break }
            var index = part.startIndex
            while index + RecordFrame.byteCount <= part.endIndex {
                if part.loadUInt32(at: index + 4) != 0,
                    let frame = RecordFrame(part, at: index, fileID: header.fileID, offset: place)
                {
                    if first == nil { first = place }
                    if frame.syncedPosition > offset { return (first, true) }
                }
                index += RecordFrame.alignment
                place += UInt64(RecordFrame.alignment)
            }
        }
        return (first, false)
    }

    /// The bytes from `offset` on, `count` of them or as many as the file has.
    private mutating func bytes(at offset: UInt64, upTo count: Int) throws(FileError) -> ArraySlice<UInt8> {
        let windowEnd = windowStart + UInt64(window.count)
        if offset < windowStart || offset + UInt64(count) > windowEnd {
            // Slices that were handed out keep the old window; a new array takes its place.
            window = try file.read(at: offset, upTo: max(count, Self.windowBytes))
            windowStart = offset
        }
        let start = Int(offset - windowStart)
        return window[start..<min(start + count, window.count)]
    }
}
