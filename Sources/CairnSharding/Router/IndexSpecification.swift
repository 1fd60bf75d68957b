import CairnBSON
import CairnDatabase
import CairnQuery

/// An element of the `indexes` of `createIndexes`, checked.
struct IndexSpecification {
    /// What is asked for, without a number; nil for the index on `_id`, which is always there.
    let descriptor: IndexDescriptor?

    /// - Throws: code 67 (CannotCreateIndex) and its neighbours for what cannot be an index, 115 for what is none here.
    init(_ specification: Document) throws(QueryError) {
        guard let key = try specification.nested("key"), !key.isEmpty else {
            throw QueryError(.failedToParse, "The 'key' field is a required property of an index specification")
        }
        guard let name = try specification.string("name"), !name.isEmpty else {
            throw QueryError(.failedToParse, "The 'name' field is a required property of an index specification")
        }
        let normalized = try Self.normalized(key)
        let isID = normalized == ["_id": 1]
        guard isID || name != "_id_" else {
            throw QueryError(.badValue, "The index name '_id_' is reserved for the _id index")
        }
        var descriptor = IndexDescriptor(id: IndexID(0), name: name, key: normalized)
        var others = DocumentBuilder()
        for element in specification {
            switch element.name.string {
            case "key", "name", "ns", "background", "v": continue
            case "unique": descriptor.isUnique = element.value.isTruthy
            case "sparse": descriptor.isSparse = element.value.isTruthy
            case "partialFilterExpression":
                guard case .document(let filter) = element.value else {
                    throw QueryError(.cannotCreateIndex, "'partialFilterExpression' must be an object")
                }
                descriptor.partialFilter = filter
            case "collation":
                guard case .document(let given) = element.value, !given.isEmpty else {
                    throw QueryError(.typeMismatch, "The field 'collation' must be a non-empty object")
                }
                // `simple` is kept for the moment: it is not the same as leaving it to the collection.
                others.append(
                    "collation", .document(try Collation.parse(given)?.document ?? IndexSpecification.simple))
            case "expireAfterSeconds":
                others.append(
                    "expireAfterSeconds", try Self.seconds(element.value, ifWrong: .cannotCreateIndex))
            case "hidden":
                guard element.value.isNumber || element.value.asBool != nil else {
                    throw QueryError(
                        .typeMismatch, "The field 'hidden' must be a bool, not \(element.value.type.alias)")
                }
                if element.value.isTruthy { others.append("hidden", true) }
            case "wildcardProjection":
                guard case .document = element.value else {
                    throw QueryError(
                        .typeMismatch, "The field 'wildcardProjection' must be a non-empty object")
                }
                others.append(element: element)
            case "comment": others.append(element: element)
            case let option:
                throw QueryError(
                    .invalidIndexSpecificationOption,
                    "The field '\(option)' is not valid for an index specification. Specification: \(specification)")
            }
        }
        descriptor.options = others.finish()
        guard !isID else {
            try Self.checkID(descriptor)
            self.descriptor = nil
            return
        }
        try Self.check(descriptor)
        self.descriptor = descriptor
    }

    /// The key pattern with directions 1 and -1, as descriptors have it.
    private static func normalized(_ key: Document) throws(QueryError) -> Document {
        var plain = DocumentBuilder()
        for element in key {
            let field = element.name.string
            if let kind = element.value.stringValue {
                if ["text", "2d", "2dsphere", "columnstore"].contains(kind) {
                    throw QueryError(
                        .commandNotSupported, "indexes of kind '\(kind)' are not supported by this version of Cairn")
                }
                plain.append(field, element.value)
                continue
            }
            guard element.value.isNumber, let direction = element.value.numericDouble, direction != 0,
                !direction.isNaN
            else {
                throw QueryError(
                    .cannotCreateIndex,
                    "Values in v:2 index key pattern must be numbers > 0, numbers < 0, or strings: \(field)")
            }
            plain.append(field, .int32(direction > 0 ? 1 : -1))
        }
        return plain.finish()
    }

    /// What of an index's options the one on `_id` may not have.
    private static func checkID(_ descriptor: IndexDescriptor) throws(QueryError) {
        if descriptor.isHidden { throw QueryError(.badValue, "can't hide _id index") }
        for (isGiven, option) in [
            (descriptor.isSparse, "sparse"), (descriptor.partialFilter != nil, "partialFilterExpression"),
            (descriptor.expireAfterSeconds != nil, "expireAfterSeconds"),
            // The records themselves are that index, in the order of bytes.
            (descriptor.collation != nil && descriptor.collation != simple, "collation"),
        ] where isGiven {
            throw QueryError(
                .invalidIndexSpecificationOption,
                "The field '\(option)' is not valid for an _id index specification")
        }
    }

