/// Puts, deletions and range deletions that take effect together or not at all.
///
/// A batch is one piece of bytes from the moment it is built: those bytes are replicated, logged and applied as they are.
/// Operations take effect in their order, so the last one on a key wins. The layout is on <doc:Formats>.
public struct WriteBatch: Sendable, Hashable {
    /// One operation, its keys and values sharing the batch's bytes.
    public enum Operation: Hashable, Sendable {
        case put(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)
        case delete(key: ArraySlice<UInt8>)
        /// Deletes every key from `from` up to, not including, `to`.
        case deleteRange(from: ArraySlice<UInt8>, to: ArraySlice<UInt8>)
    }

    /// The longest key, in bytes.
    public static let keyBytesMax = 1 << 20
    /// The longest value, in bytes.
    public static let valueBytesMax = 1 << 28

    @usableFromInline static let formatVersion: UInt8 = 1
    @usableFromInline static let headerBytes = 5

    @usableFromInline var storage: ArraySlice<UInt8>
    /// The number of operations.
    public private(set) var count: Int
    /// The number of range deletions among them.
    @usableFromInline var rangeDeletions: Int

    /// An empty batch.
    public init() {
        storage = [Self.formatVersion, 0, 0, 0, 0]
        count = 0
        rangeDeletions = 0
    }

    /// The batch that `bytes` encode, sharing them.
    ///
    /// Every length is checked here, once, so that applying it later cannot fail on its form.
    /// - Throws: ``StorageError`` with code `invalidArgument` and the offset of the first bad byte.
    public init(decoding bytes: ArraySlice<UInt8>) throws(StorageError) {
        let (count, ranges) = try bytes.withBorrowedBytes { view throws(StorageError) in try Self.validate(view) }
        storage = bytes
        self.count = count
        rangeDeletions = ranges
    }

    public var isEmpty: Bool { count == 0 }

    /// The size of ``encoded``.
    public var byteCount: Int { storage.count }

    /// The bytes that ``init(decoding:)`` takes.
    public var encoded: [UInt8] { Array(storage) }

    /// The bytes that ``init(decoding:)`` takes, not copied.
    public var encodedSlice: ArraySlice<UInt8> { storage }

    /// Makes room for `bytes` more bytes of operations.
    public mutating func reserveCapacity(_ bytes: Int) { storage.reserveCapacity(storage.count + bytes) }

    /// Sets `key` to `value`.
    @inlinable
    public mutating func put(_ key: some Collection<UInt8>, _ value: some Collection<UInt8>) {
        begin(.put, key.count)
        storage.append(contentsOf: key)
        precondition(value.count <= Self.valueBytesMax, "a value of \(value.count) bytes is too long")
        appendVarint(value.count)
        storage.append(contentsOf: value)
    }

    /// Deletes `key`, whether it exists or not.
    @inlinable
    public mutating func delete(_ key: some Collection<UInt8>) {
        begin(.delete, key.count)
        storage.append(contentsOf: key)
    }

    /// Deletes every key from `from` up to, not including, `to`. An empty range adds nothing. O(1) however much it covers.
    @inlinable
    public mutating func deleteRange(from: some Collection<UInt8>, to: some Collection<UInt8>) {
        guard from.lexicographicallyPrecedes(to) else { return }
        begin(.deleteRange, from.count)
        storage.append(contentsOf: from)
        precondition(to.count <= Self.keyBytesMax, "a key of \(to.count) bytes is too long")
        appendVarint(to.count)
        storage.append(contentsOf: to)
        rangeDeletions += 1
    }

    /// Appends the operations of another batch after this one's.
    public mutating func append(contentsOf other: WriteBatch) {
        storage.append(contentsOf: other.storage.dropFirst(Self.headerBytes))
        rangeDeletions += other.rangeDeletions
        setCount(count + other.count)
    }

