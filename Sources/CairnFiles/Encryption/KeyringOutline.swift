/// What a keyring's file says without its master key: how many data keys it holds, which, and which of them is active.
///
/// Ids are random numbers that stand in every file besides; nothing in here is secret.
public struct KeyringOutline: Hashable, Sendable {
    public static let formatVersion: UInt32 = 1

    /// In the order of their coming.
    public var keyIDs: [UInt64]
    /// The key that new files are sealed under; one of ``keyIDs``.
    public var activeID: UInt64
    let salt: [UInt8]

    /// Reads the keyring at `path`; nothing of it is unlocked.
    ///
    /// - Throws: ``FileError`` with code `corruption`, `unsupported`, or what the file system throws.
    public init(of path: String, in fileSystem: any FileSystem) throws(FileError) {
        self = try Self(decoding: try fileSystem.contents(of: path, limit: KeyringFile.bytesMax), path: path)
    }

    init(decoding bytes: [UInt8], path: String) throws(FileError) {
        func damaged(_ reason: String, at offset: Int) -> FileError {
            FileError(.corruption, .decode, path: path, offset: UInt64(offset), reason: reason)
        }
        guard bytes.count >= KeyringFile.headBytes + 4, bytes.prefix(8).elementsEqual(KeyringFile.magic) else {
            throw damaged("not a keyring", at: 0)
        }
        let version = bytes[...].loadUInt32(at: 8)
        guard version == Self.formatVersion else {
            throw FileError(.unsupported, .decode, path: path, offset: 8, reason: "keyring version \(version)")
        }
        let end = bytes.count - 4
        guard bytes[...].loadUInt32(at: end) == CRC32C.checksum(bytes[..<end]) else {
            throw damaged("checksum of the keyring", at: end)
        }
        let count = Int(bytes[...].loadUInt32(at: 12))
        guard (1...Keyring.keysMax).contains(count), end == KeyringFile.headBytes + count * KeyringFile.keyBytes else {
            throw damaged("\(count) keys in \(bytes.count) bytes", at: 12)
        }
        salt = Array(bytes[16..<32])
        keyIDs = (0..<count).map { bytes[...].loadUInt64(at: KeyringFile.headBytes + $0 * KeyringFile.keyBytes) }
        let active = bytes[...].loadUInt64(at: 32)
        activeID = active
        guard keyIDs.contains(active) else {
            throw damaged("the active key \(Keyring.name(active)) is not among the keys", at: 32)
        }
    }
}
