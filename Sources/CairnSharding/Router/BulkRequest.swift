import CairnBSON
import CairnQuery

/// One operation of a `bulkWrite`, as `insert`, `update` or `delete` takes it.
struct BulkOperation: Hashable {
    enum Kind: String {
        case insert, update, delete
    }

    /// Its place in the command.
    let index: Int
    let kind: Kind
    /// Its collection's place in `nsInfo`.
    let namespace: Int
    /// The document, or `{q, u, …}`, or `{q, limit, …}`.
    let statement: Document
    let isMulti: Bool

    /// The fields of an operation, and what a statement calls them.
    private static let fields: [Kind: [String: String]] = [
        .insert: ["document": "document"],
        .update: [
            "filter": "q", "updateMods": "u", "multi": "multi", "upsert": "upsert", "upsertSupplied": "upsertSupplied",
            "arrayFilters": "arrayFilters", "hint": "hint", "constants": "c", "collation": "collation", "sort": "sort",
        ],
        .delete: ["filter": "q", "multi": "multi", "hint": "hint", "collation": "collation"],
    ]

    init(_ document: Document, index: Int) throws(QueryError) {
        guard let first = document.first, let kind = Kind(rawValue: first.name.string) else {
            throw QueryError(
                .badValue, "BulkWrite ops entry \(index) must begin with 'insert', 'update' or 'delete'")
        }
        guard let namespace = first.value.asInt64Exactly.flatMap({ Int(exactly: $0) }), namespace >= 0 else {
            throw QueryError(
                .typeMismatch, "BSON field 'bulkWrite.\(kind.rawValue)' must be the number of an entry of nsInfo")
        }
        self.index = index
        self.kind = kind
        self.namespace = namespace
        var builder = DocumentBuilder()
        for element in document.dropFirst() {
            let name = element.name.string
            guard let field = Self.fields[kind]![name] else {
                throw QueryError(
                    .unknownField, "BSON field 'bulkWrite.\(kind.rawValue).\(name)' is an unknown field.")
            }
            if field != "multi" || kind == .update { builder.append(field, element.value) }
        }
        func require(_ names: String...) throws(QueryError) {
            for name in names where document[name] == nil {
                throw QueryError(
                    .missingRequiredField,
                    "BSON field 'bulkWrite.\(kind.rawValue).\(name)' is missing but a required field")
            }
        }
        isMulti = document.flag("multi") ?? false
        switch kind {
        case .insert:
            try require("document")
            statement = try document.nested("document") ?? Document()
        case .update:
            try require("filter", "updateMods")
            _ = try document.nested("filter")
            if isMulti, document["sort"] != nil {
                throw QueryError(.failedToParse, "Cannot specify sort with multi=true")
            }
            if document["constants"] != nil, document["updateMods"]?.asArray == nil {
                throw QueryError(ErrorCode(51198), "Constant values may only be specified for pipeline updates")
            }
            statement = builder.finish()
        case .delete:
            try require("filter")
            _ = try document.nested("filter")
            builder.append("limit", .int32(isMulti ? 0 : 1))
            statement = builder.finish()
        }
        guard statement.byteCount <= Router.documentBytesMax + 16_384 else {
            throw QueryError(
                .bsonObjectTooLarge,
                "BulkWrite ops entry \(index) is too large: \(statement.byteCount) bytes, the limit is "
                    + "\(Router.documentBytesMax)")
        }
    }
}

/// What a `bulkWrite` asks for.
struct BulkRequest {
    private static let fields: Set<String> = [
        "bulkWrite", "ops", "nsInfo", "ordered", "errorsOnly", "bypassDocumentValidation", "let", "comment", "cursor",
        "stmtId", "stmtIds", "$db", "lsid", "txnNumber", "$clusterTime", "writeConcern", "readConcern", "maxTimeMS",
        "$readPreference", "apiVersion", "apiStrict", "apiDeprecationErrors",
    ]

    let operations: [BulkOperation]
    let namespaces: [Namespace]
    let statementIDs: [Int32]
    let isOrdered: Bool
    let onlyErrors: Bool
    let bypassesValidation: Bool

    init(_ command: ClientCommand) throws(QueryError) {
        for element in command.body where !Self.fields.contains(element.name.string) {
            throw QueryError(.unknownField, "BSON field 'bulkWrite.\(element.name)' is an unknown field.")
        }
        let documents = try Self.list("ops", of: command)
        guard (1...Router.statementsMax).contains(documents.count) else {
            throw QueryError(
                .invalidLength,
                "Write batch sizes must be between 1 and \(Router.statementsMax). Got \(documents.count) operations.")
        }
        var namespaces: [Namespace] = []
        for information in try Self.list("nsInfo", of: command) {
            if information["encryptionInformation"] != nil {
                throw QueryError(
                    .commandNotSupported, "'encryptionInformation' is not supported by this version of Cairn")
            }
            guard let name = try information.string("ns") else {
                throw QueryError(
                    .missingRequiredField, "BSON field 'bulkWrite.nsInfo.ns' is missing but a required field")
            }
            let namespace = try Namespace(parsing: name)
            guard !namespaces.contains(namespace) else {
                throw QueryError(.badValue, "BulkWrite nsInfo names \(namespace) twice")
            }
            namespaces.append(namespace)
        }
        var operations: [BulkOperation] = []
        operations.reserveCapacity(documents.count)
        for (index, document) in documents.enumerated() {
            let operation = try BulkOperation(document, index: index)
            guard operation.namespace < namespaces.count else {
                throw QueryError(.badValue, "BulkWrite ops entry \(index) has an invalid nsInfo index.")
            }
            if operation.isMulti, command.session != nil {
                throw QueryError(
                    .invalidOptions,
                    "BulkWrite \(operation.kind.rawValue) with multi=true is not supported with retryable writes")
            }
            operations.append(operation)
        }
        self.operations = operations
        self.namespaces = namespaces
        statementIDs = try Router.statementIDs(of: command, count: operations.count)
        isOrdered = command.body.flag("ordered") ?? true
        onlyErrors = command.body.flag("errorsOnly") ?? false
        bypassesValidation = command.body.flag("bypassDocumentValidation") ?? false
    }

    private static func list(_ name: String, of command: ClientCommand) throws(QueryError) -> [Document] {
        if let sequence = command.sequences.first(where: { $0.name == name }) { return sequence.documents }
        guard let list = try command.body.list(name) else {
            throw QueryError(.missingRequiredField, "BSON field 'bulkWrite.\(name)' is missing but a required field")
        }
        return try list.documents(of: name)
    }

    /// What can be carried out together, in the order in which that is to be done.
    var batches: [[BulkOperation]] {
        struct Key: Hashable {
            let kind: BulkOperation.Kind
            let namespace: Int
        }
        var batches: [[BulkOperation]] = []
        var places: [Key: Int] = [:]
        for operation in operations {
            let key = Key(kind: operation.kind, namespace: operation.namespace)
            if isOrdered, let last = batches.last?.last {
                if Key(kind: last.kind, namespace: last.namespace) == key {
                    batches[batches.count - 1].append(operation)
                } else {
                    batches.append([operation])
                }
            } else if let place = places[key] {
                batches[place].append(operation)
            } else {
                places[key] = batches.count
                batches.append([operation])
            }
        }
        return batches
    }
}