    /// Calls `body` for every operation in order.
    public func forEach<Failure: Error>(_ body: (Operation) throws(Failure) -> Void) throws(Failure) {
        var offset = storage.startIndex + Self.headerBytes
        func length() -> Int {
            var result = 0
            var shift = 0
            while storage[offset] >= 0x80 {
                result |= Int(storage[offset] & 0x7F) << shift
                shift += 7
                offset += 1
            }
            result |= Int(storage[offset]) << shift
            offset += 1
            return result
        }
        func bytes() -> ArraySlice<UInt8> {
            let count = length()
            defer { offset += count }
            return storage[offset..<offset + count]
        }
        for _ in 0..<count {
            let kind = EntryKind(rawValue: storage[offset])!
            offset += 1
            switch kind {
            case .put:
                let key = bytes()
                try body(.put(key: key, value: bytes()))
            case .delete: try body(.delete(key: bytes()))
            case .deleteRange:
                let from = bytes()
                try body(.deleteRange(from: from, to: bytes()))
            }
        }
    }

    // MARK: - Encoding

    @usableFromInline
    mutating func begin(_ kind: EntryKind, _ keyBytes: Int) {
        precondition(keyBytes <= Self.keyBytesMax, "a key of \(keyBytes) bytes is too long")
        setCount(count + 1)
        storage.append(kind.rawValue)
        appendVarint(keyBytes)
    }

    @usableFromInline
    mutating func appendVarint(_ value: Int) {
        var rest = UInt(value)
        while rest >= 0x80 {
            storage.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        storage.append(UInt8(truncatingIfNeeded: rest))
    }

    private mutating func setCount(_ value: Int) {
        count = value
        let start = storage.startIndex + 1
        for byte in 0..<4 { storage[start + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }

    private static func validate(_ view: BorrowedBytes) throws(StorageError) -> (count: Int, ranges: Int) {
        func malformed(_ what: String, _ offset: Int) -> StorageError {
            StorageError(.invalidArgument, "write batch: \(what)", offset: UInt64(offset))
        }
        var reader = ByteReader(view)
        guard let format = reader.byte() else { throw malformed("no format version", 0) }
        guard format == formatVersion else {
            throw StorageError(.unsupportedFormat, "write batch of format \(format)", offset: 0)
        }
        guard let count = reader.uint32() else { throw malformed("no count", 1) }
        var ranges = 0
        for _ in 0..<count {
            let start = reader.offset
            guard let byte = reader.byte(), let kind = EntryKind(rawValue: byte) else {
                throw malformed("unknown operation", start)
            }
            guard let keyBytes = reader.length(), keyBytes <= keyBytesMax, let key = reader.take(keyBytes) else {
                throw malformed("key length", start)
            }
            switch kind {
            case .delete: break
            case .put:
                guard let valueBytes = reader.length(), valueBytes <= valueBytesMax, reader.take(valueBytes) != nil
                else { throw malformed("value length", start) }
            case .deleteRange:
                guard let endBytes = reader.length(), endBytes <= keyBytesMax, let end = reader.take(endBytes) else {
                    throw malformed("end key length", start)
                }
                guard key.compare(end) < 0 else { throw malformed("empty range", start) }
                ranges += 1
            }
        }
        guard reader.remaining == 0 else { throw malformed("bytes after the last operation", reader.offset) }
        return (Int(count), ranges)
    }

    /// Calls `body` with the place, the key and the value (or end of range) of every operation, borrowed.
    ///
    /// The batch was validated when it was made, so a failure to decode here is a bug and traps.
    func forEachBorrowed(_ body: (Int, EntryKind, BorrowedBytes, BorrowedBytes) -> Void) {
        storage.withBorrowedBytes { view in
            var reader = ByteReader(view, from: Self.headerBytes)
            for position in 0..<count {
                let kind = EntryKind(rawValue: reader.byte()!)!
                let key = reader.take(reader.length()!)!
                let value = kind == .delete ? .empty : reader.take(reader.length()!)!
                body(position, kind, key, value)
            }
        }
    }
}

/// What an entry of the tree, or an operation of a batch, does to its key. The numbers are on the disk.
@usableFromInline
enum EntryKind: UInt8, Sendable {
    case delete = 1
    case put = 2
    case deleteRange = 3
}
