import CairnBSON
import CairnQuery
import CairnStorage

/// One index of a collection, ready for use: its descriptor, parsed, and what this group knows of it.
struct IndexState: Sendable {
    let descriptor: IndexDescriptor
    let extractor: IndexKeyExtractor
    /// The indexed paths in order, as the key pattern has them.
    let paths: [String]
    /// The six bytes that every entry begins with.
    let prefix: [UInt8]
    var flags: IndexFlags
    /// The version at which the group had every document in the index. A reader at an older version must not use it.
    var readySince: Version
    let use: IndexUse

    var id: IndexID { descriptor.id }
    var isReady: Bool { flags.contains(.ready) }
    var isMultikey: Bool { flags.contains(.multikey) }
    var collation: Collation? { extractor.collation }
    /// Per value of an entry, whether it descends. A wildcard index has two: the path and the value.
    var descending: [Bool] { extractor.isDescending }

    /// - Parameter use: of the state that this one replaces.
    init(
        _ descriptor: IndexDescriptor, of collection: CollectionID, flags: IndexFlags, readySince: Version,
        use: IndexUse? = nil
    ) throws {
        self.descriptor = descriptor
        let collation = try descriptor.collation.flatMap { try Collation.parse($0) }
        var context = QueryContext()
        context.collation = collation
        extractor = try IndexKeyExtractor(
            pattern: descriptor.key, isSparse: descriptor.isSparse,
            partialFilter: try descriptor.partialFilter.map { try Filter(parsing: $0, context: context) },
            wildcardProjection: descriptor.wildcardProjection, collation: collation)
        paths = descriptor.key.map(\.name.string)
        prefix = KeySpace.prefix(collection, descriptor.id)
        self.flags = flags
        self.readySince = readySince
        self.use = use ?? IndexUse()
    }
}

/// Everything a group needs to know about one of its collections, parsed once and looked up by id.
struct CollectionState: Sendable {
    let descriptor: CollectionDescriptor
    /// The slots that this group owns.
    let owned: SlotSet
    var indexes: [IndexState]
    let validation: DocumentValidation?
    /// How commands that name no collation compare strings; nil for by their bytes.
    let collation: Collation?
    /// Of a capped collection; nil for any other.
    let cappedLimits: CappedLimits?
    /// Of the order of `_id`, which the records themselves are.
    let idUse: IndexUse

    var id: CollectionID { descriptor.id }
    var epoch: UInt64 { descriptor.epoch }

    /// - Parameters:
    ///   - flags: of each index as the group has stored them.
    ///   - previous: the state that this one replaces, whose knowledge of when an index became ready is kept.
    init(
        _ descriptor: CollectionDescriptor, group: UInt32, flags: [IndexID: IndexFlags], previous: CollectionState?,
        at version: Version
    ) throws {
        self.descriptor = descriptor
        owned = descriptor.slots(ownedBy: group)
        idUse = previous?.idUse ?? IndexUse()
        collation = try descriptor.options["collation"]?.asDocument.flatMap { try Collation.parse($0) }
        validation = try DocumentValidation(options: descriptor.options, collation: collation)
        cappedLimits = descriptor.cappedLimits
        indexes = try descriptor.indexes.map { index in
            let flags = flags[index.id] ?? []
            var since = version
            let old = previous?.indexes.first { $0.id == index.id }
            if let old, old.isReady { since = old.readySince }
            return try IndexState(index, of: descriptor.id, flags: flags, readySince: since, use: old?.use)
        }
    }

    func index(_ id: IndexID) -> IndexState? {
        indexes.first { $0.id == id }
    }
}
