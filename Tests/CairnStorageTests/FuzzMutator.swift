import CairnTestSupport

@testable import CairnFiles
@testable import CairnStorage

/// Damages bytes in the ways that parsers get wrong, and makes checksums good again so that what lies behind them is reached.
struct FuzzMutator {
    var random: SeededGenerator

    /// A place in `range`.
    private mutating func place(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }

    /// Changes some bytes of `range`; the size stays.
    mutating func scramble(_ bytes: inout [UInt8], in range: Range<Int>) {
        guard !range.isEmpty else { return }
        for _ in 0...Int.random(in: 0...2, using: &random) {
            // Counts and lengths stand at the ends more often than elsewhere.
            var start = place(range)
            if random.oneIn(4) {
                start = max(range.lowerBound, range.upperBound - [1, 2, 4, 8, 12].randomElement(using: &random)!)
            }
            if random.oneIn(4) {
                start = min(range.upperBound - 1, range.lowerBound + Int.random(in: 0...8, using: &random))
            }
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes[start] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[start] = UInt8(truncatingIfNeeded: random.next())
            case 2: overwrite(&bytes, at: start, with: extreme(), in: range)
            case 3: overwrite(&bytes, at: start, with: [UInt8](repeating: 0xFF, count: 9) + [1], in: range)
            default:
                let from = place(range)
                let piece = Array(bytes[from..<min(range.upperBound, from + Int.random(in: 1...40, using: &random))])
                overwrite(&bytes, at: start, with: piece, in: range)
            }
        }
    }

    /// Changes bytes and, at times, the size: cuts, holes, pieces that appear twice.
    mutating func damage(_ bytes: inout [UInt8]) {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
        case 1 where !bytes.isEmpty:
            let start = place(0..<bytes.count)
            bytes.removeSubrange(start..<min(bytes.count, start + Int.random(in: 1...64, using: &random)))
        case 2 where !bytes.isEmpty:
            let start = place(0..<bytes.count)
            let piece = bytes[start..<min(bytes.count, start + Int.random(in: 1...64, using: &random))]
            bytes.insert(contentsOf: Array(piece), at: place(0..<bytes.count + 1))
        default: scramble(&bytes, in: 0..<bytes.count)
        }
    }

    private mutating func overwrite(_ bytes: inout [UInt8], at start: Int, with new: [UInt8], in range: Range<Int>) {
        let end = min(range.upperBound, start + new.count)
        bytes.replaceSubrange(start..<end, with: new.prefix(end - start))
    }

    /// A number at the border of what fits, in one to eight bytes.
    mutating func extreme() -> [UInt8] {
        let number: UInt64 = [
            0, 1, .max, .max - 1, 1 << 63, (1 << 63) - 1, UInt64(UInt32.max), 1 << 31, (1 << 31) - 1, 1 << 28,
            256 << 20,
        ].randomElement(using: &random)!
        return (0..<[1, 2, 4, 8].randomElement(using: &random)!).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    // MARK: - Behind the checksums

    /// Changes records of a log, or its header, and seals them.
    mutating func resealLog(_ log: [UInt8]) -> [UInt8] {
        guard var header = try? RecordLogHeader(decoding: log.prefix(RecordLogHeader.byteCount), path: "") else {
            return log
        }
        if random.oneIn(12) { header.number = random.oneIn(2) ? .max : header.number &+ 1 }
        var result = header.encoded()
        var place = RecordLogHeader.byteCount
        while let frame = RecordFrame(log[...], at: place, fileID: header.fileID, offset: UInt64(place)) {
            var body = Array(log[place + RecordFrame.byteCount..<place + RecordFrame.byteCount + Int(frame.length)])
            var tag = frame.tag
            if random.oneIn(2) { damage(&body) }
            if random.oneIn(8) { tag = [0, .max, .max - 1, tag &+ 1, tag &- 1].randomElement(using: &random)! }
            if body.isEmpty { body = [0] }
            let start = result.count
            result += [UInt8](repeating: 0, count: RecordFrame.byteCount) + body
            let synced = min(frame.syncedPosition, UInt64(start)) / 8 * 8
            RecordFrame.seal(
                &result, at: start, fileID: header.fileID, offset: UInt64(start), syncedPosition: synced, tag: tag,
                isCompressed: frame.isCompressed)
            if random.oneIn(8) { resealFrame(&result, at: start, header.fileID) }
            place += frame.totalBytes
            if random.oneIn(10) { break }
        }
        return result
    }

    /// Changes the head of the frame at `start` and seals it: lengths beyond the file, synced positions of the future.
    private mutating func resealFrame(_ bytes: inout [UInt8], at start: Int, _ fileID: UInt64) {
        scramble(&bytes, in: start + 4..<start + RecordFrame.byteCount)
        let checksum = CRC32C.checksum(
            bytes[start + 4..<start + RecordFrame.byteCount],
            extending: CRC32C.place(fileID: fileID, offset: UInt64(start)))
        bytes.store(checksum, at: start)
    }

    /// Changes a block or the footer of a table and seals it in its place.
    mutating func resealTable(_ table: [UInt8]) -> [UInt8] {
        var bytes = table
        let footerOffset = table.count - TableFooter.byteCount
        let fileID = table[...].loadUInt64(at: footerOffset)
        guard
            let footer = try? TableFooter(
                decoding: Array(table[footerOffset...]), at: UInt64(footerOffset), fileID: fileID, path: "")
        else { return table }
        for _ in 0...Int.random(in: 0...1, using: &random) {
            guard !random.oneIn(5) else {
                scramble(&bytes, in: footerOffset + 8..<footerOffset + 64)
                let checksum = CRC32C.checksum(
                    bytes[footerOffset..<footerOffset + 64],
                    extending: CRC32C.place(fileID: fileID, offset: UInt64(footerOffset)))
                bytes.store(checksum, at: footerOffset + 64)
                continue
            }
            var handles = [footer.filter, footer.ranges, footer.index, footer.properties]
            handles += Self.dataBlocks(table, footer)
            handles.removeAll { $0.byteCount == 0 }
            let handle = handles.randomElement(using: &random)!
            let start = Int(handle.offset)
            let end = start + Int(handle.byteCount) - 4
            scramble(&bytes, in: start..<(random.oneIn(8) ? end : end - 1))
            let checksum = CRC32C.checksum(
                bytes[start..<end], extending: CRC32C.place(fileID: fileID, offset: handle.offset))
            bytes.store(checksum, at: end)
        }
        return bytes
    }

    private static func dataBlocks(_ table: [UInt8], _ footer: TableFooter) -> [BlockHandle] {
        let start = Int(footer.index.offset)
        let stored = table[start..<start + Int(footer.index.byteCount)]
        guard footer.index.byteCount > 0,
            let index = try? BlockCodec().decode(stored, fileID: footer.fileID, offset: footer.index.offset, path: "")
        else { return [] }
        let iterator = BlockIterator()
        var handles: [BlockHandle] = []
        do throws(StorageError) {
            try iterator.reset(index, path: "", offset: 0)
            try iterator.seekToFirst()
            while iterator.isValid {
                if let handle = TableReader.handle(iterator.lentValue) { handles.append(handle) }
                try iterator.next()
            }
        } catch {}
        return handles
    }
}
