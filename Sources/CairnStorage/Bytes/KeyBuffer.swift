#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A key that is rebuilt in place, over and over, as prefix-compressed entries are read.
///
/// A class, so that its owners change it without the language's guard against two changes at once, which costs as much as
/// the change. One thread at a time.
@safe
final class KeyBuffer {
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0

    init() {
        capacity = 64
        unsafe memory = .allocate(byteCount: 64, alignment: 8)
    }

    deinit { unsafe memory.deallocate() }

    /// Keeps the first `shared` bytes and puts `suffix` behind them. `shared` is at most `count`.
    @inline(__always)
    func replace(keeping shared: Int, with suffix: BorrowedBytes) {
        let length = shared &+ suffix.count
        if length > capacity { grow(length, keeping: shared) }
        unsafe memcpy(memory + shared, suffix.base, suffix.count)
        count = length
    }

    private func grow(_ length: Int, keeping shared: Int) {
        let larger = max(length, capacity * 2)
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 8)
        unsafe memcpy(fresh, memory, shared)
        unsafe memory.deallocate()
        unsafe memory = fresh
        capacity = larger
    }

    /// The key as it is until the next change.
    var view: BorrowedBytes {
        @inline(__always) get { unsafe BorrowedBytes(base: UnsafeRawPointer(memory), count: count) }
    }
}
