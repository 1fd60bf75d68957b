import CairnFiles

/// Where a stored block stands in its file.
struct BlockHandle: Hashable, Sendable {
    var offset: UInt64
    var byteCount: UInt32

    static let none = BlockHandle(offset: 0, byteCount: 0)

    /// Whether the block ends at `end` or before; whatever the numbers are.
    func ends(by end: UInt64) -> Bool { offset <= end && UInt64(byteCount) <= end - offset }
}

/// The last 92 bytes of a table. The layout is on <doc:Formats>.
struct TableFooter: Hashable {
    static let byteCount = 92
    static let formatVersion: UInt32 = 2
    static let magic: [UInt8] = Array("CairnSST".utf8)

    var fileID: UInt64
    /// How blocks are encrypted.
    var cipher = FileCipher.Label.none
    var filter = BlockHandle.none
    var ranges = BlockHandle.none
    var index = BlockHandle.none
    var properties = BlockHandle.none

    func encoded(at offset: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: fileID)
        bytes.append(littleEndian: cipher.keyID)
        bytes.append(littleEndian: cipher.salt)
        for handle in [filter, ranges, index, properties] {
            bytes.append(littleEndian: handle.offset)
            bytes.append(littleEndian: handle.byteCount)
        }
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: Self.formatVersion)
        bytes.append(
            littleEndian: CRC32C.checksum(bytes, extending: CRC32C.place(fileID: fileID, offset: offset)))
        bytes += Self.magic
        return bytes
    }

    init(fileID: UInt64) { self.fileID = fileID }

    init(decoding bytes: [UInt8], at offset: UInt64, fileID expected: UInt64, path: String) throws(StorageError) {
        guard bytes.count == Self.byteCount, bytes.suffix(8).elementsEqual(Self.magic) else {
            throw StorageError(.corruption, "no table ends here", file: path, offset: offset)
        }
        typealias Parsed = (UInt64, FileCipher.Label, [BlockHandle], UInt32, UInt32)
        let parsed = bytes.withBorrowedBytes { view -> Parsed? in
            var reader = ByteReader(view)
            guard let fileID = reader.uint64(), let keyID = reader.uint64(), let salt = reader.uint64() else {
                return nil
            }
            var handles: [BlockHandle] = []
            for _ in 0..<4 {
                guard let offset = reader.uint64(), let count = reader.uint32() else { return nil }
                handles.append(BlockHandle(offset: offset, byteCount: count))
            }
            guard reader.uint32() != nil, let version = reader.uint32(), let checksum = reader.uint32() else {
                return nil
            }
            return (fileID, FileCipher.Label(keyID: keyID, salt: salt), handles, version, checksum)
        }
        guard let (fileID, cipher, handles, version, checksum) = parsed else {
            throw StorageError(.corruption, "no table ends here", file: path, offset: offset)
        }
        let wanted = CRC32C.checksum(bytes[..<80], extending: CRC32C.place(fileID: expected, offset: offset))
        guard checksum == wanted else {
            // A footer of the future may have its checksum elsewhere, so its version is believed first.
            guard version == Self.formatVersion || version == 0 || version > 1 << 16 else {
                throw StorageError(.unsupportedFormat, "table format \(version)", file: path, offset: offset + 76)
            }
            throw StorageError(.corruption, "checksum of the table's footer", file: path, offset: offset)
        }
        guard version == Self.formatVersion else {
            throw StorageError(.unsupportedFormat, "table format \(version)", file: path, offset: offset + 76)
        }
        for handle in handles where !handle.ends(by: offset) {
            throw StorageError(.corruption, "a block beyond the footer", file: path, offset: offset)
        }
        self.fileID = fileID
        self.cipher = cipher
        filter = handles[0]
        ranges = handles[1]
        index = handles[2]
        properties = handles[3]
    }
}

/// The keys from `smallest` to `largest`.
struct KeyRange: Hashable, Sendable {
    var smallest: [UInt8]
    var largest: [UInt8]
    /// `largest` itself is not part of it: a range deletion ends there.
    var largestIsExclusive = false

    /// Whether all of it comes before `key`.
    func isBefore(_ key: BorrowedBytes) -> Bool {
        largest.withBorrowedBytes {
            let order = $0.compare(key)
            return order < 0 || (order == 0 && largestIsExclusive)
        }
    }

    func isAfter(_ key: BorrowedBytes) -> Bool { smallest.withBorrowedBytes { $0.compare(key) > 0 } }

    func contains(_ key: BorrowedBytes) -> Bool { !isBefore(key) && !isAfter(key) }

    func isBefore(_ other: KeyRange) -> Bool { other.smallest.withBorrowedBytes { isBefore($0) } }

    func overlaps(_ other: KeyRange) -> Bool { !isBefore(other) && !other.isBefore(self) }

    /// Whether it has anything of `lower ..< upper`; nil is no bound.
    func overlaps(lower: [UInt8]?, upper: [UInt8]?) -> Bool {
        if let lower, lower.withBorrowedBytes({ isBefore($0) }) { return false }
        if let upper, !isOrderedBefore(smallest, upper) { return false }
        return true
    }

