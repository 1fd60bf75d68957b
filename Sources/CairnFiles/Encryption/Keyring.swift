import Synchronization

/// The data keys of one data folder, in a file that only the master key opens.
///
/// The newest key seals what is written from now on; the others open what was written before. A file's own key is derived
/// from a data key and the file's id and salt, so that a data key never seals anything itself. Ids are random, so that keys
/// of two folders can stand in one keyring: a snapshot brings the keys of its files along.
///
/// - Invariant: a key is on the disk before any file is sealed under it.
public final class Keyring: Sendable {
    /// A data key as it travels, in the clear, from the keyring of one node to that of another.
    public struct DataKey: Hashable, Sendable {
        public static let byteCount = 32

        /// Random, never 0.
        public var id: UInt64
        public var bytes: [UInt8]

        public init(id: UInt64, bytes: [UInt8]) {
            self.id = id
            self.bytes = bytes
        }
    }

    private struct State {
        /// In the order of their coming.
        var keys: [DataKey]
        var activeID: UInt64
    }

    /// More keys than years of daily rotation make: a bound for damaged counts, and for what peers and clients may add.
    static let keysMax = 65_536

    public let path: String
    private let master: MasterKey
    private let fileSystem: any FileSystem
    private let state: Mutex<State>
    /// Held while the file is written, so that two changes do not lose each other.
    private let writing = Mutex<Void>(())

    private init(path: String, master: MasterKey, fileSystem: any FileSystem, state: sending State) {
        self.path = path
        self.master = master
        self.fileSystem = fileSystem
        self.state = Mutex(state)
    }

    /// Opens the keyring at `path`, or makes it with one key.
    ///
    /// - Throws: ``FileError``: `wrongKey` if the master key does not open it, `corruption`, `unsupported`, or what the file
    ///   system throws. Nothing was changed then.
    public static func open(
        _ path: String, master: MasterKey, createIfMissing: Bool = true, in fileSystem: any FileSystem
    ) throws(FileError) -> Keyring {
        if try fileSystem.exists(path) {
            let contents = try fileSystem.contents(of: path, limit: KeyringFile.bytesMax)
            let file = try KeyringFile(decoding: contents, master: master, path: path)
            return Keyring(
                path: path, master: master, fileSystem: fileSystem,
                state: State(keys: file.keys, activeID: file.activeID))
        }
        guard createIfMissing else {
            throw FileError(.notFound, .open, path: path, reason: "there is no keyring")
        }
        let key = makeKey()
        let keyring = Keyring(
            path: path, master: master, fileSystem: fileSystem, state: State(keys: [key], activeID: key.id))
        try keyring.write(KeyringFile(keys: [key], activeID: key.id))
        return keyring
    }

    private static func makeKey() -> DataKey {
        var id: UInt64
        repeat { id = KeyMaterial.randomNumber() } while id == 0
        return DataKey(id: id, bytes: KeyMaterial.random(DataKey.byteCount))
    }

    /// The key under which new files are sealed.
    public var activeID: UInt64 { state.withLock { $0.activeID } }

    /// All keys, the oldest first, as they have to travel with files that leave the folder.
    public var keys: [DataKey] { state.withLock { $0.keys } }

    /// Adds a key and seals everything new under it. Files that are open go on under the key they were begun with.
    ///
    /// - Returns: the new key's id.
    @discardableResult
    public func rotate() throws(FileError) -> UInt64 {
        let key = Self.makeKey()
        try change { state in
            state.keys.append(key)
            state.activeID = key.id
        }
        return key.id
    }

    /// Takes in keys that came with files of another folder; known ones stay as they are.
    ///
    /// - Throws: ``FileError`` with code `corruption` if a key of a known id differs.
    public func adopt(_ keys: [DataKey]) throws(FileError) {
        let known = Dictionary(uniqueKeysWithValues: self.keys.map { ($0.id, $0) })
        for key in keys
        where key.bytes.count != DataKey.byteCount || key.id == 0 || known[key.id].map({ $0 != key }) ?? false {
            throw FileError(
                .corruption, .decode, path: path, reason: "data key \(Self.name(key.id)) is not what it was")
        }
        let fresh = keys.filter { known[$0.id] == nil }
        guard !fresh.isEmpty else { return }
        try change { state in
            var ids = Set(state.keys.map(\.id))
            for key in fresh where ids.insert(key.id).inserted { state.keys.append(key) }
        }
    }

    /// Drops keys but the active one; whoever calls knows that no file needs them.
    public func forget(_ ids: Set<UInt64>) throws(FileError) {
        try change { state in
            let active = state.activeID
            state.keys.removeAll { ids.contains($0.id) && $0.id != active }
        }
    }

    /// How a key is called in reports.
    public static func name(_ id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    // MARK: - Files

    /// The cipher of a new file.
    public func makeCipher(fileID: UInt64) -> FileCipher {
        let (keys, id) = state.withLock { ($0.keys, $0.activeID) }
        guard let key = keys.last(where: { $0.id == id }) else {
            preconditionFailure("a keyring without its active key")
        }
        return Self.cipher(key, FileCipher.Label(keyID: id, salt: KeyMaterial.randomNumber()), fileID)
    }

    /// The cipher of an existing file.
    ///
    /// - Throws: ``FileError`` with code `wrongKey` and the file's path if the keyring lacks the key.
    public func cipher(_ label: FileCipher.Label, fileID: UInt64, path file: String) throws(FileError) -> FileCipher {
        guard let key = state.withLock({ $0.keys.first { $0.id == label.keyID } }) else {
            throw FileError(
                .wrongKey, .open, path: file, reason: "data key \(Self.name(label.keyID)) is not in \(path)")
        }
        return Self.cipher(key, label, fileID)
    }

    private static func cipher(_ key: DataKey, _ label: FileCipher.Label, _ fileID: UInt64) -> FileCipher {
        var salt: [UInt8] = []
        salt.append(littleEndian: fileID)
        salt.append(littleEndian: label.salt)
        return FileCipher(label, key: KeyMaterial.derive(from: key.bytes, salt: salt, info: Array("cairn file 1".utf8)))
    }

    // MARK: - The file

    private func change(_ body: (inout State) -> Void) throws(FileError) {
        var failure: FileError?
        writing.withLock { _ in
            var next = state.withLock { $0 }
            body(&next)
            guard next.keys.count <= Self.keysMax else {
                failure = FileError(.tooLarge, .write, path: path, reason: "over \(Self.keysMax) data keys")
                return
            }
            do throws(FileError) {
                try write(KeyringFile(keys: next.keys, activeID: next.activeID))
                state.withLock { $0 = next }
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func write(_ file: KeyringFile) throws(FileError) {
        try fileSystem.replace(path, with: file.encoded(master: master))
    }
}

extension FileSystem {
    /// The cipher of a file that says `label`; nil for a file that is not encrypted.
    ///
    /// - Throws: ``FileError`` with code `wrongKey` if there is no keyring or it lacks the key.
    public func cipher(of label: FileCipher.Label, fileID: UInt64, path: String) throws(FileError) -> FileCipher? {
        guard label != .none else { return nil }
        guard let keyring else {
            throw FileError(
                .wrongKey, .open, path: path, reason: "the file is encrypted, and no master key was given")
        }
        return try keyring.cipher(label, fileID: fileID, path: path)
    }
}
