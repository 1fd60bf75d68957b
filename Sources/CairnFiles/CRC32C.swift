import CCRC32C

/// The checksum of every record and block: CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction.
///
/// About 9 GB/s on one core of an x86-64 with SSE 4.2.
public enum CRC32C {
    /// The checksum of `bytes`, or of the bytes that gave `seed` followed by them.
    public static func checksum(_ bytes: RawSpan, extending seed: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBytes { unsafe cairn_crc32c(seed, $0.baseAddress, $0.count) }
    }

    public static func checksum(_ bytes: [UInt8], extending seed: UInt32 = 0) -> UInt32 {
        unsafe checksum(bytes.span.bytes, extending: seed)
    }

    public static func checksum(_ bytes: ArraySlice<UInt8>, extending seed: UInt32 = 0) -> UInt32 {
        unsafe checksum(bytes.span.bytes, extending: seed)
    }

    /// The checksum to extend with bytes that stand at `offset` of the file `fileID`: that of both numbers, each as
    /// eight little-endian bytes.
    ///
    /// With it in front, good bytes in the wrong place are bad bytes.
    public static func place(fileID: UInt64, offset: UInt64) -> UInt32 {
        unsafe withUnsafeBytes(of: (fileID.littleEndian, offset.littleEndian)) {
            unsafe cairn_crc32c(0, $0.baseAddress, $0.count)
        }
    }
}
