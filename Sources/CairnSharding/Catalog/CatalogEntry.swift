import CairnBSON
import CairnDatabase
import CairnQuery

/// A collection as the catalog in the meta group records it.
///
/// As a document: `{_id: id, ns: "database.name", db, epoch, state, since, descriptor, restore?}`. `_id` is the collection's
/// number, `ns` is unique, and every change is one conditional write of one document: it names the epoch that it
/// expects. So two routers that change a collection at once cannot both succeed, and a router that dies between two
/// steps leaves a state that says what was going on.
struct CatalogEntry {
    enum State: String {
        /// Clients may use it.
        case ready
        /// Its name is free again; what the groups hold of it is being deleted.
        case dropping
        /// Nobody owns its slots while it is found out whether it is empty and may move to one group.
        case moving
        /// It takes no writes while it is copied, see ``Router/seal(_:deadline:)``.
        case sealed
    }

    var descriptor: CollectionDescriptor
    var state: State
    /// When the state was entered, in milliseconds since 1970, so that others can tell an abandoned change.
    var since: Int64
    /// The chunks to return to when a move is given up.
    var restore: [Chunk]

    init(_ descriptor: CollectionDescriptor, state: State = .ready, since: Int64, restore: [Chunk] = []) {
        self.descriptor = descriptor
        self.state = state
        self.since = since
        self.restore = restore
    }

    /// What `ns` holds: the name, or for a dropped collection something that no name can be.
    var name: String {
        state == .dropping ? "dropped collection \(descriptor.id.rawValue)" : descriptor.namespace
    }

    var document: Document {
        var builder = DocumentBuilder()
        builder.append("_id", .int64(Int64(descriptor.id.rawValue)))
        builder.append("ns", .string(BSONString(name)))
        builder.append("db", .string(BSONString(descriptor.database)))
        builder.append("epoch", .int64(Int64(bitPattern: descriptor.epoch)))
        builder.append("state", .string(BSONString(state.rawValue)))
        builder.append("since", .date(milliseconds: since))
        builder.append("descriptor", .document(descriptor.document))
        if !restore.isEmpty {
            var former = descriptor
            former.chunks = restore
            builder.append("restore", .document(former.document))
        }
        return builder.finish()
    }

    init(_ document: Document) throws(QueryError) {
        let number = document["_id"].map { "\($0)" } ?? "without a number"
        guard case .document(let body)? = document["descriptor"],
            case .string(let stateName)? = document["state"], let state = State(rawValue: stateName.string)
        else { throw QueryError(.internalError, "the catalog's entry \(number) does not decode") }
        do throws(DatabaseError) {
            descriptor = try CollectionDescriptor(body)
            if case .document(let former)? = document["restore"] {
                restore = try CollectionDescriptor(former).chunks
            } else {
                restore = []
            }
        } catch {
            throw QueryError(.internalError, "the catalog's entry \(number) does not decode: \(error.message)")
        }
        self.state = state
        if case .date(let milliseconds)? = document["since"] { since = milliseconds } else { since = 0 }
    }
}

/// The collections of group 0 that hold the catalog. Their descriptors never change, so nobody has to look them up.
enum CatalogCollections {
    /// Users' collections are numbered from here.
    static let firstUserID: Int64 = 100

    /// One document a collection, see ``CatalogEntry``.
    static let collections = CollectionDescriptor(
        id: CollectionID(1), uuid: [UInt8](repeating: 0, count: 15) + [1], database: "config", name: "collections",
        indexes: [IndexDescriptor(id: IndexID(1), name: "ns_1", key: ["ns": 1], isUnique: true)],
        placement: .single, chunks: ShardMap.whole(in: 0))

    /// `{_id: "collection", last: int64}`: the last number given to a collection.
    static let counters = CollectionDescriptor(
        id: CollectionID(2), uuid: [UInt8](repeating: 0, count: 15) + [2], database: "config", name: "counters",
        placement: .single, chunks: ShardMap.whole(in: 0))

    /// One document, the ``ClusterLayout``; none as long as it is what the configuration says.
    static let layout = CollectionDescriptor(
        id: CollectionID(3), uuid: [UInt8](repeating: 0, count: 15) + [3], database: "config", name: "layout",
        placement: .single, chunks: ShardMap.whole(in: 0))

    static func descriptor(of namespace: Namespace) -> CollectionDescriptor? {
        guard namespace.database == "config" else { return nil }
        switch namespace.collection {
        case "collections": return collections
        case "counters": return counters
        case "layout": return layout
        default: return nil
        }
    }
}
