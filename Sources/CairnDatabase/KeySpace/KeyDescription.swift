import CairnBSON
import CairnFiles
import CairnStorage

/// The keys of a tablet in words, for people who look into files.
///
/// An index's directions are in its descriptor, which a key does not carry. They are not needed: each field is tried both
/// ways, and the slot in front of the `_id`, a hash of it, says where the fields end. Only `null` and `MaxKey` are each
/// other's mirror.
public enum KeyDescription {
    /// What `key` stands for, or its bytes where it stands for nothing that is known.
    public static func text(of key: ArraySlice<UInt8>) -> String {
        guard key.count >= KeySpace.prefixBytes else { return InspectionText.bytes(key) }
        if SystemKey.contains(key) { return SystemKey(key).map(text(of:)) ?? InspectionText.bytes(key) }
        let collection = key.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let index = key.dropFirst(4).prefix(2).reduce(UInt16(0)) { $0 << 8 | UInt16($1) }
        let rest = key.dropFirst(KeySpace.prefixBytes)
        var text = "collection \(collection)"
        if index == IndexID.records.rawValue {
            // The bounds of ranges are beginnings of keys.
            if rest.isEmpty { return text + " records" }
            guard rest.count >= 2 else { return text + " records " + InspectionText.bytes(rest) }
            text += " slot \(KeySpace.slot(ofRecord: key))"
            let id = rest.dropFirst(2)
            return id.isEmpty ? text : text + " _id " + (value(of: id) ?? InspectionText.bytes(id))
        }
        if let capped = CappedOrder.text(of: key, index) { return text + " " + capped }
        text += " index \(index)"
        if rest.isEmpty { return text }
        var failed: Set<Int> = []
        guard let entry = entry(rest, &failed) else { return text + " " + InspectionText.bytes(rest) }
        return text + " (\(entry.fields.joined(separator: ", "))) slot \(entry.slot) _id \(entry.id)"
    }

    private static func text(of key: SystemKey) -> String {
        switch key {
        case .descriptor(let id): "system: descriptor of collection \(id)"
        case .dropped(let id): "system: collection \(id) was dropped"
        case .indexFlags(let id, let index): "system: flags of index \(index) of collection \(id)"
        case .session(let high, let low): "system: session \(InspectionText.fileID(high))\(InspectionText.fileID(low))"
        case .ceiling: "system: version ceiling"
        case .appliedTerm: "system: term of the last applied entry"
        case .appliedConfiguration: "system: last applied configuration"
        }
    }

    /// All of `bytes` as one value.
    private static func value(of bytes: ArraySlice<UInt8>) -> String? {
        var reader = KeyValueReader(bytes, descending: false)
        guard let text = reader.value(), reader.isAtEnd else { return nil }
        return text
    }

    /// Takes an index entry apart; `failed` are places from which it cannot be done.
    private static func entry(
        _ bytes: ArraySlice<UInt8>, _ failed: inout Set<Int>
    ) -> (fields: [String], slot: UInt16, id: String)? {
        guard bytes.count >= 3, !failed.contains(bytes.startIndex) else { return nil }
        let slot = UInt16(bytes[bytes.startIndex]) << 8 | UInt16(bytes[bytes.startIndex + 1])
        let id = bytes.dropFirst(2)
        if Int(slot) < HashSlot.count, HashSlot.slot(ofEncodedKey: id) == slot, let id = value(of: id) {
            return ([], slot, id)
        }
        for descending in [false, true] {
            guard let length = KeyEncoding.skip(bytes, descending: descending), length <= bytes.count else { continue }
            var reader = KeyValueReader(bytes.prefix(length), descending: descending)
            guard let field = reader.value(), reader.isAtEnd, var rest = entry(bytes.dropFirst(length), &failed) else {
                continue
            }
            rest.fields.insert(field == "MaxKey" ? "null or MaxKey" : field, at: 0)
            return rest
        }
        failed.insert(bytes.startIndex)
        return nil
    }
}
