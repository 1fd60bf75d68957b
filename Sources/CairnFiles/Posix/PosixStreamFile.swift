import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A file that is written front to back past the page cache (`O_DIRECT`): the copy into the cache is dear, and
/// throws out of it what readers need.
///
/// Bytes gather in one aligned buffer and leave it in whole writes of its size. ``synchronizeData()`` writes the rest,
/// padded to a whole block, and cuts the padding off; what is written later goes over that block again, with the same bytes
/// before it.
///
/// - Invariant: the bytes of the file from `bufferOffset` on are those in the buffer; `bufferOffset` is a multiple of
///   ``AlignedBuffer/alignment``.
final class PosixStreamFile: WritableFile {
    private struct State: ~Copyable {
        var buffer = AlignedBuffer()
        /// Where in the file the buffer's first byte belongs.
        var bufferOffset: UInt64 = 0
        var end: UInt64 { bufferOffset + UInt64(buffer.count) }
    }

    let path: String
    private let descriptor: Descriptor
    private let state = Mutex(State())

    /// Makes the file, or returns nil where the file system has no direct writes.
    ///
    /// - Throws: ``FileError`` with code `exists` if the name is taken.
    static func create(_ path: String) throws(FileError) -> PosixStreamFile? {
        do throws(FileError) {
            let descriptor = try Descriptor(path, O_RDWR | O_CREAT | O_EXCL | Descriptor.directFlag, .create)
            return PosixStreamFile(path: path, descriptor: descriptor)
        } catch {
            guard error.errno == EINVAL else { throw error }
            // The name may have been made before the flag was refused.
            unsafe _ = unlink(path)
            return nil
        }
    }

    private init(path: String, descriptor: Descriptor) {
        self.path = path
        self.descriptor = descriptor
    }

    var size: UInt64 { state.withLock { $0.end } }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(FileError) {
        let descriptor = descriptor
        let written = state.withLock { state -> Result<Void, FileError> in
            precondition(offset == state.end, "\(path) is written front to back, not at \(offset) of \(state.end)")
            var taken = 0
            while taken < bytes.byteCount {
                taken += state.buffer.append(bytes.extracting(droppingFirst: taken))
                guard state.buffer.isFull else { continue }
                do throws(FileError) {
                    try state.buffer.write(to: descriptor, at: state.bufferOffset)
                } catch { return .failure(error) }
                state.bufferOffset += UInt64(state.buffer.count)
                state.buffer.removeAll()
            }
            return .success(())
        }
        try written.get()
    }

    func synchronizeData() throws(FileError) {
        let descriptor = descriptor
        let path = path
        let written = state.withLock { state -> Result<Void, FileError> in
            guard state.buffer.count > 0 else { return .success(()) }
            do throws(FileError) {
                try state.buffer.write(to: descriptor, at: state.bufferOffset)
            } catch { return .failure(error) }
            guard descriptor.retrying({ ftruncate($0, off_t(state.end)) }) == 0 else {
                return .failure(FileError(system: errno, .truncate, path: path, offset: state.end))
            }
            return .success(())
        }
        try written.get()
        guard descriptor.retrying({ fdatasync($0) }) == 0 else {
            throw FileError(system: errno, .synchronize, path: path)
        }
    }

    func truncate(to size: UInt64) throws(FileError) {
        throw FileError(.unsupported, .truncate, path: path, reason: "it is written once, front to back")
    }

    func close() throws(FileError) { try descriptor.close() }
}
