import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication

extension Router {
    /// `collMod`: validators, and of one index whether it is hidden and when its documents expire.
    func collMod(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        try refuseCatalogWrite(namespace)
        guard let current = try await catalogued(namespace, fresh: true, deadline: command.deadline!) else {
            throw QueryError(.namespaceNotFound, "ns does not exist: \(namespace)")
        }
        if current.isView { return try await changeView(namespace, command) }
        var changes: [(String, Value)] = []
        var indexChange: IndexChange?
        var cappedChanges: CappedChange?
        for element in command.body {
            let name = element.name.string
            if ["validator", "validationLevel", "validationAction"].contains(name) {
                if name != "validator" { try CollectionOptions.checkValidation(name, element.value) }
                changes.append((name, element.value))
            } else if name == "cappedSize" || name == "cappedMax" {
                cappedChanges = try CappedChange(command.body)
            } else if name == "viewOn" || name == "pipeline" {
                throw QueryError(.invalidOptions, "option only supported on a view: \(name)")
            } else if name == "index" {
                guard case .document(let index) = element.value else {
                    throw QueryError(
                        .typeMismatch,
                        "BSON field 'collMod.index' is the wrong type '\(element.value.type.alias)', expected type 'object'"
                    )
                }
                indexChange = try IndexChange(index)
            } else if !Router.ignoredOptions.contains(name), name != "collMod", name != "comment" {
                throw QueryError(
                    .commandNotSupported, "the option '\(name)' of collMod is not supported by this version of Cairn")
            }
        }
        if let validator = try command.body.nested("validator") { _ = try Filter(parsing: validator) }
        var reply = Document()
        _ = try await changeCollection(namespace, deadline: command.deadline!) { (current) throws(QueryError) in
            var new = current
            for (name, value) in changes { new.options.set(name, value) }
            try cappedChanges?.apply(to: &new)
            reply = try indexChange?.apply(to: &new) ?? Document()
            return new == current ? nil : new
        }
        reply.set("ok", .double(1))
        return reply
    }
}

/// What `collMod` is to change of a capped collection's limits. What is too much then goes with the next insertion.
private struct CappedChange {
    private let bytes: Int64?
    private let documents: Int64??

    init(_ body: Document) throws(QueryError) {
        bytes = try body.integer("cappedSize").map { (size) throws(QueryError) in
            try CollectionOptions.check(size: size, "cappedSize")
        }
        documents = try body.integer("cappedMax").map { (max) throws(QueryError) in
            try CollectionOptions.check(max: max, "cappedMax")
        }
    }

    func apply(to descriptor: inout CollectionDescriptor) throws(QueryError) {
        guard descriptor.cappedLimits != nil else {
            throw QueryError(.invalidOptions, "Capped collection options can only be set on a capped collection")
        }
        if let bytes { descriptor.options.set("size", Router.number(bytes)) }
        switch documents {
        case .some(let max?): descriptor.options.set("max", Router.number(max))
        case .some(nil): descriptor.options = descriptor.options.removing("max")
        case nil: break
        }
    }
}

/// What `collMod` is to change of one index.
private struct IndexChange {
    private let name: String?
    private let keyPattern: Document?
    private var isHidden: Bool?
    private var expireAfterSeconds: Int64?

    init(_ document: Document) throws(QueryError) {
        name = try document.string("name")
        keyPattern = try document.nested("keyPattern")
        guard name == nil || keyPattern == nil else {
            throw QueryError(.invalidOptions, "Cannot specify both key pattern and name.")
        }
        guard name != nil || keyPattern != nil else {
            throw QueryError(.invalidOptions, "Must specify either index name or key pattern.")
        }
        for element in document {
            switch element.name.string {
            case "name", "keyPattern": continue
            case "hidden":
                guard element.value.isNumber || element.value.asBool != nil else {
                    throw QueryError(.invalidOptions, "hidden field must be a boolean")
                }
                isHidden = element.value.isTruthy
            case "expireAfterSeconds":
                expireAfterSeconds = try IndexSpecification.seconds(element.value, ifWrong: .invalidOptions)
            case "unique", "prepareUnique":
                throw QueryError(
                    .commandNotSupported,
                    "collMod cannot make an index unique in this version of Cairn: create a unique index instead")
            case let option:
                throw QueryError(.unknownField, "BSON field 'collMod.index.\(option)' is an unknown field.")
            }
        }
        guard isHidden != nil || expireAfterSeconds != nil else {
            throw QueryError(.invalidOptions, "no expireAfterSeconds, hidden, unique, or prepareUnique field")
        }
    }

    /// Changes the index in a collection's descriptor.
    ///
    /// - Returns: the fields of the reply that tell what was and what is.
    func apply(to descriptor: inout CollectionDescriptor) throws(QueryError) -> Document {
        if name == "_id_" || keyPattern.map({ Value.document($0) == ["_id": 1] }) == true {
            if isHidden != nil { throw QueryError(.badValue, "can't hide _id index") }
            throw QueryError(.invalidOptions, "the _id field does not support TTL indexes")
        }
        let found = descriptor.indexes.indices.filter { position in
            let index = descriptor.indexes[position]
            if let name { return index.name == name }
            return keyPattern.map { Value.document($0) == .document(index.key) } ?? false
        }
        guard let position = found.first else {
            throw QueryError(
                .indexNotFound,
                "cannot find index \(name ?? "\(keyPattern ?? Document())") for ns \(descriptor.namespace)")
        }
        guard found.count == 1 else {
            throw QueryError(
                .ambiguousIndexKeyPattern,
                "index keyPattern \(keyPattern ?? Document()) matches \(found.count) indexes, must use index name")
        }
        var reply = Document()
        let index = descriptor.indexes[position]
        if let expireAfterSeconds {
            try IndexSpecification.checkExpiring(index.key, ifWrong: .invalidOptions)
            if index.expireAfterSeconds != expireAfterSeconds {
                if let former = index.expireAfterSeconds { reply.set("expireAfterSeconds_old", .int64(former)) }
                reply.set("expireAfterSeconds_new", .int64(expireAfterSeconds))
                descriptor.indexes[position].options.set("expireAfterSeconds", .int64(expireAfterSeconds))
            }
        }
        if let isHidden, index.isHidden != isHidden {
            reply.set("hidden_old", .bool(index.isHidden))
            reply.set("hidden_new", .bool(isHidden))
            if isHidden {
                descriptor.indexes[position].options.set("hidden", true)
            } else {
                descriptor.indexes[position].options = descriptor.indexes[position].options.removing("hidden")
            }
        }
        return reply
    }
}
