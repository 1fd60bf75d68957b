import CCRC32C

/// The 24 bytes before each record's body.
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 4 | CRC-32C of file id, offset of this frame (u64 each), then bytes 4..<24 |
/// | 4 | 4 | length of the stored body, at least 1; the highest bit says that it is compressed |
/// | 8 | 4 | CRC-32C of the body |
/// | 12 | 4 | eighths of the position up to which the file was synced when this record was written |
/// | 16 | 8 | tag, the owner's |
///
/// All numbers are little-endian. Frames start at multiples of eight; zeros fill up after the body. The body's checksum is
/// bound to its place through the header's.
///
/// The synced position is what tells a torn tail from damage: bytes below it were on the disk before this record was
/// begun, so if they are bad now, they did not merely fail to arrive.
struct RecordFrame: Hashable {
    static let byteCount = 24
    static let alignment = 8
    /// The most bytes of a body, a bound for hostile or damaged lengths.
    static let bodyBytesMax = 256 << 20
    private static let compressedFlag: UInt32 = 1 << 31

    /// Of the body as it is stored.
    var length: UInt32
    var isCompressed: Bool
    var bodyChecksum: UInt32
    var syncedEighths: UInt32
    var tag: UInt64

    var syncedPosition: UInt64 { UInt64(syncedEighths) * 8 }

    /// Header, body and padding of a record whose body has `length` bytes.
    @inline(__always)
    static func totalBytes(bodyBytes length: Int) -> Int {
        (byteCount + length + alignment - 1) & ~(alignment - 1)
    }

    var totalBytes: Int { Self.totalBytes(bodyBytes: Int(length)) }

    /// The first byte of a record may not stand here or behind: its eighth would not fit a nonce.
    static let sealedOffsetEnd: UInt64 = 8 << 31

    /// What the body at `offset` is sealed with: its tag, its place in eighths, and in the highest bit whether it is
    /// compressed, so that none of them can be changed.
    static func nonce(tag: UInt64, offset: UInt64, isCompressed: Bool) -> FileCipher.Nonce {
        FileCipher.Nonce(tag, UInt32(truncatingIfNeeded: offset / 8) | (isCompressed ? 1 << 31 : 0))
    }

    /// Fills in the frame at `start` of `buffer`, whose body is everything after the frame's header; adds the padding.
    static func seal(
        _ buffer: inout [UInt8], at start: Int, fileID: UInt64, offset: UInt64, syncedPosition: UInt64, tag: UInt64,
        isCompressed: Bool
    ) {
        let length = buffer.count - start - byteCount
        precondition(length > 0 && length <= bodyBytesMax + FileCipher.tagBytes, "a record of \(length) bytes")
        for _ in 0..<(totalBytes(bodyBytes: length) - byteCount - length) { buffer.append(0) }
        let place = CRC32C.place(fileID: fileID, offset: offset)
        unsafe buffer.withUnsafeMutableBytes { bytes in
            // Safety: header and body were appended from `start` on, as the precondition shows.
            let frame = unsafe bytes.baseAddress! + start
            let bodyChecksum = unsafe cairn_crc32c(0, frame + byteCount, length)
            let word = UInt32(length) | (isCompressed ? compressedFlag : 0)
            unsafe frame.storeBytes(of: word.littleEndian, toByteOffset: 4, as: UInt32.self)
            unsafe frame.storeBytes(of: bodyChecksum.littleEndian, toByteOffset: 8, as: UInt32.self)
            unsafe frame.storeBytes(
                of: UInt32(syncedPosition / 8).littleEndian, toByteOffset: 12, as: UInt32.self)
            unsafe frame.storeBytes(of: tag.littleEndian, toByteOffset: 16, as: UInt64.self)
            let checksum = unsafe cairn_crc32c(place, frame + 4, byteCount - 4)
            unsafe frame.storeBytes(of: checksum.littleEndian, toByteOffset: 0, as: UInt32.self)
        }
    }

    /// The frame whose header stands at `index` of `bytes`, if it is one that was written at `offset` of file `fileID`.
    init?(_ bytes: ArraySlice<UInt8>, at index: Int, fileID: UInt64, offset: UInt64) {
        guard index + Self.byteCount <= bytes.endIndex else { return nil }
        let word = bytes.loadUInt32(at: index + 4)
        length = word & ~Self.compressedFlag
        isCompressed = word & Self.compressedFlag != 0
        syncedEighths = bytes.loadUInt32(at: index + 12)
        // Cheap looks first: most places where a search looks are not frames.
        guard length > 0, length <= UInt32(Self.bodyBytesMax + FileCipher.tagBytes), UInt64(syncedEighths) * 8 <= offset
        else { return nil }
        let checksum = CRC32C.checksum(
            bytes[index + 4..<index + Self.byteCount], extending: CRC32C.place(fileID: fileID, offset: offset))
        guard bytes.loadUInt32(at: index) == checksum else { return nil }
        bodyChecksum = bytes.loadUInt32(at: index + 8)
        tag = bytes.loadUInt64(at: index + 16)
    }

    /// The frame that `bytes` held before one of their bits was flipped, if that explains them.
    init?(repairing bytes: ArraySlice<UInt8>, fileID: UInt64, offset: UInt64) {
        guard bytes.count >= Self.byteCount, bytes.contains(where: { $0 != 0 }) else { return nil }
        var candidate = Array(bytes.prefix(Self.byteCount))
        for bit in 0..<Self.byteCount * 8 {
            candidate[bit / 8] ^= 1 << UInt8(bit % 8)
            if let frame = RecordFrame(candidate[...], at: 0, fileID: fileID, offset: offset) {
                self = frame
                return
            }
            candidate[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        return nil
    }
}
