/// What stands in a keyring's file. Layout: <doc:CairnFiles>.
///
/// The checksum tells damage from a wrong master key: a file whose checksum holds and whose first key does not open was
/// locked with another key.
struct KeyringFile {
    var keys: [Keyring.DataKey]
    var activeID: UInt64

    static let magic: [UInt8] = Array("CairnKey".utf8)
    static let headBytes = 48
    static let keyBytes = 8 + 32 + FileCipher.tagBytes
    static let bytesMax = 16 << 20

    init(keys: [Keyring.DataKey], activeID: UInt64) {
        self.keys = keys
        self.activeID = activeID
    }

    /// A salt of its own makes a locking key that no earlier state of the file was locked with, so a key's place in the
    /// list can be its nonce.
    func encoded(master: MasterKey) -> [UInt8] {
        let salt = KeyMaterial.random(16)
        let sealer = Self.cipher(master, salt).makeSealer()
        var bytes = Self.magic
        bytes.append(littleEndian: KeyringOutline.formatVersion)
        bytes.append(littleEndian: UInt32(keys.count))
        bytes += salt
        bytes.append(littleEndian: activeID)
        bytes.append(littleEndian: UInt64(0))
        for (place, key) in keys.enumerated() {
            bytes.append(littleEndian: key.id)
            let start = bytes.count
            bytes += key.bytes
            sealer.seal(&bytes, from: start, FileCipher.Nonce(key.id, UInt32(place)))
        }
        bytes.append(littleEndian: CRC32C.checksum(bytes))
        return bytes
    }

    init(decoding bytes: [UInt8], master: MasterKey, path: String) throws(FileError) {
        let outline = try KeyringOutline(decoding: bytes, path: path)
        let cipher = Self.cipher(master, outline.salt)
        activeID = outline.activeID
        keys = []
        for (place, id) in outline.keyIDs.enumerated() {
            let offset = Self.headBytes + place * Self.keyBytes
            let sealed = bytes[(offset + 8)..<(offset + Self.keyBytes)]
            guard let key = unsafe cipher.open(sealed.span.bytes, FileCipher.Nonce(id, UInt32(place))) else {
                throw FileError(
                    .wrongKey, .decode, path: path, offset: UInt64(offset),
                    reason: "the master key does not open data key \(Keyring.name(id))")
            }
            keys.append(Keyring.DataKey(id: id, bytes: key))
        }
    }

    private static func cipher(_ master: MasterKey, _ salt: [UInt8]) -> FileCipher {
        FileCipher(.none, key: KeyMaterial.derive(from: master.bytes, salt: salt, info: Array("cairn keyring 1".utf8)))
    }
}
