import Synchronization

/// How many bytes a stage of a query may hold before it goes to the disk, or ends. Can be changed while queries run: one that has begun
/// goes by what it began with.
public final class StageMemory: Sendable {
    /// As MongoDB's.
    public static let bytesMaxDefault = 100 << 20

    private let sort: Atomic<Int>
    private let group: Atomic<Int>

    public init(sortBytesMax: Int = bytesMaxDefault, groupBytesMax: Int = bytesMaxDefault) {
        sort = Atomic(sortBytesMax)
        group = Atomic(groupBytesMax)
    }

    public var sortBytesMax: Int {
        get { sort.load(ordering: .relaxed) }
        set { sort.store(newValue, ordering: .relaxed) }
    }

    public var groupBytesMax: Int {
        get { group.load(ordering: .relaxed) }
        set { group.store(newValue, ordering: .relaxed) }
    }
}
