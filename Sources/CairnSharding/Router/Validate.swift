import CairnBSON
import CairnDatabase
import CairnQuery

/// `validate`: every group compares its indexes with its documents, as they are at one version of the group.
///
/// Everything is always looked at: `full` and `background`, which say how much another server is to do, are accepted and make no difference.
/// Nothing is repaired; `repair: true` is refused, and so is `metadata: true`, for there is no metadata apart from the catalog.
extension Router {
    func validate(_ command: ClientCommand) async throws(QueryError) -> Document {
        let namespace = try namespace(of: command)
        for option in ["repair", "fixMultikey", "metadata"] where command.body[option]?.isTruthy == true {
            throw QueryError(
                .commandNotSupported, "validate with '\(option)' is not supported by this version of Cairn")
        }
        guard let descriptor = try await collection(namespace, fresh: true, deadline: command.deadline!) else {
            throw QueryError(.namespaceNotFound, "Collection '\(namespace)' does not exist to validate.")
        }
        let (replies, _) = try await askOwners(
            namespace, filter: Document(), nil, operation: .validate, body: Document(), deadline: command.deadline!)
        var found = ValidationSummary(indexes: descriptor.indexes.map(\.name))
        for reply in replies { try found.add(reply.body) }
        return found.reply(for: namespace)
    }
}

/// What the groups found, added up.
private struct ValidationSummary {
    private var records: Int64 = 0
    private var invalid: Int64 = 0
    /// Of a capped collection: documents without a place in its order, and places without a document.
    private var order: (missing: Int64, extra: Int64) = (0, 0)
    /// By name, in the order of the collection's indexes. The one on `_id` is the order of the documents themselves.
    private var indexes: [(name: String, entries: Int64, missing: Int64, extra: Int64)]

    init(indexes: [String]) { self.indexes = indexes.map { ($0, 0, 0, 0) } }

    mutating func add(_ part: Document) throws(QueryError) {
        records += try part.integer("nrecords") ?? 0
        invalid += try part.integer("invalid") ?? 0
        if let part = try part.nested("order") {
            order.missing += try part.integer("missing") ?? 0
            order.extra += try part.integer("extra") ?? 0
        }
        guard case .array(let parts)? = part["indexes"] else { return }
        for value in parts {
            guard let part = value.asDocument, let name = part["name"]?.stringValue else { continue }
            if !indexes.contains(where: { $0.name == name }) { indexes.append((name, 0, 0, 0)) }
            let position = indexes.firstIndex { $0.name == name }!
            indexes[position].entries += try part.integer("entries") ?? 0
            indexes[position].missing += try part.integer("missing") ?? 0
            indexes[position].extra += try part.integer("extra") ?? 0
        }
    }

    private var errors: [Value] {
        var errors: [Value] = []
        if invalid > 0 { errors.append(.string(BSONString("\(invalid) documents are not valid BSON"))) }
        if order != (0, 0) {
            errors.append(
                .string(
                    BSONString(
                        "the order lacks \(order.missing) documents and has \(order.extra) places that are wrong")))
        }
        for index in indexes {
            if index.missing > 0 {
                errors.append(.string(BSONString("index '\(index.name)' lacks \(index.missing) entries of documents")))
            }
            if index.extra > 0 {
                errors.append(
                    .string(BSONString("index '\(index.name)' has \(index.extra) entries that belong to no document")))
            }
        }
        return errors
    }

    func reply(for namespace: Namespace) -> Document {
        let errors = errors
        let byID: (String, Int64, Bool) = ("_id_", records, invalid == 0)
        let all = [byID] + indexes.map { ($0.name, $0.entries, $0.missing == 0 && $0.extra == 0) }
        return [
            "ns": .string(BSONString(namespace.description)), "nInvalidDocuments": Router.number(invalid),
            "nrecords": Router.number(records), "nIndexes": .int32(Int32(all.count)),
            "keysPerIndex": .document(Document(all.map { ($0.0, Router.number($0.1)) })),
            "indexDetails": .document(Document(all.map { ($0.0, .document(["valid": .bool($0.2)])) })),
            "missingIndexEntries": Router.number(indexes.reduce(0) { $0 + $1.missing }),
            "extraIndexEntries": Router.number(indexes.reduce(0) { $0 + $1.extra }),
            "valid": .bool(errors.isEmpty), "repaired": false, "warnings": [], "errors": .array(BSONArray(errors)),
            "ok": 1.0,
        ]
    }
}
