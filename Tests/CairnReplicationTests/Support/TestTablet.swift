import CairnFiles
import CairnRaft

@testable import CairnReplication

/// What the simulation sees of a replica's state machine.
protocol SimulatedTablet: ReplicatedStateMachine {
    func value(of key: UInt64) throws -> UInt64?
    /// Stands for everything that was ever applied, in order.
    var digest: UInt64 { get }
    /// Snapshots installed in this life.
    var installs: Int { get }
    var onApply: ((Entry) -> Void)? { get set }
    var onRole: ((ReplicaRole) -> Void)? { get set }
    /// Lets background work run that a thread would do.
    func runBackground()
}

/// A running digest of entries.
struct EntryDigest {
    var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func mix(_ entry: Entry) {
        mix(entry.index.rawValue)
        mix(entry.term.rawValue)
        for byte in entry.payload { mix(UInt64(byte)) }
    }

    private mutating func mix(_ word: UInt64) {
        value = (value ^ word) &* 0x0000_0100_0000_01B3
    }
}

/// A key-value state machine that remembers all it applied in a digest.
///
/// Its memory is lost with the process: only ``persist()`` puts an image of everything on the disk, in one atomic replacement. So it
/// is the hardest kind of tablet for the log, which must bring back all that came after the last image.
final class TestTablet: SimulatedTablet {
    let fileSystem: any FileSystem
    let directory: String
    private(set) var state: [UInt64: UInt64] = [:]
    private var entryDigest = EntryDigest()
    var digest: UInt64 { entryDigest.value }
    private(set) var appliedIndex = LogIndex.zero
    private(set) var appliedTerm = Term.zero
    private(set) var appliedConfiguration: [UInt8]?
    private(set) var durableIndex = LogIndex.zero
    private(set) var role = ReplicaRole.follower(leader: nil)
    private(set) var installs = 0
    /// Entries after which an image is written; 0: never by itself.
    var persistsEvery: UInt64 = 0
    var onApply: ((Entry) -> Void)?
    var onRole: ((ReplicaRole) -> Void)?
    var durabilityRequests = 0
    /// Every entry finds no room, which is how applying can be slow.
    var refusesEntries = false
    /// Bytes of one file of a checkpoint.
    var partBytes = 1000

    init(directory: String, fileSystem: any FileSystem) throws {
        self.directory = directory
        self.fileSystem = fileSystem
        try fileSystem.createDirectory(directory)
        if try fileSystem.exists(directory + "/image") {
            load(try fileSystem.contents(of: directory + "/image"))
        }
    }

    func apply(_ entries: ArraySlice<Entry>) throws {
        if refusesEntries { throw ReplicationError(.outOfSpace, "no room, says the test") }
        for entry in entries {
            precondition(entry.index == appliedIndex.next, "entry \(entry.index) after \(appliedIndex)")
            precondition(entry.term >= appliedTerm, "term \(entry.term) after \(appliedTerm)")
            entryDigest.mix(entry)
            switch entry.kind {
            case .normal: state[Self.word(entry.payload, 0)] = Self.word(entry.payload, 8)
            case .configuration: appliedConfiguration = Array(entry.payload)
            case .empty: break
            }
            appliedIndex = entry.index
            appliedTerm = entry.term
            onApply?(entry)
        }
        guard persistsEvery > 0, appliedIndex.rawValue >= durableIndex.rawValue + persistsEvery else { return }
        do {
            try persist()
        } catch {
            // As an engine's flush, which is tried again later.
            guard (error as? FileError)?.code == .outOfSpace else { throw error }
        }
    }

    func roleDidChange(_ role: ReplicaRole) {
        self.role = role
        onRole?(role)
    }

    func persist() throws {
        try fileSystem.replace(directory + "/image", with: image())
        durableIndex = appliedIndex
    }

    func advanceDurability() { durabilityRequests += 1 }

    func checkpoint(into target: String) throws -> LogIndex {
        try fileSystem.createDirectory(target)
        var rest = image()[...]
        var part = 0
        func write(_ name: String, _ bytes: ArraySlice<UInt8>) throws {
            let file = try fileSystem.create(target + "/" + name)
            try file.write(bytes, at: 0)
            try file.synchronizeData()
            try file.close()
        }
        try write("empty", [])
        while !rest.isEmpty {
            try write("part-\(1000 + part)", rest.prefix(partBytes))
            rest = rest.dropFirst(partBytes)
            part += 1
        }
        try write("zero", [])
        try fileSystem.synchronizeDirectory(target)
        return appliedIndex
    }

    func install(from source: String) throws {
        var bytes: [UInt8] = []
        let names = try fileSystem.list(source)
        precondition(names.contains("empty") && names.contains("zero"), "\(names)")
        for name in names where name.hasPrefix("part-") {
            bytes += try fileSystem.contents(of: source + "/" + name)
        }
        try fileSystem.replace(directory + "/image", with: bytes)
        load(bytes)
        installs += 1
    }

    static func payload(key: UInt64, value: UInt64, padding: Int = 0) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendInteger(key)
        bytes.appendInteger(value)
        bytes.append(contentsOf: repeatElement(7, count: padding))
        return bytes
    }

    func value(of key: UInt64) -> UInt64? { state[key] }

    func runBackground() {}

    static func word(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt64 {
        var value: UInt64 = 0
        for position in 0..<8 { value |= UInt64(bytes[bytes.startIndex + offset + position]) << UInt64(8 * position) }
        return value
    }

    private func image() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendInteger(appliedIndex.rawValue)
        bytes.appendInteger(appliedTerm.rawValue)
        bytes.appendInteger(digest)
        bytes.appendInteger(UInt64(appliedConfiguration?.count ?? 0))
        bytes.append(contentsOf: appliedConfiguration ?? [])
        for key in state.keys.sorted() {
            bytes.appendInteger(key)
            bytes.appendInteger(state[key]!)
        }
        return bytes
    }

    private func load(_ bytes: [UInt8]) {
        var rest = bytes[...]
        func next() -> UInt64 {
            defer { rest = rest.dropFirst(8) }
            return Self.word(rest, 0)
        }
        appliedIndex = LogIndex(next())
        appliedTerm = Term(next())
        entryDigest.value = next()
        let configurationBytes = Int(next())
        appliedConfiguration = configurationBytes == 0 ? nil : Array(rest.prefix(configurationBytes))
        rest = rest.dropFirst(configurationBytes)
        state = [:]
        while !rest.isEmpty {
            let key = next()
            state[key] = next()
        }
        durableIndex = appliedIndex
    }
}
