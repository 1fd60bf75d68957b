/// A finished block, read in place.
///
/// Blocks have passed their checksum, so one that does not parse was written wrongly; it still gives an error, never a
/// read beyond its end.
struct BlockView {
    /// The block's bytes, kept alive by whoever holds the view.
    let bytes: BorrowedBytes
    let restartCount: Int
    /// Where the entries end and the restarts begin.
    let entriesEnd: Int

    /// Nil if the end of the block makes no sense.
    @inline(__always)
    init?(_ bytes: BorrowedBytes) {
        guard bytes.count >= 8 else { return nil }
        // Safety: four bytes are there.
        let restartCount = unsafe Int(
            UInt32(littleEndian: bytes.base.loadUnaligned(fromByteOffset: bytes.count &- 4, as: UInt32.self)))
        guard restartCount > 0, restartCount <= (bytes.count &- 4) / 4 else { return nil }
        self.bytes = bytes
        self.restartCount = restartCount
        entriesEnd = bytes.count &- 4 &- 4 &* restartCount
    }

    /// One entry's parts; the key lacks the bytes that it shares with the one before.
    struct Entry {
        var shared: Int
        var suffix: BorrowedBytes
        var version: UInt64
        var kind: EntryKind
        var valueOffset: Int
        var valueCount: Int
        var end: Int { valueOffset &+ valueCount }
    }

    @inline(__always)
    func restart(_ index: Int) -> Int {
        // Safety: the restarts fill the bytes from `entriesEnd` on, as the initializer checked.
        unsafe Int(
            UInt32(littleEndian: bytes.base.loadUnaligned(fromByteOffset: entriesEnd &+ 4 &* index, as: UInt32.self)))
    }

    /// The entry at `offset`, or nil if it does not fit in the block.
    @inline(__always)
    func entry(at offset: Int) -> Entry? {
        guard offset >= 0, offset < entriesEnd else { return nil }
        var reader = ByteReader(bytes.prefix(entriesEnd), from: offset)
        guard let shared = reader.varint(), let suffixCount = reader.varint(), let valueCount = reader.varint(),
            shared <= UInt64(Int32.max), suffixCount <= UInt64(reader.remaining),
            let suffix = reader.take(Int(suffixCount)), reader.remaining >= 9
        else { return nil }
        let place = reader.offset
        // Safety: nine bytes are there.
        let inverted = unsafe UInt64(bigEndian: bytes.base.loadUnaligned(fromByteOffset: place, as: UInt64.self))
        guard let kind = EntryKind(rawValue: bytes[place &+ 8]), valueCount <= UInt64(reader.remaining &- 9) else {
            return nil
        }
        return Entry(
            shared: Int(shared), suffix: suffix, version: ~inverted, kind: kind, valueOffset: place &+ 9,
            valueCount: Int(valueCount))
    }

    enum Search {
        case found(Entry, isKey: Bool)
        /// All entries come before the target.
        case behind
        case malformed
    }

    /// Negative, zero or positive as the whole-key entry comes before, at or after the target.
    @inline(__always)
    private static func compare(_ entry: Entry, _ key: BorrowedBytes, _ version: UInt64) -> Int {
        let order = entry.suffix.compare(key)
        if order != 0 { return order }
        return entry.version == version ? 0 : (entry.version > version ? -1 : 1)
    }

    /// The last restart whose entry comes before the target, or the first restart; nil if the block is malformed.
    @inline(__always)
    func restart(before key: BorrowedBytes, _ version: UInt64) -> Int? {
        var low = 0
        var high = restartCount &- 1
        while low < high {
            let middle = (low &+ high &+ 1) >> 1
            guard let entry = entry(at: restart(middle)) else { return nil }
            if Self.compare(entry, key, version) < 0 { low = middle } else { high = middle &- 1 }
        }
        return low
    }

    /// The first entry at or after `key` at `version`, found without putting a key together.
    ///
    /// While entries come before the target, `matched` is how many first bytes the last one had in common with it. The
    /// next entry shares some bytes with that one: more than `matched`, and it differs from the target where the last one
    /// did, so it comes before too; fewer, and it has grown where the target has not, so it comes after; as many, and its
    /// own bytes decide.
    func search(_ key: BorrowedBytes, _ version: UInt64) -> Search {
        guard let start = restart(before: key, version) else { return .malformed }
        var offset = restart(start)
        var matched = 0
        while offset < entriesEnd {
            guard let entry = entry(at: offset) else { return .malformed }
            offset = entry.end
            if entry.shared > matched { continue }
            if entry.shared < matched {
                // An entry that holds its whole key says nothing by what it shares.
                guard entry.shared == 0 else { return .found(entry, isKey: false) }
                matched = 0
            }
            let rest = key.dropFirst(matched)
            let common = entry.suffix.commonPrefixLength(with: rest)
            if common == entry.suffix.count, common == rest.count {
                if entry.version <= version { return .found(entry, isKey: true) }
            } else if common == rest.count || (common < entry.suffix.count && entry.suffix[common] > rest[common]) {
                return .found(entry, isKey: false)
            }
            matched &+= common
        }
        return .behind
    }
}
