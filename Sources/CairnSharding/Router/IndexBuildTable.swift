import CairnBSON
import CairnDatabase

/// How far the index builds have come that a router drives, for those who want to see it (`currentOp`).
public struct IndexBuildTable {
    /// One index that is being filled.
    public struct Progress: Sendable {
        /// `database.collection`
        public let namespace: String
        public let index: String
        /// Documents that were looked at.
        public fileprivate(set) var done: Int64 = 0
        /// Slots that are done, by the group that owns them.
        fileprivate var slots: [UInt32: Int] = [:]
        fileprivate let owned: [UInt32: Int]

        /// How many documents there will have been, as far as one can tell: they are spread over the slots by chance.
        public var total: Int64 {
            let slots = slots.values.reduce(0, +)
            guard slots > 0 else { return done }
            let all = owned.values.reduce(0, +)
            return max(done, Int64((Double(done) * Double(all) / Double(slots)).rounded()))
        }
    }

    private var builds: [Int: Progress] = [:]
    private var last = 0

    /// The builds that are under way on a collection, the oldest first.
    public func builds(on namespace: String) -> [Progress] {
        builds.sorted { $0.key < $1.key }.map(\.value).filter { $0.namespace == namespace }
    }

    mutating func begin(
        _ index: IndexDescriptor, on namespace: Namespace, _ descriptor: CollectionDescriptor
    ) -> Int {
        last += 1
        var owned: [UInt32: Int] = [:]
        for chunk in descriptor.chunks { owned[chunk.group, default: 0] += chunk.slots.count }
        builds[last] = Progress(namespace: namespace.description, index: index.name, owned: owned)
        return last
    }

    /// Takes note of what a group says of a step.
    mutating func note(_ step: Document, of group: UInt32, _ build: Int) {
        guard var progress = builds[build] else { return }
        progress.done += step["scanned"]?.int64Exactly ?? 0
        progress.slots[group] = step.flag("done") == true ? progress.owned[group] : step["slots"]?.intExactly
        builds[build] = progress
    }

    mutating func end(_ build: Int) { builds[build] = nil }
}
