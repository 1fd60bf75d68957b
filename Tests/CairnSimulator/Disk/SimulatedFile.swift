import CairnFiles
import Synchronization

/// An open file of the simulated disk.
final class SimulatedFile: WritableFile {
    let path: String
    private let fileSystem: SimulatedFileSystem
    private let inode: Int
    private let life: Int
    private let isClosed = Atomic(false)

    init(_ fileSystem: SimulatedFileSystem, inode: Int, path: String, life: Int) {
        self.fileSystem = fileSystem
        self.inode = inode
        self.path = path
        self.life = life
    }

    var size: UInt64 { fileSystem.disk.withLock { UInt64($0.inodes[inode].bytes.count) } }

    func currentSize() throws(FileError) -> UInt64 {
        let inode = inode
        return try access(.size, changes: false) { disk, _ throws(FileError) in
            UInt64(disk.inodes[inode].bytes.count)
        }
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(FileError) {
        let new = bytes.withUnsafeBytes { bytes in
            [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, initialized in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
                initialized = bytes.count
            }
        }
        let inode = inode
        let path = path
        try access(.write, changes: true) { disk, effect throws(FileError) in
            let growth = Int(offset) + new.count - disk.inodes[inode].bytes.count
            try disk.checkRoom(growth, .write, path)
            switch effect {
            case nil:
                disk.inodes[inode].write(new, at: Int(offset), &disk.random)
            case .error(let code):
                let part = disk.random.oneIn(2) ? 0 : Int.random(in: 0...new.count, using: &disk.random)
                disk.inodes[inode].write(Array(new.prefix(part)), at: Int(offset), &disk.random)
                throw FileError(code, .write, path: path, offset: offset, reason: "injected")
            case .shortWrite:
                let part = new.isEmpty ? 0 : Int.random(in: 0..<new.count, using: &disk.random)
                disk.inodes[inode].write(Array(new.prefix(part)), at: Int(offset), &disk.random)
                throw FileError(.io, .write, path: path, offset: offset + UInt64(part), reason: "injected short write")
            case .loseWrite:
                if growth > 0 {
                    disk.inodes[inode].bytes.append(contentsOf: repeatElement(0, count: growth))
                }
            case .misdirectWrite:
                if growth > 0 {
                    disk.inodes[inode].bytes.append(contentsOf: repeatElement(0, count: growth))
                }
                let sectors = disk.inodes[inode].bytes.count / SimulatedInode.sectorBytes
                let elsewhere = Int.random(in: 0...max(sectors, 1), using: &disk.random) * SimulatedInode.sectorBytes
                disk.inodes[inode].write(new, at: elsewhere, &disk.random)
            }
        }
    }

    func synchronizeData() throws(FileError) {
        let inode = inode
        let path = path
        try access(.synchronize, changes: true) { disk, effect throws(FileError) in
            guard case .error(let code) = effect else { return disk.inodes[inode].synchronize() }
            disk.inodes[inode].failToSynchronize()
            throw FileError(code, .synchronize, path: path, reason: "injected")
        }
    }

    func truncate(to size: UInt64) throws(FileError) {
        let inode = inode
        let path = path
        try access(.truncate, changes: true) { disk, effect throws(FileError) in
            try disk.fail(effect, .truncate, path)
            disk.inodes[inode].truncate(to: Int(size), &disk.random)
        }
    }

    func read(at offset: UInt64, upTo count: Int) throws(FileError) -> [UInt8] {
        let inode = inode
        let path = path
        return try access(.read, changes: false) { disk, effect throws(FileError) in
            if case .error(let code) = effect {
                throw FileError(code, .read, path: path, offset: offset, reason: "injected")
            }
            let bytes = disk.inodes[inode].bytes
            guard offset < UInt64(bytes.count) else { return [] }
            return Array(bytes[Int(offset)..<min(Int(offset) + count, bytes.count)])
        }
    }

    func close() throws(FileError) {
        isClosed.store(true, ordering: .relaxed)
    }

    private func access<Result: Sendable>(
        _ operation: FileError.Operation, changes: Bool,
        _ body: (inout SimulatedDisk, DiskFault.Effect?) throws(FileError) -> Result
    ) throws(FileError) -> Result {
        try fileSystem.disk.withLock { disk throws(FileError) -> Result in
            guard disk.powerIsOn else {
                throw FileError(.io, operation, path: path, reason: SimulatedDisk.powerIsOff)
            }
            guard !isClosed.load(ordering: .relaxed), disk.life == life else {
                throw FileError(.io, operation, path: path, reason: "closed, or opened before a restart")
            }
            let effect = try disk.begin(operation, path, changes: changes)
            return try body(&disk, effect)
        }
    }
}

/// An open file of the simulated disk that can only be read.
final class SimulatedReadableFile: ReadableFile {
    private let file: SimulatedFile

    init(_ file: SimulatedFile) { self.file = file }

    var path: String { file.path }
    func size() throws(FileError) -> UInt64 { try file.currentSize() }
    func read(at offset: UInt64, upTo count: Int) throws(FileError) -> [UInt8] {
        try file.read(at: offset, upTo: count)
    }
    func close() throws(FileError) { try file.close() }
}

final class SimulatedLock: FileLock {
    private let fileSystem: SimulatedFileSystem
    private let inode: Int
    private let life: Int
    private let isReleased = Atomic(false)

    init(_ fileSystem: SimulatedFileSystem, inode: Int, life: Int) {
        self.fileSystem = fileSystem
        self.inode = inode
        self.life = life
    }

    deinit { release() }

    func release() {
        guard !isReleased.exchange(true, ordering: .relaxed) else { return }
        fileSystem.disk.withLock { disk in
            if disk.life == life { disk.locked.remove(inode) }
        }
    }
}
