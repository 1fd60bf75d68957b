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
    private let uses = DataKeyUse.Register()
    /// Held while the file is written, so that two changes do not lose each other. Keys that came from elsewhere in this
    /// life of the process: their files may still be on their way.
    private let writing = Mutex<Set<UInt64>>([])

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
        try change { state, _ in
            state.keys.append(key)
            state.activeID = key.id
        }
        return key.id
    }

    /// Takes in keys that came with files of another folder; known ones stay as they are.
    ///
    /// - Throws: ``FileError`` with code `corruption` if a key of a known id differs.
    public func adopt(_ keys: [DataKey]) throws(FileError) {
        // Before they are looked for, so that none of them is dropped just then.
        writing.withLock { $0.formUnion(keys.map(\.id)) }
        let known = Dictionary(uniqueKeysWithValues: self.keys.map { ($0.id, $0) })
        for key in keys
        where key.bytes.count != DataKey.byteCount || key.id == 0 || known[key.id].map({ $0 != key }) ?? false {
            throw FileError(
                .corruption, .decode, path: path, reason: "data key \(Self.name(key.id)) is not what it was")
        }
        let fresh = keys.filter { known[$0.id] == nil }
        guard !fresh.isEmpty else { return }
        try change { state, _ in
            var ids = Set(state.keys.map(\.id))
            for key in fresh where ids.insert(key.id).inserted { state.keys.append(key) }
        }
    }

    /// Drops the keys that no file needs any more.
    ///
    /// New files are sealed under the active key alone. So an older key can only be needed by a file that is on the disk
    /// already, that is being written or read here, or that comes with its key from another node; a key is kept if any of
    /// this may be so. Keys that came from elsewhere are kept until the process starts again.
    ///
    /// - Parameter search: Says under which keys the files on the disk are sealed, or nil if that cannot be told of all of
    ///   them; then nothing is dropped.
    /// - Returns: the ids of the keys that are gone for good.
    @discardableResult
    public func dropUnused(_ search: () throws(FileError) -> Set<UInt64>?) throws(FileError) -> [UInt64] {
        let adopted = writing.withLock { $0 }
        var unused = state.withLock { Set($0.keys.map(\.id)).subtracting([$0.activeID]) }
        unused.subtract(adopted.union(uses.inUse))
        // Twice, because a file may move to where the first search has been already.
        for _ in 0..<2 {
            guard !unused.isEmpty, let found = try search() else { return [] }
            unused.subtract(found)
        }
        var dropped: [UInt64] = []
        try change { state, adopted in
            let kept = adopted.union(uses.inUse).union([state.activeID])
            dropped = state.keys.map(\.id).filter { unused.contains($0) && !kept.contains($0) }
            state.keys.removeAll { dropped.contains($0.id) }
        }
        return dropped
    }

    /// How a key is called in reports.
    public static func name(_ id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    // MARK: - Files

    /// The cipher of a new file.
    public func makeCipher(fileID: UInt64) -> FileCipher {
        let (key, use) = state.withLock { state -> (DataKey, DataKeyUse) in
            guard let key = state.keys.last(where: { $0.id == state.activeID }) else {
                preconditionFailure("a keyring without its active key")
            }
            return (key, uses.begin(key.id))
        }
        return Self.cipher(key, use, FileCipher.Label(keyID: key.id, salt: KeyMaterial.randomNumber()), fileID)
    }

    /// The cipher of an existing file.
    ///
    /// - Throws: ``FileError`` with code `wrongKey` and the file's path if the keyring lacks the key.
    public func cipher(_ label: FileCipher.Label, fileID: UInt64, path file: String) throws(FileError) -> FileCipher {
        let found = state.withLock { state -> (DataKey, DataKeyUse)? in
            state.keys.first { $0.id == label.keyID }.map { ($0, uses.begin($0.id)) }
        }
        guard let (key, use) = found else {
            throw FileError(
                .wrongKey, .open, path: file, reason: "data key \(Self.name(label.keyID)) is not in \(path)")
        }
        return Self.cipher(key, use, label, fileID)
    }

    private static func cipher(
        _ key: DataKey, _ use: DataKeyUse, _ label: FileCipher.Label, _ fileID: UInt64
    ) -> FileCipher {
        var salt: [UInt8] = []
        salt.append(littleEndian: fileID)
        salt.append(littleEndian: label.salt)
        let bytes = KeyMaterial.derive(from: key.bytes, salt: salt, info: Array("cairn file 1".utf8))
        return FileCipher(label, key: bytes, use: use)
    }

    // MARK: - The file

    private func change(_ body: (inout State, _ adopted: Set<UInt64>) -> Void) throws(FileError) {
        var failure: FileError?
        writing.withLock { adopted in
            var next = state.withLock { $0 }
            let before = next.keys.count
            body(&next, adopted)
            if next.keys.count == before { return }
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
