import CairnTestSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A file or directory of the simulated disk: what programs see, and what would be left of it after a power cut.
struct SimulatedInode: Sendable {
    static let sectorBytes = 512

    var isDirectory = false
    /// A directory's names as programs see them, and as they are on the disk.
    var entries: [String: Int] = [:]
    var durableEntries: [String: Int] = [:]

    /// A file's bytes as programs see them.
    var bytes: [UInt8] = []
    /// What the disk holds in each sector that was written and not synced.
    var unsynced: [Int: [UInt8]] = [:]
    /// The same for sectors whose sync failed: later syncs know nothing of them.
    var doomed: [Int: [UInt8]] = [:]
    var durableSize = 0

    func sector(_ number: Int) -> [UInt8] {
        let start = number * Self.sectorBytes
        let end = min(start + Self.sectorBytes, bytes.count)
        var content = start < end ? Array(bytes[start..<end]) : []
        content.append(contentsOf: repeatElement(0, count: Self.sectorBytes - content.count))
        return content
    }

    mutating func setSector(_ number: Int, to content: [UInt8]) {
        let start = number * Self.sectorBytes
        let end = min(start + Self.sectorBytes, bytes.count)
        if start < end { bytes.replaceSubrange(start..<end, with: content.prefix(end - start)) }
    }

    /// Remembers what the disk holds in the sectors of `range` before they change.
    mutating func dirty(_ range: Range<Int>, _ random: inout SeededGenerator) {
        guard !range.isEmpty else { return }
        for number in range.lowerBound / Self.sectorBytes...(range.upperBound - 1) / Self.sectorBytes {
            if let old = doomed.removeValue(forKey: number) {
                unsynced[number] = old
            } else if unsynced[number] == nil {
                unsynced[number] = sector(number)
            } else if random.oneIn(4) {
                // The kernel may write a page back between two changes of it.
                unsynced[number] = sector(number)
            }
        }
    }

    mutating func write(_ new: [UInt8], at offset: Int, _ random: inout SeededGenerator) {
        // Zeros behind the end are what is there already, so that only the size can be lost. Logs write a mebibyte of
        // them at a time; to remember its sectors would cost more than everything else.
        if offset >= bytes.count, Self.isAllZero(new) {
            bytes += [UInt8](repeating: 0, count: offset + new.count - bytes.count)
            return
        }
        dirty(offset..<offset + new.count, &random)
        let end = offset + new.count
        if end > bytes.count { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
        bytes.replaceSubrange(offset..<end, with: new)
    }

    private static func isAllZero(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress, !bytes.isEmpty else { return true }
            return bytes[0] == 0 && memcmp(start, start + 1, bytes.count - 1) == 0
        }
    }

    mutating func truncate(to size: Int, _ random: inout SeededGenerator) {
        if size < bytes.count {
            dirty(size..<bytes.count, &random)
            bytes.removeLast(bytes.count - size)
        } else {
            bytes.append(contentsOf: repeatElement(0, count: size - bytes.count))
        }
    }

    mutating func synchronize() {
        unsynced.removeAll()
        durableSize = bytes.count
    }

    mutating func failToSynchronize() {
        doomed.merge(unsynced) { first, _ in first }
        unsynced.removeAll()
    }

    /// Leaves what a power cut leaves: of the unsynced sectors and of a changed size, some.
    mutating func losePower(_ random: inout SeededGenerator) {
        // Some cuts take everything, some nothing, most a part.
        let mood = random.next() % 8
        func isKept(_ random: inout SeededGenerator) -> Bool { mood == 0 ? false : mood == 1 ? true : random.oneIn(2) }
        if bytes.count != durableSize, !isKept(&random) {
            if durableSize < bytes.count {
                bytes.removeLast(bytes.count - durableSize)
            } else {
                bytes.append(contentsOf: repeatElement(0, count: durableSize - bytes.count))
            }
        }
        for number in unsynced.keys.sorted() where !isKept(&random) { setSector(number, to: unsynced[number]!) }
        for number in doomed.keys.sorted() where !isKept(&random) { setSector(number, to: doomed[number]!) }
        unsynced.removeAll()
        doomed.removeAll()
        durableSize = bytes.count
    }
}
