/// A change of the tree that happens whole or not at all: tables that come and go, and how far tables cover the log.
///
/// Numbers that are nil stay as they are. The first edit of a manifest holds the whole state. Layout: <doc:Formats>.
struct ManifestEdit: Hashable {
    struct Added: Hashable {
        var level: Int
        var description: TableDescription
    }

    var added: [Added] = []
    var removed: [UInt64] = []
    /// Segments of the log below this number are in tables.
    var logNumber: UInt64?
    /// The last sequence number of the log that is in tables.
    var flushedSequence: UInt64?
    /// The mark and version of the last batch that is in tables.
    var mark: UInt64?
    var version: UInt64?
    /// No file has this number or a higher one.
    var nextFileNumber: UInt64?
    var horizon: UInt64?

    static let formatVersion: UInt8 = 1

    private enum Field: UInt8 {
        case added = 1
        case removed, logNumber, flushedSequence, mark, version, nextFileNumber, horizon
    }

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = [Self.formatVersion]
        func append(_ field: Field, _ payload: [UInt8]) {
            bytes.append(field.rawValue)
            bytes.append(lengthAndBytes: payload)
        }
        func append(_ field: Field, _ number: UInt64?) {
            guard let number else { return }
            var payload: [UInt8] = []
            payload.append(littleEndian: number)
            append(field, payload)
        }
        for added in added { append(.added, [UInt8(added.level)] + added.description.encoded()) }
        for number in removed { append(.removed, number) }
        append(.logNumber, logNumber)
        append(.flushedSequence, flushedSequence)
        append(.mark, mark)
        append(.version, version)
        append(.nextFileNumber, nextFileNumber)
        append(.horizon, horizon)
        return bytes
    }

    init() {}

    init(decoding bytes: ArraySlice<UInt8>, path: String, offset: UInt64) throws(StorageError) {
        self.init()
        try bytes.withBorrowedBytes { view throws(StorageError) in try decode(view, path, offset) }
    }

    private mutating func decode(_ view: BorrowedBytes, _ path: String, _ offset: UInt64) throws(StorageError) {
        let malformed = StorageError(.corruption, "a manifest edit that does not parse", file: path, offset: offset)
        var reader = ByteReader(view)
        guard let format = reader.byte() else { throw malformed }
        guard format == Self.formatVersion else {
            throw StorageError(.unsupportedFormat, "manifest format \(format)", file: path, offset: offset)
        }
        while let tag = reader.byte() {
            guard let count = reader.length(), let payload = reader.take(count) else { throw malformed }
            guard let field = Field(rawValue: tag) else {
                throw StorageError(.unsupportedFormat, "manifest field \(tag)", file: path, offset: offset)
            }
            var content = ByteReader(payload)
            func number(through end: UInt64 = .max) throws(StorageError) -> UInt64 {
                guard let value = content.uint64(), content.remaining == 0, value <= end else { throw malformed }
                return value
            }
            switch field {
            case .added:
                guard let level = content.byte(), Int(level) < TableSet.levelCount else { throw malformed }
                added.append(
                    Added(
                        level: Int(level),
                        description: try TableDescription(decoding: payload.dropFirst(1), path: path, offset: offset)))
            case .removed:
                removed.append(try number())
            case .logNumber: logNumber = try number(through: FileName.numberEnd)
            case .flushedSequence: flushedSequence = try number(through: FileName.numberEnd)
            case .mark: mark = try number()
            case .version: version = try number()
            case .nextFileNumber: nextFileNumber = try number(through: FileName.numberEnd)
            case .horizon: horizon = try number()
            }
        }
    }
}
