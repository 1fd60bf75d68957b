/// The one pipeline by which blocks of every file kind get to the disk and back: serialised bytes → compressed where it
/// pays → sealed where the file has a cipher → checksummed for their place.
///
/// A stored block is the payload, one codec byte, and four bytes of CRC-32C that cover the file's id, the block's offset,
/// the payload and the codec byte: a good block in the wrong place is a bad block. See <doc:CairnFiles>.
public struct BlockCodec: Sendable {
    /// How the payload of a block is compressed: the low four bits of the codec byte.
    public enum Compression: UInt8, Sendable, Hashable {
        case none = 0
        case snappy = 1
    }

    /// Bytes that a stored block has beside its payload.
    public static let trailerBytes = 5

    /// What to try; a block that shrinks by less than an eighth is stored as it is.
    public var compression: Compression

    /// The most bytes that a block may decode to.
    public var decodedBytesMax: Int

    /// What the blocks that are read were sealed with; nil if they are in the clear.
    public var cipher: FileCipher?

    /// The high four bits of the codec byte of a sealed block.
    private static let sealedFlag: UInt8 = 1 << 4

    public init(
        compression: Compression = .snappy, decodedBytesMax: Int = 64 << 20, cipher: FileCipher? = nil
    ) {
        self.cipher = cipher
        self.compression = compression
        self.decodedBytesMax = decodedBytesMax
    }

    /// Appends the stored form of `block` to `output`.
    ///
    /// - Parameters:
    ///   - fileID: The id of the file that the block goes to.
    ///   - offset: Where in that file the stored block will begin.
    ///   - sealer: Seals the block; of the file's cipher, and the writer's own.
    public func encode(
        _ block: RawSpan, fileID: UInt64, offset: UInt64, sealer: FileCipher.Sealer? = nil,
        appendingTo output: inout [UInt8]
    ) {
        precondition(block.byteCount <= decodedBytesMax, "\(block.byteCount) bytes, limit \(decodedBytesMax)")
        let start = output.count
        var used = Compression.none
        if compression == .snappy, block.byteCount > 0 {
            Snappy.compress(block, appendingTo: &output)
            if output.count - start <= block.byteCount - block.byteCount / 8 {
                used = .snappy
            } else {
                output.removeLast(output.count - start)
            }
        }
        if used == .none { unsafe block.withUnsafeBytes { unsafe output.append(contentsOf: $0) } }
        let codec = sealer == nil ? used.rawValue : used.rawValue | Self.sealedFlag
        sealer?.seal(&output, from: start, FileCipher.Nonce(offset, UInt32(codec)))
        output.append(codec)
        let checksum = unsafe CRC32C.checksum(
            output.span.bytes.extracting(start..<output.count),
            extending: CRC32C.place(fileID: fileID, offset: offset))
        output.append(littleEndian: checksum)
    }

    /// The block that `stored` holds: a slice of `stored` itself where it was not compressed.
    ///
    /// - Throws: ``FileError`` with code `corruption` (checksum, or a payload that does not decompress), `unsupported`
    ///   (a codec or cipher that this version does not know) or `tooLarge`, with `path` and `offset`.
    public func decode(
        _ stored: ArraySlice<UInt8>, fileID: UInt64, offset: UInt64, path: String
    ) throws(FileError) -> ArraySlice<UInt8> {
        guard stored.count >= Self.trailerBytes else {
            throw FileError(
                .corruption, .decode, path: path, offset: offset, reason: "a block of \(stored.count) bytes")
        }
        let body = stored.dropLast(4)
        let checksum = CRC32C.checksum(body, extending: CRC32C.place(fileID: fileID, offset: offset))
        guard checksum == stored.loadUInt32(at: body.endIndex) else {
            throw FileError(.corruption, .decode, path: path, offset: offset, reason: "block checksum")
        }
        let codec = body[body.endIndex - 1]
        let payload = try open(body.dropLast(), codec, offset: offset, path: path)
        switch codec & 15 {
        case Compression.none.rawValue:
            guard payload.count <= decodedBytesMax else {
                throw FileError(
                    .tooLarge, .decode, path: path, offset: offset,
                    reason: "a block of \(payload.count) bytes, limit \(decodedBytesMax)")
            }
            return payload
        case Compression.snappy.rawValue:
            do throws(SnappyError) {
                return unsafe try Snappy.decompress(payload.span.bytes, limit: decodedBytesMax)[...]
            } catch {
                switch error {
                case .malformed:
                    throw FileError(.corruption, .decode, path: path, offset: offset, reason: "snappy payload")
                case .tooLarge(let declared, let limit):
                    throw FileError(
                        .tooLarge, .decode, path: path, offset: offset,
                        reason: "a block of \(declared) bytes, limit \(limit)")
                }
            }
        default:
            throw FileError(
                .unsupported, .decode, path: path, offset: offset,
                reason: "compression \(codec & 15)")
        }
    }

    private func open(
        _ stored: ArraySlice<UInt8>, _ codec: UInt8, offset: UInt64, path: String
    ) throws(FileError) -> ArraySlice<UInt8> {
        func refused(_ code: FileError.Code, _ reason: String) -> FileError {
            FileError(code, .decode, path: path, offset: offset, reason: reason)
        }
        switch (codec >> 4, cipher) {
        case (0, nil): return stored
        case (0, _): throw refused(.corruption, "a block in the clear in a file whose blocks are sealed")
        case (1, let cipher?):
            guard let text = unsafe cipher.open(stored.span.bytes, FileCipher.Nonce(offset, UInt32(codec))) else {
                throw refused(.corruption, "the seal of a block is broken: it is not what was written here")
            }
            return text[...]
        case (1, nil): throw refused(.corruption, "a sealed block in a file whose blocks are in the clear")
        default: throw refused(.unsupported, "cipher \(codec >> 4)")
        }
    }

    /// Reads the stored block of `count` bytes at `offset` of `file` and decodes it.
    public func read(
        from file: any ReadableFile, at offset: UInt64, count: Int, fileID: UInt64
    ) throws(FileError) -> ArraySlice<UInt8> {
        try decode(try file.read(at: offset, count: count)[...], fileID: fileID, offset: offset, path: file.path)
    }
}
