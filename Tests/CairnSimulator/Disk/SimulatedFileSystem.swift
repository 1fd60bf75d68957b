import CairnFiles
import CairnTestSupport
import Synchronization

/// A disk in memory that keeps exactly what ``FileSystem`` promises and loses the rest on request.
///
/// After a power cut, of the bytes that were not synced a random subset of 512-byte sectors is left, and of the names that
/// were not made durable a random subset of changes, each create, rename, link and removal by itself. The same seed and the
/// same calls give the same end. Calls may come from any thread; they are taken one at a time.
///
///     let disk = SimulatedFileSystem(seed: 7)
///     disk.cutPower(afterOperations: 12)   // The twelfth change succeeds, everything behind it throws.
///     …                                    // `error.isPowerCut`
///     disk.restart()                       // Old handles stay dead; open everything again.
public final class SimulatedFileSystem: FileSystem, Sendable {
    let disk: Mutex<SimulatedDisk>
    private let beforeCreate = Mutex<(@Sendable (String) -> Void)?>(nil)
    private let ring = Mutex<Keyring?>(nil)

    public var keyring: Keyring? { ring.withLock { $0 } }

    /// What is written from now on is encrypted. A process that starts again has to open its keyring again.
    public func use(_ keyring: Keyring?) { ring.withLock { $0 = keyring } }

    /// Encrypts with a keyring of its own, under a master key of the given byte.
    public func encrypt(masterByte: UInt8 = 7) throws(FileError) {
        let master = try MasterKey([UInt8](repeating: masterByte, count: 32), source: "test")
        use(try Keyring.open("/keyring", master: master, in: self))
    }

    public init(seed: UInt64) {
        disk = Mutex(SimulatedDisk(seed: seed))
    }

    private init(_ state: SimulatedDisk) {
        disk = Mutex(state)
    }

    // MARK: The hand of fate

    /// Another disk with the same contents, synced and unsynced, whose luck comes from `seed`. Faults stay behind.
    public func copy(seed: UInt64) -> SimulatedFileSystem {
        var state = disk.withLock { $0 }
        state.random = SeededGenerator(seed: seed)
        state.faults.removeAll()
        state.powerCutAt = nil
        let copy = SimulatedFileSystem(state)
        copy.use(keyring)
        return copy
    }

    /// How many operations have changed or synced something so far.
    public var operationCount: Int { disk.withLock { $0.operations } }

    /// Lets `count` more changes or syncs happen and then cuts the power; 0 cuts it at the next one.
    public func cutPower(afterOperations count: Int) {
        disk.withLock { $0.powerCutAt = $0.operations + count }
    }

    /// Cuts the power now.
    public func cutPower() {
        disk.withLock { $0.powerIsOn = false }
    }

    public var isPowerOff: Bool { disk.withLock { !$0.powerIsOn } }

    /// Cuts the power if it is on, brings it back, and shows what survived. Locks are free and old handles dead.
    public func restart() {
        disk.withLock { $0.restart() }
    }

    /// Kills the process but not the machine: old handles die, locks are freed, and every written byte is there.
    public func killProcess() {
        disk.withLock { $0.forgetProcess() }
    }

    /// Adds a rule; returns what ``remove(fault:)`` takes.
    @discardableResult
    public func inject(_ fault: DiskFault) -> Int {
        disk.withLock {
            $0.faultsMade += 1
            $0.faults.append(($0.faultsMade, fault, 0))
            return $0.faultsMade
        }
    }

    public func remove(fault id: Int) {
        disk.withLock { $0.faults.removeAll { $0.id == id } }
    }

    public func removeFaults() {
        disk.withLock { $0.faults.removeAll() }
    }

    /// Limits the bytes that all files may have together (D5).
    public func setCapacity(_ bytes: UInt64) {
        disk.withLock { $0.capacity = bytes }
    }

    /// Leaves room for so many bytes more than there are now (D5).
    public func fill(leaving bytes: UInt64) {
        disk.withLock { $0.capacity = $0.usedBytes + bytes }
    }

