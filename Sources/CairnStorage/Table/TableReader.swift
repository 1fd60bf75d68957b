import CairnFiles

/// An open table: its index, filter and range tombstones in memory, its data blocks through the cache.
final class TableReader: Sendable {
    let path: String
    private let file: any ReadableFile
    private let fileID: UInt64
    private let cache: BlockCache
    private let cacheNumber: UInt64
    private let index: ArraySlice<UInt8>?
    private let indexOffset: UInt64
    private let filter: BloomFilter?
    let tombstones: RangeTombstones
    private let pinnedBytes: Int
    /// About what an open file and this object take.
    private static let handleBytes = 512
    private let codec: BlockCodec

    /// Opens the table that the manifest describes.
    ///
    /// - Throws: ``StorageError`` with code `corruption` if it is not that table, `unsupportedFormat`, `io`.
    init(
        _ description: TableDescription, path: String, fileSystem: any FileSystem, cache: BlockCache
    ) throws(StorageError) {
        self.path = path
        self.cache = cache
        fileID = description.fileID
        cacheNumber = cache.makeTableNumber()
        let file = try mappingFileErrors { () throws(FileError) in try fileSystem.open(path) }
        self.file = file
        guard description.byteCount >= UInt64(TableFooter.byteCount) else {
            throw StorageError(.corruption, "a table of \(description.byteCount) bytes", file: path, offset: 0)
        }
        let footerOffset = description.byteCount - UInt64(TableFooter.byteCount)
        let bytes = try mappingFileErrors { () throws(FileError) in
            try file.read(at: footerOffset, count: TableFooter.byteCount)
        }
        let footer = try TableFooter(decoding: bytes, at: footerOffset, fileID: fileID, path: path)
        let cipher = try mappingFileErrors { () throws(FileError) in
            try fileSystem.cipher(of: footer.cipher, fileID: description.fileID, path: path)
        }
        let codec = BlockCodec(decodedBytesMax: TableBuilder.blockBytesMax, cipher: cipher)
        self.codec = codec
        func block(_ handle: BlockHandle) throws(StorageError) -> ArraySlice<UInt8> {
            try mappingFileErrors { () throws(FileError) in
                try codec.read(from: file, at: handle.offset, count: Int(handle.byteCount), fileID: description.fileID)
            }
        }
        index = footer.index.byteCount > 0 ? try block(footer.index) : nil
        indexOffset = footer.index.offset
        filter =
            footer.filter.byteCount > 0
            ? try BloomFilter(decoding: try block(footer.filter), path: path, offset: footer.filter.offset) : nil
        tombstones =
            footer.ranges.byteCount > 0
            ? try RangeTombstones(decoding: try block(footer.ranges), path: path, offset: footer.ranges.offset) : .empty
        pinnedBytes = (index?.count ?? 0) + (filter?.byteCount ?? 0) + tombstones.byteCount + Self.handleBytes
        cache.pin(pinnedBytes)
    }

    deinit {
        cache.pin(-pinnedBytes)
        try? file.close()
    }

    /// The newest entry of `key` that is not newer than `version`.
    ///
    /// - Parameter recent: The blocks that earlier lookups of the same caller ended in.
    func find(
        _ key: BorrowedBytes, at version: UInt64, mode: ReadMode = .any, recent: RecentBlocks? = nil,
        _ tally: inout LookupTally
    ) throws(StorageError) -> FoundEntry? {
        guard let index else { return nil }
        tally.tables &+= 1
        if let filter, !filter.mayContain(BloomFilter.hash(key)) {
            tally.filtered &+= 1
            return nil
        }
        let entry = try search(index, key, version, mode, recent, &tally)
        if entry == nil, filter != nil { tally.falsePositives &+= 1 }
        return entry
    }

    @inline(__always)
    private func search(
        _ index: ArraySlice<UInt8>, _ key: BorrowedBytes, _ version: UInt64, _ mode: ReadMode,
        _ recent: RecentBlocks?, _ tally: inout LookupTally
    ) throws(StorageError) -> FoundEntry? {
        let handle = try index.withBorrowedBytes { bytes throws(StorageError) -> BlockHandle? in
            guard let view = BlockView(bytes) else { throw malformed(indexOffset) }
            switch view.search(key, version) {
            case .found(let entry, _):
                guard let handle = Self.handle(bytes.dropFirst(entry.valueOffset).prefix(entry.valueCount)) else {
                    throw malformed(indexOffset)
                }
                return handle
            case .behind: return nil
            case .malformed: throw malformed(indexOffset)
            }
        }
        guard let handle else { return nil }
        let block =
            if let known = recent?.block(of: cacheNumber, at: handle.offset) {
                known
            } else if let cached = cache.block(BlockCache.Key(table: cacheNumber, offset: handle.offset)) {
                cached
            } else {
                try readBlock(handle, fillsCache: true, mode: mode, &tally.blockReads)
            }
        recent?.remember(block, of: cacheNumber, at: handle.offset)
        return try block.withBorrowedBytes { bytes throws(StorageError) in
            guard let view = BlockView(bytes) else { throw malformed(handle.offset) }
            switch view.search(key, version) {
            case .found(let entry, let isKey):
                guard isKey else { return nil }
                let start = block.startIndex + entry.valueOffset
                let value = entry.kind == .put ? block[start..<start + entry.valueCount] : nil
                return FoundEntry(version: entry.version, value: value)
            case .behind: return nil
            case .malformed: throw malformed(handle.offset)
            }
        }
    }

