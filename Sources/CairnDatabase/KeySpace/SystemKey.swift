/// A key of the system's space, collection 0: what a group keeps for itself, replicated as documents are.
///
/// ```
/// 0 u32 ‖ 1 u16 ‖ collection u32 BE                  → the collection's descriptor (BSON)
/// 0 u32 ‖ 2 u16 ‖ collection u32 BE                  → nothing: the collection was dropped
/// 0 u32 ‖ 3 u16 ‖ collection u32 BE ‖ index u16 BE   → flags u8 (IndexFlags)
/// 0 u32 ‖ 4 u16 ‖ session 16 bytes                   → what the session's last retryable write did (SessionRecord)
/// 0 u32 ‖ 5 u16                                      → version ceiling u64 LE
/// 0 u32 ‖ 6 u16                                      → term of the last applied entry u64 LE
/// 0 u32 ‖ 7 u16                                      → payload of the last applied configuration entry
/// ```
///
/// The applied index is not here: it is the mark that the engine stores with every batch. The last two are written by
/// the replica as it applies, the others by the leader's proposals.
enum SystemKey: Equatable {
    case descriptor(CollectionID)
    case dropped(CollectionID)
    case indexFlags(CollectionID, IndexID)
    case session(high: UInt64, low: UInt64)
    case ceiling
    case appliedTerm
    case appliedConfiguration

    enum Kind: UInt16 {
        case descriptor = 1
        case dropped = 2
        case indexFlags = 3
        case session = 4
        case ceiling = 5
        case appliedTerm = 6
        case appliedConfiguration = 7
    }

    static func prefix(_ kind: Kind) -> [UInt8] {
        KeySpace.prefix(.system, IndexID(kind.rawValue))
    }

    var bytes: [UInt8] {
        func key(_ kind: Kind, _ parts: (value: UInt64, bytes: Int)...) -> [UInt8] {
            var key = Self.prefix(kind)
            for part in parts {
                for byte in stride(from: (part.bytes - 1) * 8, through: 0, by: -8) {
                    key.append(UInt8(truncatingIfNeeded: part.value >> UInt64(byte)))
                }
            }
            return key
        }
        switch self {
        case .descriptor(let id): return key(.descriptor, (UInt64(id.rawValue), 4))
        case .dropped(let id): return key(.dropped, (UInt64(id.rawValue), 4))
        case .indexFlags(let id, let index):
            return key(.indexFlags, (UInt64(id.rawValue), 4), (UInt64(index.rawValue), 2))
        case .session(let high, let low): return key(.session, (high, 8), (low, 8))
        case .ceiling: return key(.ceiling)
        case .appliedTerm: return key(.appliedTerm)
        case .appliedConfiguration: return key(.appliedConfiguration)
        }
    }

    /// Whether a key lies in the system's space.
    @inline(__always)
    static func contains(_ key: ArraySlice<UInt8>) -> Bool {
        let start = key.startIndex
        return key.count >= 4 && key[start] | key[start + 1] | key[start + 2] | key[start + 3] == 0
    }

    /// - Returns: nil when the key is none of the system's, or of a kind that this program does not know.
    init?(_ key: ArraySlice<UInt8>) {
        guard key.count >= KeySpace.prefixBytes, Self.contains(key) else { return nil }
        func number(_ offset: Int, _ bytes: Int) -> UInt64 {
            key.dropFirst(offset).prefix(bytes).reduce(0) { $0 << 8 | UInt64($1) }
        }
        switch (Kind(rawValue: UInt16(number(4, 2))), key.count - KeySpace.prefixBytes) {
        case (.descriptor, 4): self = .descriptor(CollectionID(UInt32(number(6, 4))))
        case (.dropped, 4): self = .dropped(CollectionID(UInt32(number(6, 4))))
        case (.indexFlags, 6): self = .indexFlags(CollectionID(UInt32(number(6, 4))), IndexID(UInt16(number(10, 2))))
        case (.session, 16): self = .session(high: number(6, 8), low: number(14, 8))
        case (.ceiling, 0): self = .ceiling
        case (.appliedTerm, 0): self = .appliedTerm
        case (.appliedConfiguration, 0): self = .appliedConfiguration
        default: return nil
        }
    }
}

/// What a group knows of one of its indexes besides the descriptor.
struct IndexFlags: OptionSet, Hashable, Sendable {
    let rawValue: UInt8
    /// Every document of the group is in it, so queries may use it.
    static let ready = IndexFlags(rawValue: 1)
    /// Some document has, or had, more than one entry.
    static let multikey = IndexFlags(rawValue: 2)
}
