/// Memory that only grows, handed out from chunks and given back all at once.
///
/// Addresses stay valid until the arena goes. The first chunk is small, because a node hosts many engines of which most are
/// idle, and later ones double up to a bound. One thread at a time may allocate.
@safe
struct Arena: ~Copyable {
    static let firstChunkBytes = 64 << 10
    static let chunkBytesMax = 1 << 20

    private var chunks: [UnsafeMutableRawPointer] = unsafe []
    private var next: UnsafeMutableRawPointer
    private var remaining = 0
    /// Bytes taken from the system.
    private(set) var reservedBytes = 0
    /// Bytes handed out.
    private(set) var usedBytes = 0

    init() {
        unsafe next = UnsafeMutableRawPointer(bitPattern: 8)!
    }

    deinit {
        unsafe chunks.forEach { unsafe $0.deallocate() }
    }

    /// Uninitialized memory, aligned to eight bytes.
    @inline(__always)
    mutating func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let rounded = (byteCount &+ 7) & ~7
        if rounded > remaining { grow(rounded) }
        let result = unsafe next
        unsafe next += rounded
        remaining &-= rounded
        usedBytes &+= rounded
        return unsafe result
    }

    private mutating func grow(_ byteCount: Int) {
        let usual = unsafe min(Self.firstChunkBytes << min(chunks.count, 10), Self.chunkBytesMax)
        let size = max(usual, byteCount)
        let chunk = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        unsafe chunks.append(chunk)
        unsafe next = chunk
        remaining = size
        reservedBytes += size
    }
}
