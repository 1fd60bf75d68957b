import CairnBSON

/// The distinct values of a path, as the `distinct` command collects them: arrays count as their elements.
public struct Distinct: Sendable {
    private let path: FieldPath
    private let collation: Collation?
    private var seen: Set<Value> = []
    /// In the order of their first appearance.
    public private(set) var values: [Value] = []
    private var byteCount = 0

    /// - Parameter collation: values that it holds for equal count once, and the first to come is shown.
    public init(path: String, collation: Collation? = nil) throws(QueryError) {
        self.path = try FieldPath(lenient: path)
        self.collation = collation
    }

    /// - Throws: code 10334 (BSONObjectTooLarge) when the values no longer fit into one reply.
    public mutating func add(_ document: Document) throws(QueryError) {
        try collect(.document(document), from: 0)
    }

    /// Takes in values that another part of the collection has found.
    public mutating func add(value: Value) throws(QueryError) {
        guard seen.insert(collation?.folded(value) ?? value).inserted else { return }
        values.append(value)
        switch value {
        case .document, .array, .string, .binary: byteCount += value.encodedBytes.count + 8
        default: byteCount += 24
        }
        guard byteCount < 16 << 20 else {
            throw QueryError(.bsonObjectTooLarge, "distinct too big, 16mb cap")
        }
    }

    private mutating func collect(_ value: Value, from index: Int) throws(QueryError) {
        if index == path.components.count {
            if case .array(let array) = value {
                for element in array { try add(value: element) }
            } else {
                try add(value: value)
            }
            return
        }
        let component = path.components[index]
        switch value {
        case .document(let document):
            if let inner = document[component.name] { try collect(inner, from: index + 1) }
        case .array(let array):
            if let position = component.index {
                if let element = array[position] { try collect(element, from: index + 1) }
            } else {
                for case .document(let document) in array { try collect(.document(document), from: index) }
            }
        default: break
        }
    }
}
