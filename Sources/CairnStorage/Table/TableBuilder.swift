import CairnFiles

/// Writes one table: data blocks as entries come, and at the end filter, range tombstones, index, properties and footer.
///
/// The file is written once, front to back, and synced once. A builder that failed leaves a file that nothing names.
struct TableBuilder {
    private let file: any WritableFile
    private let options: EngineOptions
    private let bloomBitsPerKey: Int
    private let codec: BlockCodec
    private let rawCodec: BlockCodec
    private let sealer: FileCipher.Sealer?
    private var description = TableDescription()
    private let rate: RateLimit?

    private var block: BlockBuilder
    private var index = BlockBuilder(restartInterval: 1)
    private var output: [UInt8] = []
    private var written: UInt64 = 0
    private var hashes: [UInt64] = []
    /// Of the last beginning that the filter was given: in key order equal ones are neighbours.
    private var lastPrefixHash: UInt64?

    private var hasEntries = false
    private var lastKey: [UInt8] = []
    private var lastVersion: UInt64 = 0
    /// The finished block whose index entry waits for the first key after it.
    private var pendingHandle: BlockHandle?

    private static let writeBytes = 512 << 10
    /// What a table's blocks may decode to: a value's limit and its key's, and the room around them.
    static let blockBytesMax = WriteBatch.valueBytesMax + 4 * WriteBatch.keyBytesMax

    /// - Parameters:
    ///   - level: Where the table will stand, which decides how dear its bytes are.
    ///   - path: Where the file is made; nil is its place in `directory`.
    init(
        number: UInt64, level: Int, directory: String, path: String? = nil, fileSystem: any FileSystem,
        options: EngineOptions
    ) throws(FileError) {
        self.options = options
        rate = level == 0 ? nil : options.compactionRate
        bloomBitsPerKey = level == 0 ? options.level0BloomBitsPerKey : options.bloomBitsPerKey
        block = BlockBuilder(restartInterval: options.restartInterval)
        description.prefixFilterBytes = bloomBitsPerKey > 0 ? options.prefixFilterBytes : 0
        description.number = number
        description.fileID = fileSystem.makeFileID()
        sealer = fileSystem.keyring?.makeCipher(fileID: description.fileID).makeSealer()
        codec = BlockCodec(
            compression: level < options.uncompressedLevels ? .none : options.compression,
            decodedBytesMax: Self.blockBytesMax)
        rawCodec = BlockCodec(compression: .none, decodedBytesMax: Self.blockBytesMax)
        let path = path ?? FileName.table(number).path(in: directory)
        file = options.tablesPassPageCache ? try fileSystem.createStream(path) : try fileSystem.create(path)
        output.reserveCapacity(Self.writeBytes + 64 << 10)
    }

    var entryCount: UInt64 { description.entries }

    /// What the table takes so far.
    var byteCount: UInt64 { written + UInt64(output.count + block.byteCount) }

    /// Adds an entry; keys ascend, versions of a key descend.
    mutating func add(
        _ key: BorrowedBytes, _ version: UInt64, _ kind: EntryKind, _ value: BorrowedBytes, isSuperseded: Bool
    ) throws(FileError) {
        if let handle = pendingHandle {
            addToIndex(handle, next: key)
            pendingHandle = nil
        }
        let isNewKey = !hasEntries || !lastKey.withBorrowedBytes { $0.isEqual(to: key) }
        if isNewKey {
            if !hasEntries { description.range.smallest = key.copied() }
            if bloomBitsPerKey > 0 {
                hashes.append(BloomFilter.hash(key))
                if description.prefixFilterBytes > 0 { addPrefix(of: key) }
            }
            lastKey.removeAll(keepingCapacity: true)
            unsafe lastKey.append(contentsOf: key.buffer)
        }
        hasEntries = true
        lastVersion = version
        block.add(key, version, kind, value)
        description.entries += 1
        if kind == .delete { description.deletions += 1 }
        if isSuperseded { description.superseded += 1 }
        description.smallestVersion = min(description.smallestVersion, version)
        description.largestVersion = max(description.largestVersion, version)
        if block.byteCount >= options.blockBytes { try finishBlock() }
    }