    /// Whether there may be entries whose keys begin with `prefix`, which is as long as the table's description says.
    func mayHaveKeys(beginningWith prefix: [UInt8]) -> Bool {
        guard let filter else { return index != nil }
        return filter.mayContain(prefix.withBorrowedBytes { PrefixFilter.hash($0) })
    }

    func makeIterator(fillsCache: Bool, mode: ReadMode = .any) -> TableIterator {
        TableIterator(self, fillsCache: fillsCache, mode: mode)
    }

    /// The index, positioned nowhere; nil if the table has no entries.
    fileprivate func makeIndexIterator() throws(StorageError) -> BlockIterator? {
        guard let index else { return nil }
        let iterator = BlockIterator()
        try iterator.reset(index, path: path, offset: indexOffset)
        return iterator
    }

    static func handle(_ bytes: BorrowedBytes) -> BlockHandle? {
        var reader = ByteReader(bytes)
        guard let offset = reader.varint(), let count = reader.varint(), count <= UInt64(UInt32.max) else { return nil }
        return BlockHandle(offset: offset, byteCount: UInt32(count))
    }

    func malformed(_ offset: UInt64) -> StorageError {
        StorageError(.corruption, "a block that does not parse", file: path, offset: offset)
    }

    /// A decoded data block, from the cache if it is there.
    func block(
        _ handle: BlockHandle, fillsCache: Bool, mode: ReadMode = .any
    ) throws(StorageError) -> ArraySlice<UInt8> {
        if let block = cache.block(BlockCache.Key(table: cacheNumber, offset: handle.offset)) { return block }
        var reads: UInt64 = 0
        return try readBlock(handle, fillsCache: fillsCache, mode: mode, &reads)
    }

    private func readBlock(
        _ handle: BlockHandle, fillsCache: Bool, mode: ReadMode, _ reads: inout UInt64
    ) throws(StorageError) -> ArraySlice<UInt8> {
        if mode == .cacheOnly {
            throw StorageError(.wouldNeedDisk, "the block is not in the cache", file: path, offset: handle.offset)
        }
        // Data blocks stand before the index. A place that is not in the file would be a lot of memory to read.
        guard handle.ends(by: indexOffset) else { throw malformed(indexOffset) }
        reads &+= 1
        let block = try mappingFileErrors { () throws(FileError) in
            try codec.read(from: file, at: handle.offset, count: Int(handle.byteCount), fileID: fileID)
        }
        if fillsCache { cache.insert(block, BlockCache.Key(table: cacheNumber, offset: handle.offset)) }
        return block
    }

    /// Reads every block and says which entry, if any, is out of order: what a scrub does. O(table).
    func verify() throws(StorageError) {
        let iterator = makeIterator(fillsCache: false)
        var previous: (key: [UInt8], version: UInt64)?
        try iterator.seekToFirst()
        while iterator.isValid {
            if let previous {
                let order = previous.key.withBorrowedBytes { $0.compare(iterator.key) }
                guard order < 0 || (order == 0 && previous.version > iterator.version) else {
                    throw StorageError(.corruption, "entries out of order", file: path)
                }
            }
            previous = (iterator.key.copied(), iterator.version)
            try iterator.next()
        }
    }
}

/// Walks a table: the index leads to a block, the block to an entry.
final class TableIterator: InternalIterator {
    private let reader: TableReader
    private let fillsCache: Bool
    private var mode: ReadMode
    private var index: BlockIterator?
    private let data = BlockIterator()
    private var hasBlock = false
    private var blockOffset = UInt64.max

    init(_ reader: TableReader, fillsCache: Bool, mode: ReadMode) {
        self.reader = reader
        self.fillsCache = fillsCache
        self.mode = mode
    }

    override func value() -> ArraySlice<UInt8> { data.value() }

    override func seekToFirst() throws(StorageError) {
        guard let index = try openIndex() else { return }
        try index.seekToFirst()
        guard try enterBlock() else { return }
        try data.seekToFirst()
        show()
    }

    override func seekToLast() throws(StorageError) {
        guard let index = try openIndex() else { return }
        try index.seekToLast()
        guard try enterBlock() else { return }
        try data.seekToLast()
        show()
    }

    override func seek(to target: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        guard let index = try openIndex() else { return }
        try index.seek(to: target, version)
        guard try enterBlock() else { return }
        try data.seek(to: target, version)
        if !data.isValid { return try enterNextBlock() }
        show()
    }

    override func next() throws(StorageError) {
        try data.next()
        if data.isValid { show() } else { try enterNextBlock() }
    }

    override func previous() throws(StorageError) {
        try data.previous()
        if !data.isValid {
            try index!.previous()
            guard try enterBlock() else { return }
            try data.seekToLast()
        }
        show()
    }

    override func allowDisk() { mode = .any }

    private func openIndex() throws(StorageError) -> BlockIterator? {
        isValid = false
        if index == nil { index = try reader.makeIndexIterator() }
        return index
    }

    private func enterNextBlock() throws(StorageError) {
        try index!.next()
        guard try enterBlock() else { return }
        try data.seekToFirst()
        show()
    }

    /// Goes to the block that the index stands at; false if it stands at none.
    private func enterBlock() throws(StorageError) -> Bool {
        isValid = false
        guard let index, index.isValid else { return false }
        guard let handle = TableReader.handle(index.lentValue) else { throw reader.malformed(0) }
        if handle.offset != blockOffset {
            blockOffset = .max
            try data.reset(
                try reader.block(handle, fillsCache: fillsCache, mode: mode), path: reader.path, offset: handle.offset)
            blockOffset = handle.offset
        }
        return true
    }

    @inline(__always)
    private func show() {
        show(data)
    }
}
