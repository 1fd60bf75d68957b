/// The only door to the disk.
///
/// Paths are plain strings, absolute or relative to the working directory. All calls block; all may be made from any
/// thread. What a call promises is what POSIX promises and no more, so that the twin in the tests can take away the rest:
///
/// - Written bytes survive a power cut once ``WritableFile/synchronizeData()`` has returned, not before.
/// - A name (made by `create`, `rename` or `link`, taken away by `rename` or `remove`) is sure to survive once
///   ``synchronizeDirectory(_:)`` of the directory that holds it has returned, not before, and independently of its
///   neighbours.
/// - A rename shows either the old or the new file under a name, never neither.
public protocol FileSystem: Sendable {
    /// Makes a new file and opens it for writing.
    ///
    /// - Parameter bytes: The size that the file has from the start, all zeros that are really written (an allocation
    ///   alone still costs a journal commit per sync; see the log thread). 0 makes an empty file.
    /// - Throws: ``FileError`` with code `exists` if the name is taken, `outOfSpace` with nothing left behind.
    func create(_ path: String, preallocate bytes: Int) throws(FileError) -> any WritableFile

    /// Makes a new file that is written once, front to back, and not read soon by many.
    ///
    /// Writes at any other place than the end are a mistake. ``WritableFile/write(_:at:)-(RawSpan,_)`` may keep bytes in the
    /// process until ``WritableFile/synchronizeData()``.
    func createStream(_ path: String) throws(FileError) -> any WritableFile

    /// Opens an existing file for positional writes, without changing it.
    func openForWriting(_ path: String) throws(FileError) -> any WritableFile

    /// Opens an existing file to be written over, front to back from its start, with a sync after every few writes.
    ///
    /// Writes at any other place than the end of the one before are a mistake. The file may grow to whole blocks, with zeros
    /// behind what was written.
    func openForOverwriting(_ path: String) throws(FileError) -> any WritableFile

    /// Opens an existing file for reading.
    func open(_ path: String) throws(FileError) -> any ReadableFile

    func exists(_ path: String) throws(FileError) -> Bool
    func size(of path: String) throws(FileError) -> UInt64

    /// The names in `directory`, sorted, without "." and "..".
    func list(_ directory: String) throws(FileError) -> [String]

    /// Gives the file at `source` the name `target`, which it takes from whoever had it.
    func rename(_ source: String, to target: String) throws(FileError)

    /// Gives the file at `source` one more name.
    func link(_ source: String, to target: String) throws(FileError)

    func remove(_ path: String) throws(FileError)

    /// Makes `path` and the directories above it that are missing, and makes their names durable.
    func createDirectory(_ path: String) throws(FileError)

    /// Removes `path` and all that is in it. A missing one is no error.
    func removeTree(_ path: String) throws(FileError)

    /// Makes the names in `directory` durable.
    func synchronizeDirectory(_ directory: String) throws(FileError)

    /// Takes the exclusive lock that the file at `path` stands for, making the file if it is missing.
    ///
    /// - Throws: ``FileError`` with code `locked` at once if someone else holds it.
    func lock(_ path: String) throws(FileError) -> any FileLock

    /// Bytes that this process may still write on the device that holds `path`.
    func freeSpace(at path: String) throws(FileError) -> UInt64

    /// A number that no other file of any node will have: the identity that goes into a file's checksums.
    func makeFileID() -> UInt64

    /// What record logs and tables are encrypted with; nil leaves them in the clear.
    var keyring: Keyring? { get }
}

/// A file that is open for positional writes.
///
/// One writer at a time; a reader may hold the same file open. Closing is implied when the last reference goes.
public protocol WritableFile: AnyObject, Sendable {
    var path: String { get }

    /// The size in bytes, which grows by writing past the end.
    var size: UInt64 { get }

    /// Writes all of `bytes` at `offset`.
    ///
    /// The bytes are in the kernel, not on the disk. On an error any part of them may have been written.
    func write(_ bytes: RawSpan, at offset: UInt64) throws(FileError)

