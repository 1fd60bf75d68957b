import CairnBSON
import CairnDatabase
import CairnQuery

/// The options of a collection as `create` takes them: checked, and as the catalog keeps them.
struct CollectionOptions {
    /// What the catalog keeps and `listCollections` shows.
    let document: Document
    let placement: CollectionDescriptor.Placement

    /// - Throws: what MongoDB says to options that it knows and does not take, `CommandNotSupported` (115) for those that it
    ///   would take.
    init(creating body: Document) throws(QueryError) {
        var options = DocumentBuilder()
        for element in body {
            let name = element.name.string
            switch name {
            case "validator", "comment", "placement": options.append(element: element)
            case "validationLevel", "validationAction":
                try CollectionOptions.checkValidation(name, element.value)
                options.append(element: element)
            case "collation":
                guard let given = try body.nested("collation"), let collation = try Collation.parse(given) else {
                    continue
                }
                options.append("collation", .document(collation.document))
            case "capped", "size", "max": continue
            case "timeseries":
                throw QueryError(
                    .commandNotSupported, "time-series collections are not supported by this version of Cairn")
            case "expireAfterSeconds":
                throw QueryError(
                    .invalidOptions,
                    "'expireAfterSeconds' is only supported on time-series collections or when the 'clusteredIndex' "
                        + "option is specified")
            case "pipeline":
                throw QueryError(.invalidOptions, "'pipeline' requires 'viewOn' to also be specified")
            case "changeStreamPreAndPostImages" where element.value.asDocument?.flag("enabled") == false: continue
            case "clusteredIndex", "encryptedFields", "changeStreamPreAndPostImages":
                throw QueryError(
                    .commandNotSupported, "the option '\(name)' of create is not supported by this version of Cairn")
            default:
                guard Router.ignoredOptions.contains(name) else {
                    throw QueryError(.unknownField, "BSON field 'create.\(name)' is an unknown field.")
                }
            }
        }
        let limits = try CollectionOptions.limits(body)
        if let limits {
            options.append("capped", true)
            options.append("size", Router.number(limits.bytes))
            if let documents = limits.documents { options.append("max", Router.number(documents)) }
        }
        document = options.finish()
        if let validator = try document.nested("validator") {
            var context = QueryContext()
            context.collation = try document.nested("collation").flatMap { (given) throws(QueryError) in
                try Collation.parse(given)
            }
            _ = try Filter(parsing: validator, context: context)
        }
        switch try document.string("placement") {
        case nil: placement = limits == nil ? .spread : .single
        case "single": placement = .single
        case "spread":
            guard limits == nil else {
                throw QueryError(
                    .invalidOptions, "a capped collection lives in one group: 'placement' cannot be 'spread'")
            }
            placement = .spread
        case let other?:
            throw QueryError(.badValue, "placement must be 'spread' or 'single', not '\(other)'")
        }
    }

    /// What of a capped collection `create` was asked for; nil for any other.
    private static func limits(_ body: Document) throws(QueryError) -> CappedLimits? {
        let bytes = try body.integer("size")
        let documents = try body.integer("max")
        guard body["capped"]?.isTruthy ?? false else {
            guard bytes == nil, documents == nil else {
                throw QueryError(
                    .invalidOptions,
                    "the 'capped' field needs to be true when either the 'size' or 'max' fields are present")
            }
            return nil
        }
        guard let bytes else {
            throw QueryError(.invalidOptions, "the 'size' field is required when 'capped' is true")
        }
        return CappedLimits(bytes: try check(size: bytes, "size"), documents: try check(max: documents, "max"))
    }

    /// - Returns: the size of a capped collection, if it can be one.
    static func check(size: Int64, _ name: String) throws(QueryError) -> Int64 {
        guard size >= 1 else {
            throw QueryError(ErrorCode(51024), "BSON field '\(name)' value must be >= 1, actual value '\(size)'")
        }
        guard size <= 1 << 50 else {
            throw QueryError(
                ErrorCode(51024), "BSON field '\(name)' value must be <= \(1 << 50), actual value '\(size)'")
        }
        return size
    }

    /// - Returns: how many documents a capped collection may have; nil for any number, which 0 and less stand for.
    static func check(max: Int64?, _ name: String) throws(QueryError) -> Int64? {
        guard let max, max > 0 else { return nil }
        guard max < 1 << 31 else {
            throw QueryError(.badValue, "max in a capped collection has to be < 2^31 or not set")
        }
        return max
    }

    static func checkValidation(_ name: String, _ value: Value) throws(QueryError) {
        let known = name == "validationLevel" ? ["off", "strict", "moderate"] : ["error", "warn"]
        guard let text = value.stringValue else {
            throw QueryError(
                .typeMismatch,
                "BSON field 'create.\(name)' is the wrong type '\(value.type.alias)', expected type 'string'")
        }
        guard known.contains(text) else {
            throw QueryError(.badValue, "Enumeration value '\(text)' for field 'create.\(name)' is not a valid value.")
        }
    }
}

extension Router {
    /// The options of `create` that a view cannot have.
    static let collectionOptions: Set<String> = [
        "validator", "validationLevel", "validationAction", "placement", "capped", "size", "max", "timeseries",
        "expireAfterSeconds", "clusteredIndex", "encryptedFields", "changeStreamPreAndPostImages",
    ]
}
