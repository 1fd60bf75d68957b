import CairnBSON

/// A hash slot, the unit in which a collection's documents are placed: one of 16,384.
///
/// The slot of a document is the XXH64 of its shard key's order-preserving encoding, modulo the number of slots. Values
/// that compare equal encode equally (1, 1.0 and Decimal128 1.00), so they share a slot.
public enum HashSlot {
    /// How many slots there are. Part of the on-disk format: records are filed under their slot.
    public static let count = 16_384

    /// The slot of a shard key that is already in its key encoding.
    public static func slot(ofEncodedKey key: ArraySlice<UInt8>) -> UInt16 {
        UInt16(truncatingIfNeeded: XXH64.hash(key) % UInt64(count))
    }

    /// The slot of a document whose shard key (`_id`) is `key`.
    public static func slot(of key: Value) -> UInt16 {
        slot(ofEncodedKey: KeyEncoding.encode(key)[...])
    }
}

/// Neighbouring slots: from `lower` up to, and without, `upper`.
public struct SlotRange: Hashable, Sendable, CustomStringConvertible {
    /// The first slot.
    public let lower: Int
    /// The slot after the last; at most ``HashSlot/count``.
    public let upper: Int

    /// - Precondition: `0 <= lower <= upper <= HashSlot.count`.
    public init(_ lower: Int, _ upper: Int) {
        precondition(0 <= lower && lower <= upper && upper <= HashSlot.count, "no such slots: \(lower)..<\(upper)")
        self.lower = lower
        self.upper = upper
    }

    /// Every slot there is.
    public static let all = SlotRange(0, HashSlot.count)

    public func contains(_ slot: UInt16) -> Bool {
        lower <= Int(slot) && Int(slot) < upper
    }

    public var count: Int { upper - lower }
    public var description: String { "\(lower)..<\(upper)" }
}

/// A set of slots that answers in a few instructions: one bit a slot, 2 KiB.
public struct SlotSet: Hashable, Sendable {
    private var words: [UInt64]
    /// How many slots are in the set.
    public private(set) var count: Int

    public init(_ ranges: some Sequence<SlotRange>) {
        words = [UInt64](repeating: 0, count: HashSlot.count / 64)
        count = 0
        for range in ranges {
            for slot in range.lower..<range.upper where words[slot >> 6] & (1 << UInt64(slot & 63)) == 0 {
                words[slot >> 6] |= 1 << UInt64(slot & 63)
                count += 1
            }
        }
    }

    public var isEmpty: Bool { count == 0 }
    public var isAll: Bool { count == HashSlot.count }

    /// How many slots of the set are below `slot`.
    public func count(below slot: UInt16) -> Int {
        let word = min(Int(slot >> 6), words.count - 1)
        let whole = words[..<word].reduce(0) { $0 + $1.nonzeroBitCount }
        return whole + (words[word] & ((1 << UInt64(slot & 63)) - 1)).nonzeroBitCount
    }

    @inline(__always)
    public func contains(_ slot: UInt16) -> Bool {
        words[Int(slot >> 6) & (HashSlot.count / 64 - 1)] & (1 << UInt64(slot & 63)) != 0
    }
}