    private mutating func addPrefix(of key: BorrowedBytes) {
        guard key.count >= description.prefixFilterBytes else { return }
        let hash = PrefixFilter.hash(key.prefix(description.prefixFilterBytes))
        guard hash != lastPrefixHash else { return }
        lastPrefixHash = hash
        hashes.append(hash)
    }

    private mutating func finishBlock() throws(FileError) {
        block.finish()
        pendingHandle = try write(block.bytes, codec)
        description.blocks += 1
        block.reset()
    }

    /// An index entry is a key at or after the last of its block and before the first of the next, as short as can be.
    private mutating func addToIndex(_ handle: BlockHandle, next: BorrowedBytes?) {
        var value: [UInt8] = []
        Varint.append(handle.offset, to: &value)
        Varint.append(UInt64(handle.byteCount), to: &value)
        lastKey.withBorrowedBytes { last in
            value.withBorrowedBytes { value in
                guard let next else { return index.add(last, 0, .put, value) }
                let common = last.commonPrefixLength(with: next)
                if common == last.count, common == next.count {
                    // The same key goes on with older versions.
                    index.add(last, lastVersion, .put, value)
                } else if common + 1 < next.count, common < last.count {
                    // One byte more than what they share, taken from the next key, which is longer still.
                    index.add(next.prefix(common + 1), 0, .put, value)
                } else {
                    index.add(last, 0, .put, value)
                }
            }
        }
    }

    private mutating func write(_ bytes: [UInt8], _ codec: BlockCodec) throws(FileError) -> BlockHandle {
        let offset = written + UInt64(output.count)
        let start = output.count
        unsafe codec.encode(
            bytes.span.bytes, fileID: description.fileID, offset: offset, sealer: sealer, appendingTo: &output)
        let handle = BlockHandle(offset: offset, byteCount: UInt32(output.count - start))
        if output.count >= Self.writeBytes { try flushOutput() }
        return handle
    }

    private mutating func flushOutput() throws(FileError) {
        try file.write(output, at: written)
        rate?.pass(output.count)
        written += UInt64(output.count)
        output.removeAll(keepingCapacity: true)
    }

    /// Writes the rest, syncs the file, and returns what the manifest has to know.
    mutating func finish(tombstones: RangeTombstones, mark: UInt64) throws(FileError) -> TableDescription {
        if !block.isEmpty { try finishBlock() }
        if let handle = pendingHandle { addToIndex(handle, next: nil) }
        var footer = TableFooter(fileID: description.fileID)
        footer.cipher = sealer?.label ?? .none
        if !hashes.isEmpty {
            footer.filter = try write(
                BloomFilter.encoded(hashes, bitsPerKey: bloomBitsPerKey), rawCodec)
        }
        description.range.largest = lastKey
        if !tombstones.isEmpty {
            footer.ranges = try write(tombstones.encoded(), codec)
            let covered = KeyRange(
                smallest: tombstones.fragments.first!.from, largest: tombstones.fragments.last!.to,
                largestIsExclusive: true)
            description.range = hasEntries ? description.range.union(covered) : covered
            for tombstone in tombstones.tombstones {
                description.rangeTombstones += 1
                description.smallestVersion = min(description.smallestVersion, tombstone.version)
                description.largestVersion = max(description.largestVersion, tombstone.version)
            }
        }
        if !index.isEmpty {
            index.finish()
            footer.index = try write(index.bytes, codec)
        }
        description.mark = mark
        footer.properties = try write(description.encoded(), codec)
        output += footer.encoded(at: written + UInt64(output.count))
        try flushOutput()
        try file.synchronizeData()
        description.byteCount = written
        try file.close()
        return description
    }
}
