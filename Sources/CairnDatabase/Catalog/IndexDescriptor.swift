import CairnBSON

/// One index of a collection as the catalog describes it.
///
/// As a document: `{id, name, key, unique?, sparse?, partialFilterExpression?, options?}`.
public struct IndexDescriptor: Hashable, Sendable {
    public var id: IndexID
    public var name: String
    /// Field paths with 1, -1 or `"hashed"`, in order; or one wildcard path.
    public var key: Document
    public var isUnique: Bool
    /// Documents that have none of the fields are left out.
    public var isSparse: Bool
    /// Only documents that match are in the index.
    public var partialFilter: Document?
    /// What else the user gave (`hidden`, `expireAfterSeconds`, `wildcardProjection`…), returned by listIndexes as it is.
    public var options: Document

    public init(
        id: IndexID, name: String, key: Document, isUnique: Bool = false, isSparse: Bool = false,
        partialFilter: Document? = nil, options: Document = Document()
    ) {
        self.id = id
        self.name = name
        self.key = key
        self.isUnique = isUnique
        self.isSparse = isSparse
        self.partialFilter = partialFilter
        self.options = options
    }

    /// The planner passes it over; it is kept up to date and does all else that an index does.
    public var isHidden: Bool { options["hidden"]?.isTruthy ?? false }

    /// How long after the date in its field a document is deleted; nil for an index that deletes nothing.
    public var expireAfterSeconds: Int64? { options["expireAfterSeconds"]?.int64Exactly }

    /// How the index orders strings, with every option; nil for by their bytes.
    public var collation: Document? { options["collation"]?.asDocument }

    /// The paths that an index on `$**` takes in or leaves out.
    public var wildcardProjection: Document? { options["wildcardProjection"]?.asDocument }

    public var document: Document {
        var builder = DocumentBuilder()
        builder.append("id", .int32(Int32(id.rawValue)))
        builder.append("name", .string(BSONString(name)))
        builder.append("key", .document(key))
        if isUnique { builder.append("unique", .bool(true)) }
        if isSparse { builder.append("sparse", .bool(true)) }
        if let partialFilter { builder.append("partialFilterExpression", .document(partialFilter)) }
        if !options.isEmpty { builder.append("options", .document(options)) }
        return builder.finish()
    }

    /// - Throws: ``DatabaseError`` with code `malformed`, naming the field.
    public init(_ document: Document) throws(DatabaseError) {
        guard let number = document["id"]?.int64Exactly, let id = UInt16(exactly: number) else {
            throw DatabaseError(.malformed, "index descriptor: no id")
        }
        guard let name = document["name"]?.stringValue else {
            throw DatabaseError(.malformed, "index descriptor: no name")
        }
        guard case .document(let key)? = document["key"], !key.isEmpty else {
            throw DatabaseError(.malformed, "index descriptor \(name): no key")
        }
        self.init(id: IndexID(id), name: name, key: key)
        if case .bool(true)? = document["unique"] { isUnique = true }
        if case .bool(true)? = document["sparse"] { isSparse = true }
        if case .document(let filter)? = document["partialFilterExpression"] { partialFilter = filter }
        if case .document(let options)? = document["options"] { self.options = options }
    }
}