    /// Whether the parts of an index go together.
    private static func check(_ descriptor: IndexDescriptor) throws(QueryError) {
        var context = QueryContext()
        context.collation = try descriptor.collation.flatMap { (given) throws(QueryError) in try Collation.parse(given)
        }
        let filter = try descriptor.partialFilter.map { (filter) throws(QueryError) in
            try Filter(parsing: filter, context: context)
        }
        try filter?.checkPartialIndex()
        let extractor = try IndexKeyExtractor(
            pattern: descriptor.key, isSparse: descriptor.isSparse, partialFilter: filter,
            wildcardProjection: descriptor.wildcardProjection)
        if descriptor.isSparse, filter != nil {
            throw QueryError(.cannotCreateIndex, "cannot mix 'partialFilterExpression' and 'sparse' options")
        }
        if extractor.hashedField != nil, descriptor.isUnique {
            throw QueryError(
                ErrorCode(16764), "Currently hashed indexes cannot guarantee uniqueness. Use a regular index.")
        }
        if extractor.wildcard != nil {
            for (isGiven, option) in [(descriptor.isUnique, "unique"), (descriptor.isSparse, "sparse")] where isGiven {
                throw QueryError(
                    .cannotCreateIndex, "Index type 'wildcard' does not support the \(option) option")
            }
        }
        if descriptor.expireAfterSeconds != nil {
            try checkExpiring(descriptor.key, ifWrong: .cannotCreateIndex)
        }
    }

    // MARK: - Collation

    private static let simple: Document = ["locale": "simple"]

    /// The index as it is made in a collection: with the collection's collation when it names none.
    static func resolved(_ index: IndexDescriptor, in descriptor: CollectionDescriptor) -> IndexDescriptor {
        var index = index
        if index.collation == simple {
            index.options = index.options.removing("collation")
        } else if index.collation == nil, let inherited = descriptor.options["collation"] {
            index.options.set("collation", inherited)
        }
        return index
    }

    // MARK: - Expiry

    /// `expireAfterSeconds`, when it is a number of seconds that MongoDB takes.
    static func seconds(_ value: Value, ifWrong code: ErrorCode) throws(QueryError) -> Int64 {
        guard value.isNumber, let number = value.numericDouble else {
            throw QueryError(
                code,
                "TTL index 'expireAfterSeconds' option must be numeric, but received a type of '\(value.type.alias)'")
        }
        guard number >= 0, number <= Double(Int32.max) else {
            throw QueryError(
                code,
                "TTL index 'expireAfterSeconds' option must be within an acceptable range, try a different number than "
                    + "\(value)")
        }
        return Int64(number)
    }

    /// Whether an index with this key can delete documents.
    static func checkExpiring(_ key: Document, ifWrong code: ErrorCode) throws(QueryError) {
        guard key.count == 1, let field = key.first else {
            throw QueryError(code, "TTL indexes are single-field indexes, compound indexes do not support TTL.")
        }
        guard field.value.isNumber, field.name != "$**", !field.name.string.hasSuffix(".$**") else {
            throw QueryError(code, "TTL indexes are ascending or descending indexes on one field, not \(key)")
        }
        guard field.name != "_id" else {
            throw QueryError(code, "The field 'expireAfterSeconds' is not valid for an _id index specification")
        }
    }

    // MARK: - What is there already

    /// The index of the same name or key, when it says the same.
    ///
    /// - Throws: code 85 or 86 when it does not.
    static func existing(
        _ wanted: IndexDescriptor, in descriptor: CollectionDescriptor
    ) throws(QueryError) -> IndexDescriptor? {
        let wanted = resolved(wanted, in: descriptor)
        if let index = descriptor.index(named: wanted.name) {
            guard isSameIndex(index, wanted) else {
                throw QueryError(
                    .indexKeySpecsConflict,
                    "An existing index has the same name as the requested index. When index names are not specified, they "
                        + "are auto generated and can cause conflicts. Please refer to our documentation. Requested "
                        + "index: \(wanted.document), existing index: \(index.document)")
            }
            guard index.expireAfterSeconds == wanted.expireAfterSeconds else {
                throw QueryError(
                    .indexOptionsConflict,
                    "An equivalent index already exists with the same name but different options. Requested index: "
                        + "\(wanted.document), existing index: \(index.document)")
            }
            return index
        }
        if let index = descriptor.indexes.first(where: { isSameIndex($0, wanted) }) {
            throw QueryError(.indexOptionsConflict, "Index already exists with a different name: \(index.name)")
        }
        return nil
    }

    /// Whether two indexes have the same entries and forbid the same; whether one is hidden or deletes is not asked.
    private static func isSameIndex(_ left: IndexDescriptor, _ right: IndexDescriptor) -> Bool {
        left.key == right.key && left.isUnique == right.isUnique && left.isSparse == right.isSparse
            && left.partialFilter == right.partialFilter && left.wildcardProjection == right.wildcardProjection
            && left.collation == right.collation
    }
}