    /// The smallest range that has all of both.
    func union(_ other: KeyRange) -> KeyRange {
        var result = self
        if isOrderedBefore(other.smallest, smallest) { result.smallest = other.smallest }
        if isOrderedBefore(largest, other.largest) {
            result.largest = other.largest
            result.largestIsExclusive = other.largestIsExclusive
        } else if largest == other.largest {
            result.largestIsExclusive = largestIsExclusive && other.largestIsExclusive
        }
        return result
    }
}

/// What the manifest says about a table, which is also the table's properties block.
struct TableDescription: Hashable, Sendable {
    var number: UInt64 = 0
    var fileID: UInt64 = 0
    var byteCount: UInt64 = 0
    var range = KeyRange(smallest: [], largest: [])
    var entries: UInt64 = 0
    var deletions: UInt64 = 0
    /// Entries that a newer one of the same key stands before: what a later horizon may drop.
    var superseded: UInt64 = 0
    var rangeTombstones: UInt64 = 0
    var smallestVersion: UInt64 = .max
    var largestVersion: UInt64 = 0
    /// The highest mark whose batch is in it.
    var mark: UInt64 = 0
    var blocks: UInt64 = 0
    /// How many first bytes of keys the filter holds beside the keys; 0: none.
    var prefixFilterBytes = 0

    /// The second one has the length of the filter's prefixes; it is written only where there are any.
    static let formatVersions: ClosedRange<UInt8> = 1...2

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = [prefixFilterBytes > 0 ? 2 : 1]
        for number in [
            number, fileID, byteCount, entries, deletions, superseded, rangeTombstones, smallestVersion, largestVersion,
            mark, blocks, range.largestIsExclusive ? 1 : 0,
        ] {
            bytes.append(littleEndian: number)
        }
        if prefixFilterBytes > 0 { bytes.append(littleEndian: UInt64(prefixFilterBytes)) }
        bytes.append(lengthAndBytes: range.smallest)
        bytes.append(lengthAndBytes: range.largest)
        return bytes
    }

    init() {}

    init(decoding bytes: BorrowedBytes, path: String, offset: UInt64) throws(StorageError) {
        var reader = ByteReader(bytes)
        guard let version = reader.byte() else {
            throw StorageError(.corruption, "an empty table description", file: path, offset: offset)
        }
        guard Self.formatVersions.contains(version) else {
            throw StorageError(.unsupportedFormat, "table description format \(version)", file: path, offset: offset)
        }
        var numbers: [UInt64] = []
        let count = version == 1 ? 12 : 13
        while numbers.count < count, let number = reader.uint64() { numbers.append(number) }
        guard numbers.count == count, let smallest = reader.lengthAndBytes(), let largest = reader.lengthAndBytes(),
            reader.remaining == 0
        else { throw StorageError(.corruption, "a table description that does not parse", file: path, offset: offset) }
        number = numbers[0]
        fileID = numbers[1]
        byteCount = numbers[2]
        entries = numbers[3]
        deletions = numbers[4]
        superseded = numbers[5]
        rangeTombstones = numbers[6]
        smallestVersion = numbers[7]
        largestVersion = numbers[8]
        mark = numbers[9]
        blocks = numbers[10]
        range = KeyRange(smallest: smallest, largest: largest, largestIsExclusive: numbers[11] == 1)
        guard version == 1 || (1...64).contains(numbers[12]) else {
            throw StorageError(.corruption, "a table description of no table", file: path, offset: offset)
        }
        prefixFilterBytes = version == 1 ? 0 : Int(numbers[12])
        // What the rest of the engine counts on and adds up.
        guard number < FileName.numberEnd, entries < 1 << 48, rangeTombstones < 1 << 48, blocks <= entries,
            deletions <= entries, superseded <= entries,
            isOrderedBefore(smallest, largest) || (smallest == largest && !range.largestIsExclusive)
        else { throw StorageError(.corruption, "a table description of no table", file: path, offset: offset) }
    }
}

extension RangeTombstones {
    /// The range tombstone block of a table.
    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        Varint.append(UInt64(fragments.count), to: &bytes)
        for fragment in fragments {
            bytes.append(lengthAndBytes: fragment.from)
            bytes.append(lengthAndBytes: fragment.to)
            Varint.append(UInt64(fragment.versions.count), to: &bytes)
            for version in fragment.versions { bytes.append(littleEndian: version) }
        }
        return bytes
    }

    init(decoding bytes: ArraySlice<UInt8>, path: String, offset: UInt64) throws(StorageError) {
        let tombstones = bytes.withBorrowedBytes { view -> [RangeTombstone]? in
            var reader = ByteReader(view)
            guard let count = reader.length() else { return nil }
            var result: [RangeTombstone] = []
            for _ in 0..<count {
                guard let from = reader.lengthAndBytes(), let to = reader.lengthAndBytes(), isOrderedBefore(from, to),
                    let versions = reader.length()
                else { return nil }
                for _ in 0..<versions {
                    guard let version = reader.uint64() else { return nil }
                    result.append(RangeTombstone(from: from, to: to, version: version))
                }
            }
            return reader.remaining == 0 ? result : nil
        }
        guard let tombstones else {
            throw StorageError(.corruption, "range tombstones that do not parse", file: path, offset: offset)
        }
        self.init(tombstones)
    }
}
