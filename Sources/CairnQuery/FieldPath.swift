import CairnBSON

/// A dotted path such as `items.0.price`, taken apart once so that documents can be asked for it many times.
///
/// - Invariant: one component at least, none of them empty, at most ``depthMax``.
struct FieldPath: Sendable, Hashable, CustomStringConvertible {
    struct Component: Sendable, Hashable {
        let name: BSONString
        /// The array position the name spells (`0`, `17`; not `00` or `+1`), when it does.
        let index: Int?

        init(_ name: Substring) {
            self.name = BSONString(name)
            index = Self.arrayIndex(name)
        }

        private static func arrayIndex(_ name: Substring) -> Int? {
            let digits = name.utf8
            guard let first = digits.first, digits.count <= 10, first != 0x30 || digits.count == 1,
                digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 })
            else { return nil }
            return Int(name)
        }
    }

    static let depthMax = 200

    let components: [Component]
    let string: String

    /// - Throws: code 15998 for an empty component, 15 when it has too many.
    init(_ string: String) throws(QueryError) {
        try Self.checkBytes(string)
        self.string = string
        var components: [Component] = []
        for part in string.split(separator: ".", omittingEmptySubsequences: false) {
            guard !part.isEmpty else {
                throw QueryError(
                    .emptyFieldPathComponent,
                    string.isEmpty
                        ? "FieldPath cannot be constructed with empty string"
                        : "FieldPath field names may not be empty strings: '\(string)'")
            }
            components.append(Component(part))
        }
        guard components.count <= Self.depthMax else {
            throw QueryError(.overflow, "FieldPath is too long")
        }
        self.components = components
    }

    /// A path as filters take it: an empty component is a field with an empty name there.
    init(lenient string: String) throws(QueryError) {
        try Self.checkBytes(string)
        self.string = string
        components = string.split(separator: ".", omittingEmptySubsequences: false).map(Component.init)
        guard components.count <= Self.depthMax else {
            throw QueryError(.overflow, "FieldPath is too long")
        }
    }

    /// A zero byte would end the name where BSON writes it.
    private static func checkBytes(_ string: String) throws(QueryError) {
        guard !string.utf8.contains(0) else {
            throw QueryError(ErrorCode(16411), "FieldPath field names may not contain null bytes.")
        }
    }

    var description: String { string }

    var head: BSONString { components[0].name }

    /// The value that expressions see: through arrays, the array of what the elements' documents hold there; numeric
    /// components mean nothing special. Nil is missing.
    func value(in document: Document, from start: Int = 0) -> Value? {
        guard let value = document[components[start].name] else { return nil }
        return start + 1 == components.count ? value : descend(into: value, from: start + 1)
    }

    /// The value at the components from `start` on, inside `value`.
    func descend(into value: Value, from start: Int) -> Value? {
        if start == components.count { return value }
        switch value {
        case .document(let document): return self.value(in: document, from: start)
        case .array(let array):
            var found = ArrayBuilder()
            for element in array {
                switch element {
                case .document, .array:
                    if let value = descend(into: element, from: start) { found.append(value) }
                default: break
                }
            }
            return .array(found.finish())
        default: return nil
        }
    }

    /// What a walk that does not look into arrays meets.
    enum Plain {
        case value(Value)
        case missing
        case array
    }

    /// The value at the path when no array lies on it, the leaf included. O(elements on the way), no allocation.
    @inline(__always)
    func plainValue(in document: Document) -> Plain {
        var document = document
        var index = 0
        while true {
            guard let value = document[components[index].name] else { return .missing }
            index += 1
            switch value {
            case .array: return .array
            case .document(let inner) where index < components.count: document = inner
            default: return index == components.count ? .value(value) : .missing
            }
        }
    }
}
