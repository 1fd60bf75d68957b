/// The first 64 bytes of a record log: what it is, and which life of the file this is.
///
/// The header is on the disk before the file gets its name, so a named record log whose header cannot be read is
/// damaged, never merely new. Layout: <doc:CairnFiles>.
public struct RecordLogHeader: Sendable, Hashable {
    /// What the records are: four characters that show in a dump.
    public struct Kind: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// A kind named by exactly four ASCII characters.
        public init(_ name: StaticString) {
            let characters = Array(String(describing: name).utf8)
            precondition(characters.count == 4, "a record log's kind has four characters, not \"\(name)\"")
            rawValue = characters.reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }

        public var description: String {
            String(decoding: (0..<4).map { UInt8(truncatingIfNeeded: rawValue >> ($0 * 8)) }, as: UTF8.self)
        }
    }

    public static let byteCount = 64
    static let magic: [UInt8] = Array("CairnLog".utf8)
    static let version: UInt16 = 2

    public var kind: Kind
    /// The owner's number for the file; not unique for ever.
    public var number: UInt64
    /// Unique to this life of the file: bound into every record's checksum.
    public var fileID: UInt64
    /// A number that the owner wants to stand with the file.
    public var note: UInt64
    /// How the bodies of records are encrypted.
    public var cipher = FileCipher.Label.none

    public init(kind: Kind, number: UInt64, fileID: UInt64, note: UInt64 = 0) {
        self.kind = kind
        self.number = number
        self.fileID = fileID
        self.note = note
    }

    public func encoded() -> [UInt8] {
        var bytes = Self.magic
        bytes.reserveCapacity(Self.byteCount)
        bytes.append(littleEndian: Self.version)
        bytes.append(cipher == .none ? 0 : 1)
        bytes.append(0)
        bytes.append(littleEndian: kind.rawValue)
        bytes.append(littleEndian: number)
        bytes.append(littleEndian: fileID)
        bytes.append(littleEndian: note)
        bytes.append(littleEndian: cipher.keyID)
        bytes.append(littleEndian: cipher.salt)
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: CRC32C.checksum(bytes))
        return bytes
    }

    /// Reads the header of the file at `path` from its first bytes.
    ///
    /// - Throws: ``FileError`` with code `corruption` or, for a version or cipher of the future, `unsupported`.
    public init(decoding bytes: ArraySlice<UInt8>, path: String) throws(FileError) {
        let start = bytes.startIndex
        guard bytes.count >= Self.byteCount, bytes.prefix(8).elementsEqual(Self.magic) else {
            throw FileError(.corruption, .decode, path: path, offset: 0, reason: "not a record log")
        }
        // The checksum of another version may stand elsewhere, so a version that some program has or may have is believed.
        let version = UInt16(bytes[start + 8]) | UInt16(bytes[start + 9]) << 8
        let isWhole = bytes.loadUInt32(at: start + 60) == CRC32C.checksum(bytes[start..<start + 60])
        guard version == Self.version || (!isWhole && (version == 0 || version > 255)) else {
            throw FileError(.unsupported, .decode, path: path, offset: 8, reason: "record log version \(version)")
        }
        guard isWhole else {
            throw FileError(.corruption, .decode, path: path, offset: 0, reason: "checksum of the record log's header")
        }
        guard bytes[start + 10] <= 1 else {
            throw FileError(.unsupported, .decode, path: path, offset: 10, reason: "cipher \(bytes[start + 10])")
        }
        kind = Kind(rawValue: bytes.loadUInt32(at: start + 12))
        number = bytes.loadUInt64(at: start + 16)
        fileID = bytes.loadUInt64(at: start + 24)
        note = bytes.loadUInt64(at: start + 32)
        cipher = FileCipher.Label(keyID: bytes.loadUInt64(at: start + 40), salt: bytes.loadUInt64(at: start + 48))
        guard (bytes[start + 10] == 0) == (cipher == .none) else {
            throw FileError(
                .corruption, .decode, path: path, offset: 10, reason: "a cipher without a key, or a key without")
        }
    }
}
