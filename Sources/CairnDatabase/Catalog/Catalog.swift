import CairnBSON
import CairnQuery
import CairnStorage

/// A group's copies of the descriptors of its collections, kept in memory beside the system space that stores them.
///
/// There are two of them on a leader: that of the applied state, which readers go by, and that of the tip, which writes
/// go by. They are values, and sharing costs nothing until one changes.
struct Catalog {
    /// The group's own number: which chunks of a descriptor are its.
    let group: UInt32
    private(set) var collections: [CollectionID: CollectionState] = [:]
    private(set) var dropped: Set<CollectionID> = []
    private var flags: [CollectionID: [IndexID: IndexFlags]] = [:]
    private(set) var ceiling = Version(rawValue: 0)

    init(group: UInt32) {
        self.group = group
    }

    @inline(__always)
    subscript(_ id: CollectionID) -> CollectionState? { collections[id] }

    func flags(of collection: CollectionID, _ index: IndexID) -> IndexFlags {
        flags[collection]?[index] ?? []
    }

    /// Reads the system space of the applied state.
    ///
    /// - Throws: ``DatabaseError`` with code `corruption` or `storage`.
    init(group: UInt32, reading engine: Engine) throws {
        self.init(group: group)
        let version = engine.lastVersion
        for kind in [SystemKey.Kind.ceiling, .dropped, .indexFlags, .descriptor] {
            let lower = SystemKey.prefix(kind)
            let upper = SystemKey.prefixEnd(kind)
            let iterator = try engine.makeIterator(lower: lower[...], upper: upper[...])
            try iterator.seekToFirst()
            while iterator.isValid {
                try note(key: iterator.key, value: iterator.value, at: version)
                try iterator.next()
            }
        }
    }

    /// Takes in what a batch did to the system space.
    mutating func apply(_ batch: WriteBatch, at version: Version) throws {
        try batch.forEach { operation throws in
            switch operation {
            case .put(let key, let value): try note(key: key, value: value, at: version)
            case .delete(let key): try note(key: key, value: nil, at: version)
            case .deleteRange: break
            }
        }
    }

    /// Takes in one key of the system space; others are passed over.
    ///
    /// - Parameter value: nil for a deletion.
    mutating func note(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>?, at version: Version) throws {
        guard SystemKey.contains(key) else { return }
        switch SystemKey(key) {
        case .descriptor(let id):
            guard let value else {
                collections[id] = nil
                return
            }
            let descriptor = try CollectionDescriptor(Document(validating: value).compacted())
            collections[id] = try CollectionState(
                descriptor, group: group, flags: flags[id] ?? [:], previous: collections[id], at: version)
        case .dropped(let id):
            if value != nil { dropped.insert(id) }
        case .indexFlags(let id, let index):
            guard let value, let byte = value.first else {
                flags[id]?[index] = nil
                return
            }
            let new = IndexFlags(rawValue: byte)
            flags[id, default: [:]][index] = new
            guard let state = collections[id], let at = state.indexes.firstIndex(where: { $0.id == index }) else {
                return
            }
            if !state.indexes[at].isReady, new.contains(.ready) {
                collections[id]?.indexes[at].readySince = version
            }
            collections[id]?.indexes[at].flags = new
        case .ceiling:
            guard let value, let number = SystemKey.number(value) else {
                throw DatabaseError(.corruption, "the version ceiling is damaged")
            }
            ceiling = max(ceiling, Version(rawValue: number))
        case .session, .appliedTerm, .appliedConfiguration: break
        case nil: throw DatabaseError(.corruption, "a key of the system space is not known: \(Array(key))")
        }
    }
}

extension SystemKey {
    /// The eight little-endian bytes of a number that the system space holds.
    static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
    }

    /// - Returns: nil unless there are eight bytes.
    static func number(_ bytes: ArraySlice<UInt8>) -> UInt64? {
        bytes.count == 8 ? bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } : nil
    }

    /// The key after all of a kind's.
    static func prefixEnd(_ kind: Kind) -> [UInt8] {
        KeySpace.prefix(.system, IndexID(kind.rawValue + 1))
    }
}
