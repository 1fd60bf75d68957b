import CairnFiles
import CairnStorage

/// What a log entry of a group carries: a batch of physical writes and the version at which they take effect.
///
/// ```
/// version u64 LE ‖ ceiling u64 LE ‖ codec u8 ‖ WriteBatch.encoded, compressed or not
/// ```
///
/// The low seven bits of the codec are 0 for raw and 1 for snappy; the high bit says that the batch writes the system's
/// space beyond session records, so that a replica looks through those batches alone.
struct ProposalPayload {
    /// When the batch takes effect; above every version before it in the log.
    var version: Version
    /// No later version of this group, under any leader, is at or below this.
    var ceiling: Version
    var touchesCatalog: Bool
    var batch: WriteBatch

    static let headerBytes = 17
    /// Smaller batches go raw: the time would be wasted.
    static let compressedBytesMin = 512
    /// What a compressed batch may claim to be; a proposal is far smaller.
    static let batchBytesMax = 256 << 20

    private static let snappy: UInt8 = 1
    private static let catalog: UInt8 = 0x80

    func encoded() -> [UInt8] {
        let raw = batch.encodedSlice
        var writer = ByteWriter(reserving: Self.headerBytes + Snappy.compressedCountMax(of: raw.count))
        writer.append(version.rawValue)
        writer.append(ceiling.rawValue)
        let flag = touchesCatalog ? Self.catalog : 0
        writer.append(flag)
        if raw.count >= Self.compressedBytesMin {
            // Safety: the span of a live slice, read only.
            unsafe Snappy.compress(raw.span.bytes, appendingTo: &writer.bytes)
            if writer.bytes.count - Self.headerBytes <= raw.count - raw.count / 8 {
                writer.bytes[Self.headerBytes - 1] = Self.snappy | flag
                return writer.bytes
            }
            writer.bytes.removeSubrange(Self.headerBytes...)
        }
        writer.append(raw)
        return writer.bytes
    }

    init(version: Version, ceiling: Version, touchesCatalog: Bool, batch: WriteBatch) {
        self.version = version
        self.ceiling = ceiling
        self.touchesCatalog = touchesCatalog
        self.batch = batch
    }

    /// - Throws: ``DatabaseError`` with code `corruption`: committed bytes that no leader writes.
    init(decoding bytes: ArraySlice<UInt8>) throws(DatabaseError) {
        do {
            var reader = ByteReader(bytes)
            version = Version(rawValue: try reader.integer(UInt64.self))
            ceiling = Version(rawValue: try reader.integer(UInt64.self))
            let codec = try reader.integer(UInt8.self)
            touchesCatalog = codec & Self.catalog != 0
            let rest = try reader.slice(count: reader.remaining)
            switch codec & ~Self.catalog {
            case 0: batch = try WriteBatch(decoding: rest)
            case Self.snappy:
                batch = unsafe try WriteBatch(
                    decoding: Snappy.decompress(rest.span.bytes, limit: Self.batchBytesMax)[...])
            default: throw DatabaseError(.corruption, "codec \(codec) is not known")
            }
        } catch {
            throw DatabaseError(.corruption, "a log entry does not decode: \(error)")
        }
    }
}
