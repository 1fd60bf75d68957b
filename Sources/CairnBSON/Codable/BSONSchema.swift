/// What the documents of a type look like, as a `$jsonSchema` that a collection can demand.
///
/// The type is asked: its `init(from:)` is run with a decoder that notes which keys it wants, and of what type. Properties that are
/// optional may be missing or null; all others are required.
public struct BSONSchema: Sendable {
    /// The schema, for `{validator: {$jsonSchema: …}}`.
    public let document: Document

    /// Why a type cannot be described.
    public struct Indescribable: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// - Parameter allowsOtherFields: whether documents may have fields that the type does not know. `_id` is always allowed.
    /// - Throws: ``Indescribable`` for a type that is no document, and for one of whose properties no value can be made up: an
    ///   enumeration has to be `CaseIterable`.
    public init<T: Codable>(of type: T.Type, allowsOtherFields: Bool = true) throws(Indescribable) {
        let node = SchemaNode()
        do {
            _ = try SchemaProbe(node: node, path: [], enclosing: []).value(of: type)
        } catch let problem as Indescribable {
            throw problem
        } catch {
            throw Indescribable(description: "\(type) cannot be described: \(error)")
        }
        guard case .object(var fields) = node.kind else {
            throw Indescribable(description: "\(type) is no document: its values are not keyed")
        }
        if !allowsOtherFields, fields["_id"] == nil { fields.add("_id", SchemaNode(), isRequired: false) }
        node.kind = .object(fields)
        var document = node.schema
        if !allowsOtherFields { document.set("additionalProperties", false) }
        self.document = document
    }
}

/// What is known of the values in one place.
final class SchemaNode {
    struct Fields {
        private(set) var names: [String] = []
        private(set) var required: [String] = []
        private var nodes: [String: SchemaNode] = [:]

        subscript(name: String) -> SchemaNode? { nodes[name] }

        mutating func add(_ name: String, _ node: SchemaNode, isRequired: Bool) {
            if nodes.updateValue(node, forKey: name) == nil { names.append(name) }
            if isRequired, !required.contains(name) { required.append(name) }
        }
    }

    indirect enum Kind {
        case anything
        /// Values of these BSON types, by alias.
        case types([String])
        /// One of these values.
        case values([Value])
        case object(Fields)
        case array(SchemaNode)
        /// Any names, with values of one kind.
        case map(SchemaNode)
    }

    var kind = Kind.anything
    var mayBeNull = false

    var schema: Document {
        var schema: Document = [:]
        switch kind {
        case .anything: return schema
        case .types(let types): setTypes(types, of: &schema)
        case .values(let values):
            schema.set("enum", .array(BSONArray(values + (mayBeNull ? [.null] : []))))
        case .object(let fields):
            setTypes(["object"], of: &schema)
            if !fields.required.isEmpty {
                schema.set("required", .array(BSONArray(fields.required.map { .string(BSONString($0)) })))
            }
            var properties: Document = [:]
            for name in fields.names { properties.set(name, .document(fields[name]!.schema)) }
            if !properties.isEmpty { schema.set("properties", .document(properties)) }
        case .array(let element):
            setTypes(["array"], of: &schema)
            let items = element.schema
            if !items.isEmpty { schema.set("items", .document(items)) }
        case .map(let value):
            setTypes(["object"], of: &schema)
            let values = value.schema
            if !values.isEmpty { schema.set("additionalProperties", .document(values)) }
        }
        return schema
    }

    private func setTypes(_ types: [String], of schema: inout Document) {
        let all = types + (mayBeNull ? ["null"] : [])
        schema.set(
            "bsonType",
            all.count == 1 ? .string(BSONString(all[0])) : .array(BSONArray(all.map { .string(BSONString($0)) })))
    }
}
