import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The real disk: `pread`, `pwrite`, `fdatasync`, `rename`, directory `fsync`, `flock`.
///
/// Every call is repeated when a signal interrupts it, and every write goes on until all bytes are written. Nothing is
/// buffered in the process.
public struct PosixFileSystem: FileSystem {
    public let keyring: Keyring?

    /// - Parameter keyring: encrypts what is written from now on, and opens what was encrypted before.
    public init(keyring: Keyring? = nil) { self.keyring = keyring }

    public func create(_ path: String, preallocate bytes: Int) throws(FileError) -> any WritableFile {
        precondition(bytes >= 0, "preallocation of \(bytes) bytes")
        let descriptor = try Descriptor(path, O_RDWR | O_CREAT | O_EXCL, .create)
        let file = PosixWritableFile(path: path, descriptor: descriptor, size: 0)
        if bytes > 0 {
            do throws(FileError) {
                try descriptor.allocate(bytes)
                try file.zeroFill(bytes)
            } catch {
                unsafe _ = unlink(path)
                throw FileError(error.code, .create, path: path, errno: error.errno, reason: error.reason)
            }
        }
        return file
    }

    public func createStream(_ path: String) throws(FileError) -> any WritableFile {
        if let file = try PosixStreamFile.create(path) { return file }
        return try create(path, preallocate: 0)
    }

    public func openForWriting(_ path: String) throws(FileError) -> any WritableFile {
        let descriptor = try Descriptor(path, O_RDWR, .open)
        return PosixWritableFile(path: path, descriptor: descriptor, size: try descriptor.size())
    }

    public func openForOverwriting(_ path: String) throws(FileError) -> any WritableFile {
        if let file = try PosixOverwriteFile.open(path) { return file }
        return try openForWriting(path)
    }

    public func open(_ path: String) throws(FileError) -> any ReadableFile {
        PosixReadableFile(path: path, descriptor: try Descriptor(path, O_RDONLY, .open))
    }

    public func exists(_ path: String) throws(FileError) -> Bool {
        if unsafe access(path, F_OK) == 0 { return true }
        guard errno == ENOENT || errno == ENOTDIR else { throw FileError(system: errno, .open, path: path) }
        return false
    }

    public func size(of path: String) throws(FileError) -> UInt64 {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw FileError(system: errno, .size, path: path) }
        return UInt64(status.st_size)
    }

    public func list(_ directory: String) throws(FileError) -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw FileError(system: errno, .list, path: directory)
        }
        defer { unsafe _ = closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw FileError(system: errno, .list, path: directory) }
                return names.sorted()
            }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
    }

    public func rename(_ source: String, to target: String) throws(FileError) {
        guard Self.systemRename(source, target) == 0 else {
            throw FileError(system: errno, .rename, path: source, reason: "to \(target)")
        }
    }

    public func link(_ source: String, to target: String) throws(FileError) {
        guard Self.systemLink(source, target) == 0 else {
            throw FileError(system: errno, .link, path: target, reason: "from \(source)")
        }
    }

    public func remove(_ path: String) throws(FileError) {
        guard unsafe unlink(path) == 0 else { throw FileError(system: errno, .remove, path: path) }
    }

    public func createDirectory(_ path: String) throws(FileError) {
        if try isDirectory(path) { return }
        let parent = Self.directory(of: path)
        if parent != path { try createDirectory(parent) }
        guard unsafe mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw FileError(system: errno, .createDirectory, path: path)
        }
        guard try isDirectory(path) else {
            throw FileError(.exists, .createDirectory, path: path, reason: "a file has this name")
        }
        try synchronizeDirectory(parent)
    }

    public func removeTree(_ path: String) throws(FileError) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw FileError(system: errno, .remove, path: path)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        for name in try list(path) { try removeTree(path + "/" + name) }
        guard unsafe rmdir(path) == 0 else { throw FileError(system: errno, .remove, path: path) }
    }

    public func synchronizeDirectory(_ directory: String) throws(FileError) {
        let descriptor = try Descriptor(directory, O_RDONLY | O_DIRECTORY, .synchronizeDirectory)
        guard descriptor.retrying({ fsync($0) }) == 0 else {
            throw FileError(system: errno, .synchronizeDirectory, path: directory)
        }
    }

    public func lock(_ path: String) throws(FileError) -> any FileLock {
        let descriptor = try Descriptor(path, O_RDWR | O_CREAT, .lock)
        guard descriptor.retrying({ flock($0, LOCK_EX | LOCK_NB) }) == 0 else {
            guard errno == EWOULDBLOCK else { throw FileError(system: errno, .lock, path: path) }
            throw FileError(.locked, .lock, path: path, reason: "another process uses this directory")
        }
        return PosixFileLock(descriptor)
    }

    public func freeSpace(at path: String) throws(FileError) -> UInt64 {
        var status = statvfs()
        guard unsafe statvfs(path, &status) == 0 else { throw FileError(system: errno, .freeSpace, path: path) }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    public func makeFileID() -> UInt64 {
        UInt64.random(in: 1...UInt64.max)
    }

    private func isDirectory(_ path: String) throws(FileError) -> Bool {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            if errno == ENOENT { return false }
            throw FileError(system: errno, .createDirectory, path: path)
        }
        return status.st_mode & S_IFMT == S_IFDIR
    }

    // The method names above hide the system's functions of the same names.
    private static func systemRename(_ source: String, _ target: String) -> Int32 {
        #if canImport(Glibc)
            unsafe Glibc.rename(source, target)
        #else
            unsafe Musl.rename(source, target)
        #endif
    }

    private static func systemLink(_ source: String, _ target: String) -> Int32 {
        #if canImport(Glibc)
            unsafe Glibc.link(source, target)
        #else
            unsafe Musl.link(source, target)
        #endif
    }
}

extension FileError {
    /// The error that the system reports as `number`.
    init(
        system number: Int32, _ operation: Operation, path: String, offset: UInt64? = nil, reason: String = ""
    ) {
        let code: Code =
            switch number {
            case ENOENT: .notFound
            case EEXIST, ENOTEMPTY: .exists
            case ENOSPC, EDQUOT, EFBIG: .outOfSpace
            default: .io
            }
        let text = Errno(rawValue: number).description
        self.init(
            code, operation, path: path, offset: offset, errno: number,
            reason: reason.isEmpty ? text : "\(reason): \(text)")
    }
}
