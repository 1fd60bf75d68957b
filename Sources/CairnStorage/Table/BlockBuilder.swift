/// Builds one block of entries: prefix-compressed keys, a whole one every so often, and at the end where those are.
///
/// The layout is on <doc:Formats>. Entries are added in the tree's order. The buffers are reused from block to block.
struct BlockBuilder {
    private(set) var bytes: [UInt8] = []
    private var restarts: [UInt32] = []
    private let lastKey = KeyBuffer()
    private var sinceRestart = 0
    private let restartInterval: Int
    private(set) var count = 0

    init(restartInterval: Int) {
        self.restartInterval = restartInterval
    }

    var isEmpty: Bool { count == 0 }

    /// What the block will take, finished.
    var byteCount: Int { bytes.count + 4 * restarts.count + 4 }

    mutating func add(_ key: BorrowedBytes, _ version: UInt64, _ kind: EntryKind, _ value: BorrowedBytes) {
        var shared = 0
        if count == 0 || sinceRestart == restartInterval {
            restarts.append(UInt32(bytes.count))
            sinceRestart = 0
        } else {
            shared = lastKey.view.commonPrefixLength(with: key)
        }
        sinceRestart += 1
        count += 1
        let suffix = key.dropFirst(shared)
        if shared < 0x80, suffix.count < 0x80, value.count < 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: shared))
            bytes.append(UInt8(truncatingIfNeeded: suffix.count))
            bytes.append(UInt8(truncatingIfNeeded: value.count))
        } else {
            Varint.append(UInt64(shared), to: &bytes)
            Varint.append(UInt64(suffix.count), to: &bytes)
            Varint.append(UInt64(value.count), to: &bytes)
        }
        unsafe bytes.append(contentsOf: suffix.buffer)
        unsafe withUnsafeBytes(of: (~version).bigEndian) { unsafe bytes.append(contentsOf: $0) }
        bytes.append(kind.rawValue)
        unsafe bytes.append(contentsOf: value.buffer)
        lastKey.replace(keeping: shared, with: suffix)
    }

    /// Adds the places of the whole keys; the block is then ``bytes``, until ``reset()``.
    mutating func finish() {
        for restart in restarts { bytes.append(littleEndian: restart) }
        bytes.append(littleEndian: UInt32(restarts.count))
    }

    mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        restarts.removeAll(keepingCapacity: true)
        sinceRestart = 0
        count = 0
    }
}