    /// Flips a bit at rest, past every cache (D7).
    public func flipBit(_ bit: Int, ofByte offset: Int, in path: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            let inode = try disk.file(path, .write)
            precondition(offset < disk.inodes[inode].bytes.count, "byte \(offset) of \(path)")
            disk.inodes[inode].bytes[offset] ^= 1 << UInt8(bit)
            let sector = offset / SimulatedInode.sectorBytes
            let within = offset % SimulatedInode.sectorBytes
            disk.inodes[inode].unsynced[sector]?[within] ^= 1 << UInt8(bit)
        }
    }

    /// Overwrites bytes at rest, past every cache.
    public func overwrite(_ bytes: [UInt8], at offset: Int, in path: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            let inode = try disk.file(path, .write)
            let end = offset + bytes.count
            precondition(end <= disk.inodes[inode].bytes.count, "bytes up to \(end) of \(path)")
            disk.inodes[inode].bytes.replaceSubrange(offset..<end, with: bytes)
        }
    }

    /// Cuts a file at rest (D10).
    public func cut(_ path: String, to size: Int) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            let inode = try disk.file(path, .truncate)
            disk.inodes[inode].bytes = Array(disk.inodes[inode].bytes.prefix(size))
            disk.inodes[inode].durableSize = disk.inodes[inode].bytes.count
        }
    }

    /// Calls `body` with the path before each file is made, without locks held: for tests that act in the middle of
    /// something, such as a compaction that begins its next table.
    public func onCreate(_ body: (@Sendable (String) -> Void)?) { beforeCreate.withLock { $0 = body } }

    /// Records each change from here on, for the message of a failed test.
    public func startTrace() { disk.withLock { $0.trace = [] } }

    public var trace: [String] { disk.withLock { $0.trace ?? [] } }

    // MARK: FileSystem

    public func create(_ path: String, preallocate bytes: Int) throws(FileError) -> any WritableFile {
        beforeCreate.withLock { $0 }?(path)
        return try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.create, path, changes: true), .create, path)
            let (directory, name) = try disk.parent(of: path, .create)
            guard disk.inodes[directory].entries[name] == nil else { throw FileError(.exists, .create, path: path) }
            try disk.checkRoom(bytes, .create, path)
            let inode = disk.makeInode(isDirectory: false)
            disk.inodes[inode].bytes = [UInt8](repeating: 0, count: bytes)
            disk.change(.set(directory: directory, name: name, inode: inode))
            return SimulatedFile(self, inode: inode, path: path, life: disk.life)
        }
    }

    public func openForWriting(_ path: String) throws(FileError) -> any WritableFile {
        try openFile(path)
    }

    public func open(_ path: String) throws(FileError) -> any ReadableFile {
        SimulatedReadableFile(try openFile(path))
    }

    private func openFile(_ path: String) throws(FileError) -> SimulatedFile {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.open, path, changes: false), .open, path)
            return SimulatedFile(self, inode: try disk.file(path, .open), path: path, life: disk.life)
        }
    }

    public func exists(_ path: String) throws(FileError) -> Bool {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.open, path, changes: false), .open, path)
            return disk.find(path) != nil
        }
    }

    public func size(of path: String) throws(FileError) -> UInt64 {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.size, path, changes: false), .size, path)
            return UInt64(disk.inodes[try disk.file(path, .size)].bytes.count)
        }
    }

    public func list(_ directory: String) throws(FileError) -> [String] {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.list, directory, changes: false), .list, directory)
            guard let inode = disk.find(directory), disk.inodes[inode].isDirectory else {
                throw FileError(.notFound, .list, path: directory)
            }
            return disk.inodes[inode].entries.keys.sorted()
        }
    }

    public func rename(_ source: String, to target: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.rename, source, changes: true), .rename, source)
            let (from, name) = try disk.parent(of: source, .rename)
            let (to, newName) = try disk.parent(of: target, .rename)
            guard let inode = disk.inodes[from].entries[name] else {
                throw FileError(.notFound, .rename, path: source)
            }
            if let taken = disk.inodes[to].entries[newName] {
                if taken == inode { return }
                guard !disk.inodes[taken].isDirectory || disk.inodes[taken].entries.isEmpty else {
                    throw FileError(.exists, .rename, path: target)
                }
            }
            disk.change(.move(from: from, name: name, to: to, newName: newName, inode: inode))
        }
    }

    public func link(_ source: String, to target: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.link, source, changes: true), .link, target)
            let inode = try disk.file(source, .link)
            let (directory, name) = try disk.parent(of: target, .link)
            guard disk.inodes[directory].entries[name] == nil else { throw FileError(.exists, .link, path: target) }
            disk.change(.set(directory: directory, name: name, inode: inode))
        }
    }

    public func remove(_ path: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.remove, path, changes: true), .remove, path)
            let inode = try disk.file(path, .remove)
            let (directory, name) = try disk.parent(of: path, .remove)
            disk.change(.clear(directory: directory, name: name, inode: inode))
        }
    }

    public func createDirectory(_ path: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            var made = ""
            for name in SimulatedDisk.components(path) {
                let directory = disk.find(made)!
                made += "/" + name
                if let inode = disk.inodes[directory].entries[name] {
                    guard disk.inodes[inode].isDirectory else {
                        throw FileError(.exists, .createDirectory, path: path, reason: "a file has this name")
                    }
                    continue
                }
                try disk.fail(disk.begin(.createDirectory, path, changes: true), .createDirectory, path)
                let inode = disk.makeInode(isDirectory: true)
                disk.change(.set(directory: directory, name: name, inode: inode))
                // The promise is that the names are durable when the call returns.
                try disk.fail(disk.begin(.synchronizeDirectory, path, changes: true), .createDirectory, path)
                disk.synchronizeNames(of: directory)
            }
        }
    }

    public func removeTree(_ path: String) throws(FileError) {
        guard
            let names = disk.withLock({ disk -> [String]? in
                guard let inode = disk.find(path), disk.inodes[inode].isDirectory else { return nil }
                return disk.inodes[inode].entries.keys.sorted()
            })
        else {
            if try exists(path) { try remove(path) }
            return
        }
        for name in names { try removeTree(path + "/" + name) }
        try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.remove, path, changes: true), .remove, path)
            let (directory, name) = try disk.parent(of: path, .remove)
            guard let inode = disk.inodes[directory].entries[name] else { return }
            disk.change(.clear(directory: directory, name: name, inode: inode))
        }
    }

    public func synchronizeDirectory(_ directory: String) throws(FileError) {
        try disk.withLock { disk throws(FileError) in
            try disk.fail(
                disk.begin(.synchronizeDirectory, directory, changes: true), .synchronizeDirectory, directory)
            guard let inode = disk.find(directory), disk.inodes[inode].isDirectory else {
                throw FileError(.notFound, .synchronizeDirectory, path: directory)
            }
            disk.synchronizeNames(of: inode)
        }
    }

    public func lock(_ path: String) throws(FileError) -> any FileLock {
        if try !exists(path) { _ = try create(path, preallocate: 0) }
        return try disk.withLock { disk throws(FileError) in
            try disk.fail(disk.begin(.lock, path, changes: false), .lock, path)
            let inode = try disk.file(path, .lock)
            guard disk.locked.insert(inode).inserted else {
                throw FileError(.locked, .lock, path: path, reason: "another process uses this directory")
            }
            return SimulatedLock(self, inode: inode, life: disk.life)
        }
    }

    public func freeSpace(at path: String) throws(FileError) -> UInt64 {
        disk.withLock { disk in
            let used = disk.usedBytes
            return disk.capacity > used ? disk.capacity - used : 0
        }
    }

    public func makeFileID() -> UInt64 {
        disk.withLock { $0.random.next() }
    }
}

extension SimulatedDisk {
    /// Throws what an injected fault says, for calls that can only fail whole.
    func fail(_ effect: DiskFault.Effect?, _ operation: FileError.Operation, _ path: String) throws(FileError) {
        if case .error(let code) = effect { throw FileError(code, operation, path: path, reason: "injected") }
    }

    func checkRoom(_ more: Int, _ operation: FileError.Operation, _ path: String) throws(FileError) {
        guard capacity != .max, more > 0 else { return }
        guard usedBytes + UInt64(more) <= capacity else {
            throw FileError(.outOfSpace, operation, path: path, reason: "\(capacity) bytes in all")
        }
    }
}
