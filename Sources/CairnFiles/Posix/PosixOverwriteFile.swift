import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An existing file that is written over, front to back, each write going to the disk at once and past the page cache
/// (`O_DIRECT`): what the log is made of. A sync of such a file has no dirty pages to find and to wait for.
///
/// The last block is kept in memory, for the next write begins in the middle of it.
///
/// - Invariant: `blockOffset` is a multiple of ``AlignedBuffer/alignment``, and the buffer holds what the file has from there
///   on, less than a block between two writes.
final class PosixOverwriteFile: WritableFile {
    private struct State: ~Copyable {
        var block = AlignedBuffer()
        var blockOffset: UInt64 = 0
        var size: UInt64
        var end: UInt64 { blockOffset + UInt64(block.count) }
    }

    let path: String
    private let descriptor: Descriptor
    private let state: Mutex<State>

    /// Opens the file, or returns nil where the file system has no direct writes.
    static func open(_ path: String) throws(FileError) -> PosixOverwriteFile? {
        do throws(FileError) {
            let descriptor = try Descriptor(path, O_RDWR | Descriptor.directFlag, .open)
            return PosixOverwriteFile(path: path, descriptor: descriptor, size: try descriptor.size())
        } catch {
            guard error.errno == EINVAL else { throw error }
            return nil
        }
    }

    private init(path: String, descriptor: Descriptor, size: UInt64) {
        self.path = path
        self.descriptor = descriptor
        state = Mutex(State(size: size))
    }

    var size: UInt64 { state.withLock { $0.size } }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(FileError) {
        let descriptor = descriptor
        let path = path
        let written = state.withLock { state -> Result<Void, FileError> in
            precondition(offset == state.end, "\(path) is written front to back, not at \(offset) of \(state.end)")
            var taken = 0
            while taken < bytes.byteCount {
                taken += state.block.append(bytes.extracting(droppingFirst: taken))
                do throws(FileError) {
                    try state.block.write(to: descriptor, at: state.blockOffset)
                } catch { return .failure(error) }
                state.size = max(state.size, state.blockOffset + UInt64(state.block.paddedCount))
                state.blockOffset += UInt64(state.block.removeWholeBlocks())
            }
            return .success(())
        }
        try written.get()
    }

    func synchronizeData() throws(FileError) {
        guard descriptor.retrying({ fdatasync($0) }) == 0 else {
            throw FileError(system: errno, .synchronize, path: path)
        }
    }

    /// Cuts or extends the file. What the last block held is not known afterwards, so nothing more may be written.
    func truncate(to size: UInt64) throws(FileError) {
        let descriptor = descriptor
        guard descriptor.retrying({ ftruncate($0, off_t(size)) }) == 0 else {
            throw FileError(system: errno, .truncate, path: path, offset: size)
        }
        state.withLock { $0.size = size }
    }

    func close() throws(FileError) { try descriptor.close() }
}
