import CairnBSON

/// A range of a collection's slots and the group that owns it.
public struct Chunk: Hashable, Sendable {
    public var slots: SlotRange
    /// The owner's group number.
    public var group: UInt32

    public init(_ slots: SlotRange, group: UInt32) {
        self.slots = slots
        self.group = group
    }
}

/// Everything the cluster knows about one collection, at one epoch.
///
/// The meta group owns descriptors and raises the epoch with every change; a data group keeps the copy that it was given
/// last in its own log. As a document: `{_id: id, uuid, db, name, epoch: int64, options, indexes: […], nextIndexID,
/// shardKey, placement, chunks: [{from, to, group}], sealed?}`.
///
/// - Invariant: chunks are sorted, disjoint, and cover every slot.
/// - Invariant: no two indexes share an id, and every id is below ``nextIndexID``.
public struct CollectionDescriptor: Hashable, Sendable {
    /// Where the collection's documents may be.
    public enum Placement: String, Hashable, Sendable {
        /// Over all data groups.
        case spread
        /// In one group, which can keep any index unique.
        case single
    }

    public var id: CollectionID
    /// 16 bytes, given once; what drivers see.
    public var uuid: [UInt8]
    public var database: String
    public var name: String
    public var epoch: UInt64
    /// What `create` was given: validator, validationLevel, validationAction…
    public var options: Document
    /// The indexes besides the one on `_id`, which records themselves are.
    public var indexes: [IndexDescriptor]
    /// The number for the next index; never goes down, so that no number is used twice.
    public var nextIndexID: UInt16
    /// Only `{_id: 1}` so far.
    public var shardKey: Document
    public var placement: Placement
    public var chunks: [Chunk]
    /// Whether its groups refuse writes, because it is being copied.
    public var isSealed = false

    public init(
        id: CollectionID, uuid: [UInt8], database: String, name: String, epoch: UInt64 = 1,
        options: Document = Document(), indexes: [IndexDescriptor] = [], placement: Placement = .spread,
        chunks: [Chunk]
    ) {
        self.id = id
        self.uuid = uuid
        self.database = database
        self.name = name
        self.epoch = epoch
        self.options = options
        self.indexes = indexes
        self.nextIndexID = (indexes.map(\.id.rawValue).max() ?? 0) + 1
        self.shardKey = CollectionDescriptor.defaultShardKey
        self.placement = placement
        self.chunks = chunks
    }

    /// `{_id: 1}`.
    public static var defaultShardKey: Document { ["_id": 1] }

    /// `database.name`.
    public var namespace: String { "\(database).\(name)" }

    /// The slots that `group` owns.
    public func slots(ownedBy group: UInt32) -> SlotSet {
        SlotSet(chunks.lazy.filter { $0.group == group }.map(\.slots))
    }

    /// The group that owns `slot`, by binary search.
    public func group(owning slot: UInt16) -> UInt32? {
        var low = 0
        var high = chunks.count
        while low < high {
            let middle = (low + high) / 2
            if chunks[middle].slots.upper <= Int(slot) { low = middle + 1 } else { high = middle }
        }
        guard low < chunks.count, chunks[low].slots.contains(slot) else { return nil }
        return chunks[low].group
    }

    /// The groups that own any slot, in order and without repetition.
    public var groups: [UInt32] {
        Set(chunks.lazy.filter { $0.slots.count > 0 }.map(\.group)).sorted()
    }

    public func index(named name: String) -> IndexDescriptor? {
        indexes.first { $0.name == name }
    }

    public var document: Document {
        var builder = DocumentBuilder()
        builder.append("_id", .int64(Int64(id.rawValue)))
        builder.append("uuid", .binary(Binary(uuid, subtype: .uuid)))
        builder.append("db", .string(BSONString(database)))
        builder.append("name", .string(BSONString(name)))
        builder.append("epoch", .int64(Int64(bitPattern: epoch)))
        builder.append("options", .document(options))
        builder.append("indexes", .array(BSONArray(indexes.map { .document($0.document) })))
        builder.append("nextIndexID", .int32(Int32(nextIndexID)))
        builder.append("shardKey", .document(shardKey))
        builder.append("placement", .string(BSONString(placement.rawValue)))
        let chunkValues: [Value] = chunks.map { chunk in
            var builder = DocumentBuilder()
            builder.append("from", .int32(Int32(chunk.slots.lower)))
            builder.append("to", .int32(Int32(chunk.slots.upper)))
            builder.append("group", .int64(Int64(chunk.group)))
            return .document(builder.finish())
        }
        builder.append("chunks", .array(BSONArray(chunkValues)))
        if isSealed { builder.append("sealed", .bool(true)) }
        return builder.finish()
    }

    /// - Throws: ``DatabaseError`` with code `malformed`, naming the field; the invariants are checked too.
    public init(_ document: Document) throws(DatabaseError) {
        func missing(_ field: String) -> DatabaseError {
            DatabaseError(.malformed, "collection descriptor: \(field) is missing or wrong")
        }
        guard let number = document["_id"]?.int64Exactly, let id = UInt32(exactly: number), id > 0 else {
            throw missing("_id")
        }
        guard case .binary(let uuid)? = document["uuid"], uuid.data.count == 16 else { throw missing("uuid") }
        guard let database = document["db"]?.stringValue else { throw missing("db") }
        guard let name = document["name"]?.stringValue else { throw missing("name") }
        guard let epoch = document["epoch"]?.int64Exactly else { throw missing("epoch") }
        guard case .array(let indexes)? = document["indexes"] else { throw missing("indexes") }
        guard case .array(let chunks)? = document["chunks"] else { throw missing("chunks") }
        self.init(
            id: CollectionID(id), uuid: Array(uuid.data), database: database, name: name,
            epoch: UInt64(bitPattern: epoch), chunks: [])
        if case .document(let options)? = document["options"] { self.options = options }
        if case .document(let shardKey)? = document["shardKey"] { self.shardKey = shardKey }
        guard self.shardKey == CollectionDescriptor.defaultShardKey else { throw missing("shardKey (only {_id: 1})") }
        guard let placement = document["placement"]?.stringValue.flatMap(Placement.init(rawValue:)) else {
            throw missing("placement")
        }
        self.placement = placement
        isSealed = document["sealed"]?.asBool ?? false
        for value in indexes {
            guard case .document(let index) = value else { throw missing("indexes") }
            self.indexes.append(try IndexDescriptor(index))
        }
        guard let next = document["nextIndexID"]?.int64Exactly.flatMap(UInt16.init(exactly:)) else {
            throw missing("nextIndexID")
        }
        nextIndexID = next
        var ids: Set<IndexID> = []
        for index in self.indexes {
            guard index.id != .records, index.id.rawValue < next, ids.insert(index.id).inserted else {
                throw missing("indexes: id \(index.id) of \(index.name)")
            }
        }
        var expected = 0
        for value in chunks {
            guard case .document(let chunk) = value, let from = chunk["from"]?.int64Exactly,
                let to = chunk["to"]?.int64Exactly, from == Int64(expected), from <= to, to <= Int64(HashSlot.count),
                let group = chunk["group"]?.int64Exactly.flatMap(UInt32.init(exactly:))
            else { throw missing("chunks") }
            self.chunks.append(Chunk(SlotRange(Int(from), Int(to)), group: group))
            expected = Int(to)
        }
        guard expected == HashSlot.count else { throw missing("chunks (not every slot has an owner)") }
    }
}
