/// Walks the entries of one block, putting their keys together in a buffer that is reused from block to block.
final class BlockIterator: InternalIterator {
    private var block: ArraySlice<UInt8> = []
    private var view: BlockView?
    private let keyBuffer = KeyBuffer()
    private var entryOffset = 0
    private var nextOffset = 0
    private var valueOffset = 0
    private var valueCount = 0
    /// For errors: the file and where the block stands in it.
    private var path = ""
    private var blockOffset: UInt64 = 0

    /// Goes on in another block, standing on nothing.
    func reset(_ block: ArraySlice<UInt8>, path: String, offset: UInt64) throws(StorageError) {
        self.block = block
        self.path = path
        blockOffset = offset
        isValid = false
        // Safety: the slice is kept in `self.block` as long as the view is in use, and nothing changes it.
        view = block.withBorrowedBytes { BlockView($0) }
        if view == nil { throw malformed() }
    }

    private func malformed() -> StorageError {
        isValid = false
        return StorageError(.corruption, "a block that does not parse", file: path, offset: blockOffset)
    }

    override func value() -> ArraySlice<UInt8> {
        let start = block.startIndex + valueOffset
        return block[start..<start + valueCount]
    }

    override func seekToFirst() throws(StorageError) { try read(at: 0) }

    override func seekToLast() throws(StorageError) {
        try read(at: view!.restart(view!.restartCount - 1))
        while isValid, nextOffset < view!.entriesEnd { try read(at: nextOffset) }
    }

    override func seek(to target: BorrowedBytes, _ version: UInt64) throws(StorageError) {
        let view = view!
        guard let restart = view.restart(before: target, version) else { throw malformed() }
        var offset = view.restart(restart)
        // As in `BlockView.search`: how much the entry before has in common with the target, before which it comes.
        var matched = 0
        while offset < view.entriesEnd {
            guard let entry = view.entry(at: offset), entry.shared <= keyBuffer.count else { throw malformed() }
            if entry.shared > matched {
                keyBuffer.replace(keeping: entry.shared, with: entry.suffix)
                offset = entry.end
                continue
            }
            if entry.shared < matched {
                guard entry.shared == 0 else { return stand(at: entry, offset, view) }
                matched = 0
            }
            let rest = target.dropFirst(matched)
            let common = entry.suffix.commonPrefixLength(with: rest)
            if common == entry.suffix.count, common == rest.count {
                if entry.version <= version { return stand(at: entry, offset, view) }
            } else if common == rest.count || (common < entry.suffix.count && entry.suffix[common] > rest[common]) {
                return stand(at: entry, offset, view)
            }
            matched &+= common
            keyBuffer.replace(keeping: entry.shared, with: entry.suffix)
            offset = entry.end
        }
        isValid = false
    }

    override func next() throws(StorageError) { try read(at: nextOffset) }

    override func previous() throws(StorageError) {
        let target = entryOffset
        guard target > 0 else {
            isValid = false
            return
        }
        let view = view!
        // The last restart before the current entry.
        var low = 0
        var high = view.restartCount - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if view.restart(middle) < target { low = middle } else { high = middle - 1 }
        }
        try read(at: view.restart(low))
        while isValid, nextOffset < target { try read(at: nextOffset) }
        // Restarts that are not in order would let it stand still for ever.
        guard isValid, entryOffset < target else { throw malformed() }
    }

    @inline(__always)
    private func read(at offset: Int) throws(StorageError) {
        let view = view!
        guard offset < view.entriesEnd else {
            isValid = false
            return
        }
        guard let entry = view.entry(at: offset), entry.shared <= keyBuffer.count else { throw malformed() }
        stand(at: entry, offset, view)
    }

    @inline(__always)
    private func stand(at entry: BlockView.Entry, _ offset: Int, _ view: BlockView) {
        keyBuffer.replace(keeping: entry.shared, with: entry.suffix)
        entryOffset = offset
        nextOffset = entry.end
        valueOffset = entry.valueOffset
        valueCount = entry.valueCount
        key = keyBuffer.view
        version = entry.version
        kind = entry.kind
        // Safety: `entry` lies within the block, which `self.block` keeps.
        lentValue = unsafe BorrowedBytes(base: view.bytes.base + valueOffset, count: valueCount)
        isValid = true
    }
}
