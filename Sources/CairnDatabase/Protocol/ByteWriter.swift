/// Appends the fields of a message between nodes; integers are little-endian, as in BSON.
struct ByteWriter {
    var bytes: [UInt8] = []

    init() {}

    init(reserving count: Int) {
        bytes.reserveCapacity(count)
    }

    @inline(__always)
    mutating func append(_ value: some FixedWidthInteger) {
        var rest = value
        for _ in 0..<(value.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    mutating func append(_ slice: ArraySlice<UInt8>) {
        bytes.append(contentsOf: slice)
    }

    /// A string: its length in UTF-8 bytes (u32), then those.
    mutating func append(_ string: String) {
        append(UInt32(string.utf8.count))
        bytes.append(contentsOf: string.utf8)
    }
}
