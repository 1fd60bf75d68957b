/// Bytes at an address and of a size that direct writes may have.
@safe
struct AlignedBuffer: ~Copyable {
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

    /// Its count, up to whole blocks.
    var paddedCount: Int { (count + Self.alignment - 1) & ~(Self.alignment - 1) }

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

    /// Drops all whole blocks; returns how many bytes that were.
    mutating func removeWholeBlocks() -> Int {
        let whole = count & ~(Self.alignment - 1)
        // Safety: both ranges lie within the first `count` bytes.
        if whole > 0, whole < count { unsafe base.copyMemory(from: base + whole, byteCount: count - whole) }
        count -= whole
        return whole
    }

    /// Writes what it holds, and zeros up to a multiple of the alignment.
    func write(to descriptor: Descriptor, at offset: UInt64) throws(FileError) {
        let padded = paddedCount
        // Safety: the capacity is a multiple of the alignment, so the padding lies inside.
        unsafe (base + count).initializeMemory(as: UInt8.self, repeating: 0, count: padded - count)
        try descriptor.write(unsafe RawSpan(_unsafeStart: base, byteCount: padded), at: offset)
    }
}
