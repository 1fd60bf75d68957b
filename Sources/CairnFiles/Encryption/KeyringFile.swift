/// What stands in a keyring's file. Layout: <doc:CairnFiles>.
///
/// The checksum tells damage from a wrong master key: a file whose checksum holds and whose first key does not open was
/// locked with another key.
struct KeyringFile {
    var keys: [Keyring.DataKey]
    var activeID: UInt64

    static let magic: [UInt8] = Array("CairnKey".utf8)
    static let formatVersion: UInt32 = 1
    private static let headBytes = 48
    private static let keyBytes = 8 + 32 + FileCipher.tagBytes

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
        bytes.append(littleEndian: Self.formatVersion)
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
        func damaged(_ reason: String, at offset: Int) -> FileError {
            FileError(.corruption, .decode, path: path, offset: UInt64(offset), reason: reason)
        }
        guard bytes.count >= Self.headBytes + 4, bytes.prefix(8).elementsEqual(Self.magic) else {
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
        guard (1...Keyring.keysMax).contains(count), end == Self.headBytes + count * Self.keyBytes else {
            throw damaged("\(count) keys in \(bytes.count) bytes", at: 12)
        }
        let cipher = Self.cipher(master, Array(bytes[16..<32]))
        activeID = bytes[...].loadUInt64(at: 32)
        keys = []
        for place in 0..<count {
            let offset = Self.headBytes + place * Self.keyBytes
            let id = bytes[...].loadUInt64(at: offset)
            let sealed = bytes[(offset + 8)..<(offset + Self.keyBytes)]
            guard let key = unsafe cipher.open(sealed.span.bytes, FileCipher.Nonce(id, UInt32(place))) else {
                throw FileError(
                    .wrongKey, .decode, path: path, offset: UInt64(offset),
                    reason: "the master key does not open data key \(Keyring.name(id))")
            }
            keys.append(Keyring.DataKey(id: id, bytes: key))
        }
        let active = activeID
        guard keys.contains(where: { $0.id == active }) else {
            throw damaged("the active key \(Keyring.name(active)) is not among the keys", at: 32)
        }
    }

    private static func cipher(_ master: MasterKey, _ salt: [UInt8]) -> FileCipher {
        FileCipher(.none, key: KeyMaterial.derive(from: master.bytes, salt: salt, info: Array("cairn keyring 1".utf8)))
    }
}
