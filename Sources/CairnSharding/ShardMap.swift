import CairnDatabase

/// What a router remembers of the catalog: collections by name, each at the epoch at which it was read.
///
/// An entry may be outdated without harm: every request carries its epoch, and a group that knows better refuses. Absence
/// is not remembered, because nothing would tell that it ended.
struct ShardMap {
    private var descriptors: [Namespace: CollectionDescriptor] = [:]

    subscript(namespace: Namespace) -> CollectionDescriptor? { descriptors[namespace] }

    mutating func remember(_ descriptor: CollectionDescriptor, as namespace: Namespace) {
        descriptors[namespace] = descriptor
    }

    mutating func forget(_ namespace: Namespace) {
        descriptors[namespace] = nil
    }

    /// Cuts the slots into one chunk a group, as even as the numbers allow.
    static func spread(over groups: [UInt32]) -> [Chunk] {
        precondition(!groups.isEmpty)
        return groups.enumerated().map { index, group in
            let lower = HashSlot.count * index / groups.count
            let upper = HashSlot.count * (index + 1) / groups.count
            return Chunk(SlotRange(lower, upper), group: group)
        }
    }

    /// The owner that no group is: while a collection is between two placements nobody may read or write it.
    static let nobody = UInt32.max

    static func whole(in group: UInt32) -> [Chunk] {
        [Chunk(.all, group: group)]
    }
}
