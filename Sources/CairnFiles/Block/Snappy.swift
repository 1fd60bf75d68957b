import CSnappy

/// Why bytes are not a snappy block that we take.
public enum SnappyError: Error, Hashable, Sendable {
    /// Not the snappy raw format, or it does not produce what it declares.
    case malformed
    /// It declares more bytes than the limit; nothing was allocated for them.
    case tooLarge(declared: Int, limit: Int)
}

/// The snappy raw block format (format_description.txt of google/snappy), by the system's libsnappy.
///
/// Outputs are appended to arrays that the caller reuses, so the steady state allocates nothing.
public enum Snappy {
    /// The most bytes that compressing `count` bytes can produce.
    public static func compressedCountMax(of count: Int) -> Int {
        snappy_max_compressed_length(count)
    }

    /// Appends the compressed form of `input` to `output`.
    public static func compress(_ input: RawSpan, appendingTo output: inout [UInt8]) {
        let room = compressedCountMax(of: input.byteCount)
        output.append(addingCapacity: room) { target in
            let status = unsafe input.withUnsafeBytes { source in
                // Safety: `target` has room for `room` bytes; libsnappy writes at most the maximum it named.
                unsafe target.withUnsafeMutableBufferPointer { buffer, initialized in
                    var produced = room
                    let place = UnsafeMutableRawPointer(buffer.baseAddress!)
                    let status = unsafe snappy_compress(
                        source.baseAddress?.assumingMemoryBound(to: CChar.self) ?? emptyInput, source.count,
                        place.assumingMemoryBound(to: CChar.self), &produced)
                    initialized = status == SNAPPY_OK ? produced : 0
                    return status
                }
            }
            precondition(status == SNAPPY_OK, "snappy refused a buffer of its own maximum size, \(room) bytes")
        }
    }

    /// The number of bytes that `input` says it will decompress to. Not to be trusted before it is compared to a limit.
    public static func declaredCount(of input: RawSpan) throws(SnappyError) -> Int {
        var count = 0
        let status = unsafe input.withUnsafeBytes { source in
            unsafe snappy_uncompressed_length(
                source.baseAddress?.assumingMemoryBound(to: CChar.self) ?? emptyInput, source.count, &count)
        }
        guard status == SNAPPY_OK else { throw .malformed }
        return count
    }

    /// Appends the decompressed form of `input` to `output`, which stays as it was on an error.
    ///
    /// - Parameter limit: The most bytes that it may produce, checked against the declared length before memory is taken.
    public static func decompress(
        _ input: RawSpan, limit: Int, appendingTo output: inout [UInt8]
    ) throws(SnappyError) {
        let declared = try declaredCount(of: input)
        guard declared <= limit else { throw .tooLarge(declared: declared, limit: limit) }
        // Snappy's best ratio is 64 bytes of copy for three of input: what claims more is a lie, and gets no memory.
        guard declared <= input.byteCount * 64 else { throw .malformed }
        var isWhole = false
        output.append(addingCapacity: declared) { target in
            var produced = declared
            let status = unsafe input.withUnsafeBytes { source in
                // Safety: `target` has room for `declared` bytes; libsnappy checks its output against `produced`.
                unsafe target.withUnsafeMutableBufferPointer { buffer, initialized in
                    let place = unsafe buffer.baseAddress.map { UnsafeMutableRawPointer($0) }
                    let status = unsafe snappy_uncompress(
                        source.baseAddress?.assumingMemoryBound(to: CChar.self) ?? emptyInput, source.count,
                        place?.assumingMemoryBound(to: CChar.self) ?? emptyByte, &produced)
                    if status == SNAPPY_OK, produced == declared { initialized = declared }
                    return status
                }
            }
            isWhole = status == SNAPPY_OK && produced == declared
        }
        guard isWhole else { throw .malformed }
    }

    /// The decompressed form of `input`; see ``decompress(_:limit:appendingTo:)``.
    public static func decompress(_ input: RawSpan, limit: Int) throws(SnappyError) -> [UInt8] {
        var output: [UInt8] = []
        try decompress(input, limit: limit, appendingTo: &output)
        return output
    }

    /// Somewhere to point to for no bytes at all: libsnappy does not take NULL.
    private static var emptyInput: UnsafePointer<CChar> { unsafe UnsafePointer(emptyByte) }
    // Safety: one byte that nothing ever writes.
    private nonisolated(unsafe) static let emptyByte: UnsafeMutablePointer<CChar> = {
        let byte = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
        unsafe byte.initialize(to: 0)
        return unsafe byte
    }()
}
