import CairnBSON
import CairnQuery

/// Where a capped collection keeps the order of its documents, beside the documents themselves.
///
/// ```
/// order  collection u32 BE ‖ 0xFFFF u16 ‖ sequence u64 BE                → size u32 LE ‖ slot u16 BE ‖ encoded _id
/// place  collection u32 BE ‖ 0xFFFE u16 ‖ slot u16 BE ‖ encoded _id      → sequence u64 LE
/// state  collection u32 BE ‖ 0xFFFD u16                                  → first, next, count, bytes: u64 LE each
/// ```
///
/// Sequences are given out once, in the order of insertion. The leader decides what goes to make room and writes the
/// deletions beside the insertion, so that every replica drops the same documents with the same log entry.
///
/// - Invariant: orders, places and documents are as many; `count` and `bytes` are theirs.
enum CappedOrder {
    private static let orderID = IndexID(0xFFFF)
    private static let placeID = IndexID(0xFFFE)
    private static let stateID = IndexID(0xFFFD)
    /// Indexes have numbers below this.
    static let firstReserved: UInt16 = 0xFF00

    static func orderPrefix(_ collection: CollectionID) -> [UInt8] { KeySpace.prefix(collection, orderID) }

    static func orderKey(_ collection: CollectionID, _ sequence: UInt64) -> [UInt8] {
        var key = orderPrefix(collection)
        for shift in stride(from: 56, through: 0, by: -8) {
            key.append(UInt8(truncatingIfNeeded: sequence >> UInt64(shift)))
        }
        return key
    }

    static func sequence(ofOrder key: ArraySlice<UInt8>) -> UInt64 {
        key.dropFirst(KeySpace.prefixBytes).reduce(0) { $0 << 8 | UInt64($1) }
    }

    static func placePrefix(_ collection: CollectionID) -> [UInt8] { KeySpace.prefix(collection, placeID) }

    static func placeKey(_ collection: CollectionID, record: ArraySlice<UInt8>) -> [UInt8] {
        placePrefix(collection) + record.dropFirst(KeySpace.prefixBytes)
    }

    static func stateKey(_ collection: CollectionID) -> [UInt8] { KeySpace.prefix(collection, stateID) }

    /// A key of the order in words; nil for an index's.
    static func text(of key: ArraySlice<UInt8>, _ index: UInt16) -> String? {
        switch IndexID(index) {
        case stateID: "state of the order"
        case placeID: "place of a document in the order"
        case orderID: "order \(sequence(ofOrder: key))"
        default: nil
        }
    }

    /// What stands in an order's value.
    struct Entry {
        var size: UInt32
        /// What follows the first six bytes of the record's key.
        var tail: ArraySlice<UInt8>

        init(size: Int, record: ArraySlice<UInt8>) {
            self.size = UInt32(size)
            tail = record.dropFirst(KeySpace.prefixBytes)
        }

        /// - Throws: ``DatabaseError`` with code `corruption`.
        init(decoding value: ArraySlice<UInt8>) throws(DatabaseError) {
            var reader = ByteReader(value)
            guard let size = try? reader.integer(UInt32.self), reader.remaining >= 3 else {
                throw DatabaseError(.corruption, "an order of a capped collection does not decode")
            }
            self.size = size
            tail = value.dropFirst(4)
        }

        var encoded: [UInt8] {
            var writer = ByteWriter(reserving: 4 + tail.count)
            writer.append(size)
            writer.append(tail)
            return writer.bytes
        }

        func recordKey(_ collection: CollectionID) -> [UInt8] { KeySpace.prefix(collection, .records) + tail }
    }

    /// The collection as a whole.
    struct State: Equatable {
        /// No order has a lower sequence.
        var first: UInt64 = 1
        /// The sequence of the document that comes next.
        var next: UInt64 = 1
        var count: UInt64 = 0
        var bytes: UInt64 = 0

        init() {}

        /// - Throws: ``DatabaseError`` with code `corruption`.
        init(decoding value: ArraySlice<UInt8>) throws(DatabaseError) {
            var reader = ByteReader(value)
            guard let first = try? reader.integer(UInt64.self), let next = try? reader.integer(UInt64.self),
                let count = try? reader.integer(UInt64.self), let bytes = try? reader.integer(UInt64.self)
            else { throw DatabaseError(.corruption, "the state of a capped collection does not decode") }
            self.first = first
            self.next = next
            self.count = count
            self.bytes = bytes
        }

        var encoded: [UInt8] {
            var writer = ByteWriter(reserving: 32)
            for number in [first, next, count, bytes] { writer.append(number) }
            return writer.bytes
        }
    }
}

extension ReadView {
    func cappedState(_ collection: CollectionID) throws -> CappedOrder.State {
        guard let value = try get(CappedOrder.stateKey(collection)[...]) else { return CappedOrder.State() }
        return try CappedOrder.State(decoding: value)
    }

    /// The sequence of a document.
    ///
    /// - Throws: ``DatabaseError`` with code `corruption` when the document has none.
    func cappedSequence(_ collection: CollectionID, record: ArraySlice<UInt8>) throws -> UInt64 {
        guard let value = try get(CappedOrder.placeKey(collection, record: record)[...]),
            let sequence = SystemKey.number(value)
        else { throw DatabaseError(.corruption, "a document of a capped collection has no place in the order") }
        return sequence
    }
}