    /// Returns once the bytes written so far, and the size, are on the disk (`fdatasync`).
    ///
    /// After an error nothing that was unsynced can be trusted, and a second call that succeeds proves nothing.
    func synchronizeData() throws(FileError)

    /// Cuts the file, or extends it with zeros, to `size` bytes.
    func truncate(to size: UInt64) throws(FileError)

    /// Closes the file; later calls throw. Does not sync.
    func close() throws(FileError)
}

extension WritableFile {
    /// Writes all of `bytes` at `offset`; see ``write(_:at:)-(RawSpan,_)``.
    @inlinable
    public func write(_ bytes: [UInt8], at offset: UInt64) throws(FileError) {
        unsafe try write(bytes.span.bytes, at: offset)
    }

    /// Writes all of `bytes` at `offset`; see ``write(_:at:)-(RawSpan,_)``.
    @inlinable
    public func write(_ bytes: ArraySlice<UInt8>, at offset: UInt64) throws(FileError) {
        unsafe try write(bytes.span.bytes, at: offset)
    }
}

/// A file that is open for positional reads, from any number of threads.
public protocol ReadableFile: AnyObject, Sendable {
    var path: String { get }

    /// The size in bytes at this moment.
    func size() throws(FileError) -> UInt64

    /// The bytes from `offset` on: `count` of them, or fewer where the file ends before.
    func read(at offset: UInt64, upTo count: Int) throws(FileError) -> [UInt8]

    /// Closes the file; later calls throw.
    func close() throws(FileError)
}

extension ReadableFile {
    /// Exactly `count` bytes from `offset` on.
    ///
    /// - Throws: ``FileError`` with code `truncated` and the offset at which the file ended.
    public func read(at offset: UInt64, count: Int) throws(FileError) -> [UInt8] {
        let bytes = try read(at: offset, upTo: count)
        guard bytes.count == count else {
            throw FileError(
                .truncated, .read, path: path, offset: offset + UInt64(bytes.count),
                reason: "\(count) bytes wanted from \(offset)")
        }
        return bytes
    }
}

/// An exclusive lock; given back by ``release()`` or when the last reference goes.
public protocol FileLock: AnyObject, Sendable {
    func release()
}

extension FileSystem {
    /// Makes a new, empty file and opens it for writing.
    public func create(_ path: String) throws(FileError) -> any WritableFile {
        try create(path, preallocate: 0)
    }

    public func openForOverwriting(_ path: String) throws(FileError) -> any WritableFile {
        try openForWriting(path)
    }

    public func createStream(_ path: String) throws(FileError) -> any WritableFile {
        try create(path, preallocate: 0)
    }

    public var keyring: Keyring? { nil }

    /// All bytes of the file at `path`, at most `limit`.
    public func contents(of path: String, limit: Int = 1 << 30) throws(FileError) -> [UInt8] {
        let file = try open(path)
        let size = try file.size()
        guard size <= UInt64(limit) else {
            throw FileError(.tooLarge, .read, path: path, reason: "\(size) bytes, limit \(limit)")
        }
        let bytes = try file.read(at: 0, count: Int(size))
        try file.close()
        return bytes
    }

    /// Puts `bytes` under the name `path` for good: afterwards, power cut or not, the name has the old contents or the
    /// new, and once the call has returned the new.
    public func replace(_ path: String, with bytes: [UInt8]) throws(FileError) {
        let temporary = path + ".new"
        if try exists(temporary) { try remove(temporary) }
        let file = try create(temporary)
        try file.write(bytes, at: 0)
        try file.synchronizeData()
        try file.close()
        try rename(temporary, to: path)
        try synchronizeDirectory(Self.directory(of: path))
    }

    /// The directory part of `path`: "." when it has none.
    public static func directory(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.utf8.startIndex ? "/" : String(path[..<slash])
    }
}
