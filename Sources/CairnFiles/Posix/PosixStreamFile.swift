import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A file that is written front to back past the page cache (`O_DIRECT`): the copy into the cache costs as much as
/// compressing the bytes, and throws out of it what readers need.
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
            let descriptor = try Descriptor(path, O_RDWR | O_CREAT | O_EXCL | directFlag, .create)
            return PosixStreamFile(path: path, descriptor: descriptor)
        } catch {
            guard error.errno == EINVAL else { throw error }
            // The name may have been made before the flag was refused.
            unsafe _ = unlink(path)
            return nil
        }
    }

    /// Linux's `O_DIRECT`, which the C library shows to those only who ask for all of GNU.
    private static var directFlag: Int32 {
        #if os(Linux) && arch(x86_64)
            0o40000
        #elseif os(Linux) && arch(arm64)
            0o200000
        #else
            0
        #endif
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

/// Bytes at an address and of a size that direct writes may have.
@safe
private struct AlignedBuffer: ~Copyable {
    /// Covers the logical block of every disk in use.
    static let alignment = 4096
    private static let capacity = 1 << 20

    private let base: UnsafeMutableRawPointer
    private(set) var count = 0

    init() {
        unsafe base = .allocate(byteCount: Self.capacity, alignment: Self.alignment)
    }

    deinit { unsafe base.deallocate() }

    var isFull: Bool { count == Self.capacity }

    /// Takes as many of `bytes` as fit, and returns how many.
    mutating func append(_ bytes: RawSpan) -> Int {
        let taken = min(bytes.byteCount, Self.capacity - count)
        unsafe bytes.withUnsafeBytes { source in
            // Safety: `taken` bytes are in the source and fit behind `count`.
            guard let start = source.baseAddress else { return }
            unsafe (base + count).copyMemory(from: start, byteCount: taken)
        }
        count += taken
        return taken
    }

    mutating func removeAll() { count = 0 }

    /// Writes what it holds, and zeros up to a multiple of the alignment.
    func write(to descriptor: Descriptor, at offset: UInt64) throws(FileError) {
        let padded = (count + Self.alignment - 1) & ~(Self.alignment - 1)
        // Safety: the capacity is a multiple of the alignment, so the padding lies inside.
        unsafe (base + count).initializeMemory(as: UInt8.self, repeating: 0, count: padded - count)
        try descriptor.write(unsafe RawSpan(_unsafeStart: base, byteCount: padded), at: offset)
    }
}
