/// Cuts a stream of bytes into messages.
///
/// Bytes go in with ``feed(_:)`` as they arrive, whole messages come out of ``next()``. A length is checked before
/// it is believed, and memory is taken for bytes that have come, never for bytes that were announced, so that a
/// silent or lying peer costs at most what it sent.
///
/// - Invariant: at most one incomplete message is held, of at most `messageBytesMax` bytes.
/// - Complexity: each byte is copied once on its way in, and once more if its message came in pieces.
public struct FrameDecoder: Sendable {
    private let messageBytesMax: Int
    /// Bytes that came and were not handed out yet.
    private var buffer: [UInt8] = []
    /// Where in `buffer` the next message starts.
    private var start = 0

    public init(messageBytesMax: Int = WireLimits.messageBytesMax) {
        self.messageBytesMax = messageBytesMax
    }

    /// Bytes held, waiting for the rest of their message.
    public var pendingByteCount: Int { buffer.count - start }

    /// Takes bytes from the stream.
    public mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        if start == buffer.count {
            // What was handed out may still share the old array; a new one keeps those slices without a copy.
            buffer = unsafe [UInt8](bytes)
            start = 0
            return
        }
        if start > 0 {
            buffer = [UInt8](buffer[start...])
            start = 0
        }
        unsafe buffer.append(contentsOf: bytes)
    }

    /// The next whole message, header included, or nil when its bytes have not all come.
    ///
    /// - Throws: ``WireError/lengthOutOfBounds(_:)``; the stream is of no use after that.
    public mutating func next() throws(WireError) -> ArraySlice<UInt8>? {
        guard buffer.count - start >= 4 else { return nil }
        var reader = ByteReader(buffer[start...])
        let length = Int(try reader.int32())
        guard length >= MessageHeader.byteCount, length <= messageBytesMax else { throw .lengthOutOfBounds(length) }
        guard buffer.count - start >= length else { return nil }
        defer { start += length }
        return buffer[start..<(start + length)]
    }
}
