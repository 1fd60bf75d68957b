import CairnFiles
import CairnRaft
import CairnReplication
import CairnStorage

/// A tablet that is a storage engine, whose log is written and not synced: the Raft log brings back what it lost.
///
/// `CURRENT` names the directory of the engine that counts; a snapshot becomes another directory, and counts when `CURRENT` has
/// been replaced.
final class EngineTablet: SimulatedTablet {
    private static let termKey: [UInt8] = [0, 1]
    private static let digestKey: [UInt8] = [0, 2]
    private static let configurationKey: [UInt8] = [0, 3]

    private let directory: String
    private let fileSystem: any FileSystem
    private let background = ManualBackgroundExecutor()
    private var engine: Engine
    private var number: UInt64
    private var entryDigest = EntryDigest()
    private(set) var appliedTerm = Term.zero
    private(set) var appliedConfiguration: [UInt8]?
    private(set) var installs = 0
    private(set) var damage: String?
    var onApply: ((Entry) -> Void)?
    var onRole: ((ReplicaRole) -> Void)?

    init(directory: String, fileSystem: any FileSystem) throws {
        self.directory = directory
        self.fileSystem = fileSystem
        try fileSystem.createDirectory(directory)
        let current = directory + "/CURRENT"
        number =
            try fileSystem.exists(current)
            ? UInt64(String(decoding: try fileSystem.contents(of: current), as: UTF8.self))! : 0
        for name in try fileSystem.list(directory)
        where name.hasPrefix("tablet-") && name != "tablet-\(number)" {
            try fileSystem.removeTree(directory + "/" + name)
        }
        try fileSystem.removeTree(directory + "/placeholder")
        do {
            engine = try Self.open(directory + "/tablet-\(number)", fileSystem, background)
        } catch  where (error as? StorageError)?.code == .corruption {
            damage = "\(error)"
            engine = try Self.open(directory + "/placeholder", fileSystem, background)
        }
        try load()
    }

    private static func open(
        _ path: String, _ fileSystem: any FileSystem, _ background: ManualBackgroundExecutor
    ) throws -> Engine {
        var options = EngineOptions()
        options.memtableBytesMax = 16 << 10
        return try Engine.open(directory: path, fileSystem: fileSystem, options: options, background: background)
    }

    private func load() throws {
        appliedTerm = Term(try engine.get(Self.termKey).map { TestTablet.word($0, 0) } ?? 0)
        entryDigest = EntryDigest()
        if let bytes = try engine.get(Self.digestKey) { entryDigest.value = TestTablet.word(bytes, 0) }
        appliedConfiguration = try engine.get(Self.configurationKey).map { Array($0) }
    }

    var digest: UInt64 { entryDigest.value }
    var appliedIndex: LogIndex { LogIndex(engine.mark) }
    var durableIndex: LogIndex { LogIndex(engine.durableMark) }

    func value(of key: UInt64) throws -> UInt64? {
        do {
            return try engine.get(Self.key(key)).map { TestTablet.word($0, 0) }
        } catch {
            if error.code == .corruption { damage = "\(error)" }
            throw error
        }
    }

    func runBackground() { background.runAll() }

    func apply(_ entries: ArraySlice<Entry>) throws {
        var batch = WriteBatch()
        for entry in entries {
            entryDigest.mix(entry)
            switch entry.kind {
            case .normal: batch.put(Self.key(TestTablet.word(entry.payload, 0)), entry.payload.dropFirst(8).prefix(8))
            case .configuration: batch.put(Self.configurationKey, entry.payload)
            case .empty: break
            }
            appliedTerm = entry.term
        }
        batch.put(Self.termKey, Self.bytes(appliedTerm.rawValue))
        batch.put(Self.digestKey, Self.bytes(digest))
        let last = entries[entries.endIndex - 1].index.rawValue
        do throws(StorageError) {
            try engine.apply(batch, at: Version(last), mark: last)
        } catch {
            guard error.code == .outOfSpace else { throw error }
            try load()
            throw ReplicationError(.outOfSpace, "\(error)")
        }
        for entry in entries { onApply?(entry) }
    }

    func roleDidChange(_ role: ReplicaRole) { onRole?(role) }

    func checkpoint(into target: String) throws -> LogIndex {
        LogIndex(try engine.checkpoint(into: target))
    }

    func install(from source: String) throws {
        try? engine.close()
        let target = directory + "/tablet-\(number + 1)"
        try fileSystem.removeTree(target)
        try fileSystem.createDirectory(target)
        for name in try fileSystem.list(source) {
            try fileSystem.link(source + "/" + name, to: target + "/" + name)
        }
        try fileSystem.synchronizeDirectory(target)
        try fileSystem.replace(directory + "/CURRENT", with: Array(String(number + 1).utf8))
        try fileSystem.removeTree(directory + "/tablet-\(number)")
        try fileSystem.removeTree(directory + "/placeholder")
        number += 1
        damage = nil
        engine = try Self.open(target, fileSystem, background)
        try load()
        installs += 1
    }

    func advanceDurability() { engine.requestFlush() }

    private static func key(_ key: UInt64) -> [UInt8] { [1] + bytes(key) }

    private static func bytes(_ word: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
    }
}
