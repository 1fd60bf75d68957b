import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An open file descriptor, closed when the last reference goes.
final class Descriptor: Sendable {
    let path: String
    /// -1 once closed.
    private let number: Atomic<Int32>

    init(_ path: String, _ flags: Int32, _ operation: FileError.Operation) throws(FileError) {
        self.path = path
        var opened: Int32
        repeat { opened = unsafe open(path, flags | O_CLOEXEC, 0o644) } while opened < 0 && errno == EINTR
        guard opened >= 0 else { throw FileError(system: errno, operation, path: path) }
        number = Atomic(opened)
    }

    deinit { try? close() }

    func close() throws(FileError) {
        let closing = number.exchange(-1, ordering: .relaxed)
        guard closing >= 0 else { return }
        // Linux gives the number back even when it reports EINTR, so the call is never repeated.
        let result = closeDescriptor(closing)
        guard result == 0 || errno == EINTR else { throw FileError(system: errno, .close, path: path) }
    }

    /// Linux's `O_DIRECT`, which the C library shows to those only who ask for all of GNU.
    static var directFlag: Int32 {
        #if os(Linux) && arch(x86_64)
            0o40000
        #elseif os(Linux) && arch(arm64)
            0o200000
        #else
            0
        #endif
    }

    /// The number to hand to the system; -1, which it refuses with EBADF, once closed.
    @inline(__always)
    var raw: Int32 { number.load(ordering: .relaxed) }

    /// Calls `body` again for as long as signals interrupt it.
    @inline(__always)
    func retrying<Result: SignedInteger>(_ body: (Int32) -> Result) -> Result {
        while true {
            let result = body(raw)
            if result >= 0 || errno != EINTR { return result }
        }
    }

    func size() throws(FileError) -> UInt64 {
        var status = stat()
        guard unsafe fstat(raw, &status) == 0 else { throw FileError(system: errno, .size, path: path) }
        return UInt64(status.st_size)
    }

    /// Reserves `bytes` from the start, so that a full disk shows before the first write.
    func allocate(_ bytes: Int) throws(FileError) {
        var result: Int32
        repeat { result = posix_fallocate(raw, 0, off_t(bytes)) } while result == EINTR
        // Some file systems cannot allocate ahead; writing the zeros will find out what room there is.
        guard result == 0 || result == EOPNOTSUPP || result == EINVAL else {
            throw FileError(system: result, .create, path: path)
        }
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(FileError) {
        let total = bytes.byteCount
        var written = 0
        while written < total {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                // Safety: `written < total`, so the rest lies inside the span.
                unsafe pwrite(raw, buffer.baseAddress! + written, total - written, off_t(offset) + off_t(written))
            }
            if count > 0 {
                written += count
            } else if count == 0 {
                throw FileError(.io, .write, path: path, offset: offset + UInt64(written), reason: "nothing written")
            } else if errno != EINTR {
                throw FileError(system: errno, .write, path: path, offset: offset + UInt64(written))
            }
        }
    }

    func read(at offset: UInt64, upTo count: Int) throws(FileError) -> [UInt8] {
        guard count > 0 else { return [] }
        var failure: FileError?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while initialized < count {
                // Safety: `initialized < count`, so the rest lies inside the buffer.
                let got = unsafe pread(
                    raw, buffer.baseAddress! + initialized, count - initialized,
                    off_t(offset) + off_t(initialized))
                if got > 0 {
                    initialized += got
                } else if got == 0 {
                    break
                } else if errno != EINTR {
                    failure = FileError(system: errno, .read, path: path, offset: offset + UInt64(initialized))
                    break
                }
            }
        }
        if let failure { throw failure }
        return bytes
    }
}

private func closeDescriptor(_ number: Int32) -> Int32 { close(number) }

final class PosixWritableFile: WritableFile {
    let path: String
    private let descriptor: Descriptor
    private let end: Atomic<UInt64>

    init(path: String, descriptor: Descriptor, size: UInt64) {
        self.path = path
        self.descriptor = descriptor
        end = Atomic(size)
    }

    var size: UInt64 { end.load(ordering: .relaxed) }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(FileError) {
        try descriptor.write(bytes, at: offset)
        _ = end.max(offset + UInt64(bytes.byteCount), ordering: .relaxed)
    }

    func synchronizeData() throws(FileError) {
        guard descriptor.retrying({ fdatasync($0) }) == 0 else {
            throw FileError(system: errno, .synchronize, path: path)
        }
    }

    func truncate(to size: UInt64) throws(FileError) {
        guard descriptor.retrying({ ftruncate($0, off_t(size)) }) == 0 else {
            throw FileError(system: errno, .truncate, path: path, offset: size)
        }
        end.store(size, ordering: .relaxed)
    }

    func close() throws(FileError) { try descriptor.close() }

    /// Writes `count` zeros from the start of the file, so that later writes change no extents.
    func zeroFill(_ count: Int) throws(FileError) {
        let zeros = [UInt8](repeating: 0, count: min(count, 1 << 20))
        var offset = 0
        while offset < count {
            let part = min(zeros.count, count - offset)
            try write(zeros[..<part], at: UInt64(offset))
            offset += part
        }
    }
}

final class PosixReadableFile: ReadableFile {
    let path: String
    private let descriptor: Descriptor

    init(path: String, descriptor: Descriptor) {
        self.path = path
        self.descriptor = descriptor
    }

    func size() throws(FileError) -> UInt64 { try descriptor.size() }

    func read(at offset: UInt64, upTo count: Int) throws(FileError) -> [UInt8] {
        try descriptor.read(at: offset, upTo: count)
    }

    func close() throws(FileError) { try descriptor.close() }
}

/// A `flock`, which the system takes back when the descriptor closes, however the process ends.
final class PosixFileLock: FileLock {
    private let descriptor: Descriptor

    init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    func release() { try? descriptor.close() }
}
