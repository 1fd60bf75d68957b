import CairnBSON

/// How keys of a tablet are laid out; section 7 of the architecture, and <doc:KeySpace>.
///
/// ```
/// record       collection u32 BE ‖ 0 u16 ‖ slot u16 BE ‖ encoded _id                         → the document (BSON)
/// index entry  collection u32 BE ‖ index u16 BE ‖ encoded fields ‖ slot u16 BE ‖ encoded _id → nothing
/// ```
///
/// Encoded values end where they say, so a key can be taken apart again. What follows the fields of an index entry is
/// what follows the first six bytes of the record's key.
enum KeySpace {
    /// Bytes of collection and index number.
    static let prefixBytes = 6
    /// Where the encoded `_id` of a record key begins.
    static let recordIDOffset = prefixBytes + 2

    static func prefix(_ collection: CollectionID, _ index: IndexID) -> [UInt8] {
        var key: [UInt8] = []
        key.reserveCapacity(48)
        appendPrefix(collection, index, to: &key)
        return key
    }

    @inline(__always)
    static func appendPrefix(_ collection: CollectionID, _ index: IndexID, to key: inout [UInt8]) {
        let number = collection.rawValue
        key.append(UInt8(truncatingIfNeeded: number >> 24))
        key.append(UInt8(truncatingIfNeeded: number >> 16))
        key.append(UInt8(truncatingIfNeeded: number >> 8))
        key.append(UInt8(truncatingIfNeeded: number))
        key.append(UInt8(truncatingIfNeeded: index.rawValue >> 8))
        key.append(UInt8(truncatingIfNeeded: index.rawValue))
    }

    /// The first key after all of a collection's.
    static func end(of collection: CollectionID) -> [UInt8] {
        // The largest id is never given out, so the successor exists.
        prefix(CollectionID(collection.rawValue + 1), .records)
    }

    /// Replaces the contents of `key` by the record key of `id` and returns its slot.
    @inline(__always)
    @discardableResult
    static func makeRecordKey(_ collection: CollectionID, id: Value, in key: inout [UInt8]) -> UInt16 {
        key.removeAll(keepingCapacity: true)
        appendPrefix(collection, .records, to: &key)
        key.append(0)
        key.append(0)
        KeyEncoding.append(id, to: &key)
        let slot = HashSlot.slot(ofEncodedKey: key[recordIDOffset...])
        key[prefixBytes] = UInt8(truncatingIfNeeded: slot >> 8)
        key[prefixBytes + 1] = UInt8(truncatingIfNeeded: slot)
        return slot
    }

    /// Whether a filter that names this value for `_id` means the one document that has it.
    static func isPlainID(_ id: Value) -> Bool {
        switch id {
        case .objectID, .string, .int32, .int64, .double, .date, .bool, .binary: true
        default: false
        }
    }

    static func recordKey(_ collection: CollectionID, id: Value) -> [UInt8] {
        var key: [UInt8] = []
        key.reserveCapacity(48)
        makeRecordKey(collection, id: id, in: &key)
        return key
    }

    /// The slot of a record, from its key.
    @inline(__always)
    static func slot(ofRecord key: ArraySlice<UInt8>) -> UInt16 {
        let start = key.startIndex + prefixBytes
        return UInt16(key[start]) << 8 | UInt16(key[start + 1])
    }

    /// The key of the record that an index entry of `fieldCount` fields points to.
    ///
    /// - Returns: nil when the entry does not decode, which is corruption.
    static func recordKey(
        ofEntry entry: ArraySlice<UInt8>, collection: CollectionID, descending: [Bool]
    ) -> [UInt8]? {
        guard let tail = recordPart(ofEntry: entry, descending: descending) else { return nil }
        var key: [UInt8] = []
        key.reserveCapacity(prefixBytes + tail.count)
        appendPrefix(collection, .records, to: &key)
        key.append(contentsOf: tail)
        return key
    }

    /// Slot and encoded `_id` at the end of an index entry.
    static func recordPart(ofEntry entry: ArraySlice<UInt8>, descending: [Bool]) -> ArraySlice<UInt8>? {
        guard entry.count > prefixBytes else { return nil }
        var rest = entry.dropFirst(prefixBytes)
        for direction in descending {
            guard let length = KeyEncoding.skip(rest, descending: direction), length <= rest.count else { return nil }
            rest = rest.dropFirst(length)
        }
        return rest.count >= 3 ? rest : nil
    }
}
