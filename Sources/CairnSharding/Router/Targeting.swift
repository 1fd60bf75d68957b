import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

/// Which groups can hold documents that match a filter.
enum Targeting {
    /// The group that owns a document, by its shard key.
    static func group(of id: Value, in descriptor: CollectionDescriptor) -> UInt32 {
        if descriptor.chunks.count == 1 { return descriptor.chunks[0].group }
        // Chunks cover every slot, an invariant of descriptors.
        return descriptor.group(owning: HashSlot.slot(of: id))!
    }

    /// The `_id` that the filter asks for, when it asks for exactly one. Under a collation a string asks for several.
    static func id(in filter: Document, _ collation: Collation?) throws(QueryError) -> Value? {
        guard mayFixID(filter) else { return nil }
        if collation == nil, filter.count == 1, let value = filter["_id"], isPlain(value) { return value }
        return parsed(filter, collation)?.idEquality
    }

    /// The `_id`, when the filter asks for it alone, and it means itself.
    static func plainID(in filter: Document, of descriptor: CollectionDescriptor) -> Value? {
        guard let condition = filter.first, condition.isNamed("_id"),
            condition.bytes.count + 5 == filter.byteCount
        else { return nil }
        let value = condition.value
        // Under a collation a string means all that are equal to it.
        guard isPlain(value), value.asString == nil || descriptor.options["collation"] == nil else { return nil }
        return value
    }

    /// The groups to ask, in ascending order.
    static func groups(
        for filter: Document, in descriptor: CollectionDescriptor, _ collation: Collation?
    ) throws(QueryError) -> [UInt32] {
        let all = descriptor.groups
        guard all.count > 1, mayFixID(filter) else { return all }
        if collation == nil, filter.count == 1, let value = filter["_id"], isPlain(value) {
            return [group(of: value, in: descriptor)]
        }
        guard let parsed = parsed(filter, collation) else { return all }
        if let id = parsed.idEquality { return [group(of: id, in: descriptor)] }
        if let ids = parsed.idIn {
            // None at all matches nothing, which any one group can say.
            if ids.isEmpty { return [all[0]] }
            return Set(ids.map { group(of: $0, in: descriptor) }).sorted()
        }
        return all
    }

    /// The filter as far as it can be understood without the variables of its command. One that names them, or has a
    /// mistake, goes to all groups, which know them and say what is wrong.
    private static func parsed(_ filter: Document, _ collation: Collation?) -> Filter? {
        var context = QueryContext()
        context.collation = collation
        return try? Filter(parsing: filter, context: context)
    }

    /// A cheap look that rules out most filters that are not about `_id`.
    private static func mayFixID(_ filter: Document) -> Bool {
        filter["_id"] != nil || filter["$and"] != nil || filter["$expr"] != nil
    }

    /// Whether a value in a filter means equality, and not an operator or a pattern.
    private static func isPlain(_ value: Value) -> Bool {
        switch value {
        case .regex: return false
        case .document(let document):
            guard let first = document.first else { return true }
            return first.name.utf8.first != UInt8(ascii: "$")
        case .array: return false
        default: return true
        }
    }
}

extension CollectionDescriptor {
    /// How a command on the collection compares strings: as its `collation` says, else as the collection does; nil for by
    /// their bytes.
    func collation(asGiven given: Document?) throws(QueryError) -> Collation? {
        guard let document = given ?? options["collation"]?.asDocument else { return nil }
        return try Collation.parse(document)
    }
}

extension Document {
    /// This filter, narrowed to one document.
    func and(id: Value) -> Document {
        if self["_id"] == nil {
            var narrowed = self
            // A positional update still finds the array condition at its place.
            narrowed.set("_id", id.asEqualityOperand)
            return narrowed
        }
        return ["$and": [.document(self), .document(["_id": id.asEqualityOperand])]]
    }
}

extension Value {
    /// The value so that a filter takes it as itself: a pattern or a document with operators would mean something else.
    var asEqualityOperand: Value {
        switch self {
        case .regex, .document, .array: .document(["$eq": self])
        default: self
        }
    }
}
