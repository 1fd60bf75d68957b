/// What a table's filter says about the beginnings of keys, where it was built with them
/// (``EngineOptions/prefixFilterBytes``).
///
/// A walk whose bounds lie within one beginning asks it whether the table has any such key. How long the beginnings are is
/// part of a table's description, so that a table is asked by the length that it was written with.
enum PrefixFilter {
    /// The number of the first `length` bytes in a filter that also holds whole keys, of which it must not be one.
    @inline(__always)
    static func hash(_ prefix: BorrowedBytes) -> UInt64 { ~BloomFilter.hash(prefix) }

    /// The first `length` bytes of every key in `lower ..< upper`, with the first key behind all that begin so (nil: there is
    /// none); nil if the keys need not begin alike.
    static func common(
        _ lower: [UInt8]?, _ upper: [UInt8]?, length: Int
    ) -> (prefix: [UInt8], end: [UInt8]?)? {
        guard let lower, lower.count >= length else { return nil }
        let prefix = Array(lower.prefix(length))
        var end = prefix
        while end.last == 0xFF { end.removeLast() }
        // Behind nothing but 0xFF there is no other beginning.
        guard let last = end.popLast() else { return (prefix, nil) }
        end.append(last + 1)
        guard let upper, !isOrderedBefore(end, upper) else { return nil }
        return (prefix, end)
    }
}

extension Table {
    /// Whether the table may have an entry in `lower ..< upper`, as far as its filter can tell. Range deletions are another
    /// matter: it says nothing about them.
    func mayHaveEntries(
        _ lower: [UInt8]?, _ upper: [UInt8]?, _ mode: ReadMode
    ) throws(StorageError) -> Bool {
        let length = description.prefixFilterBytes
        guard length > 0, let (prefix, end) = PrefixFilter.common(lower, upper, length: length),
            // A table that begins or ends with the prefix need not be asked, and often is one of many.
            isOrderedBefore(range.smallest, prefix), let end, !isOrderedBefore(range.largest, end)
        else { return true }
        do throws(StorageError) {
            return try reader(mode).mayHaveKeys(beginningWith: prefix)
        } catch  where error.code == .wouldNeedDisk {
            return true
        }
    }
}
