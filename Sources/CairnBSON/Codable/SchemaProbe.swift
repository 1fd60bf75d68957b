/// A decoder without data: it notes what is asked of it, and makes up the answers.
struct SchemaProbe: Decoder, SingleValueDecodingContainer {
    let node: SchemaNode
    let codingPath: [any CodingKey]
    /// The types around this one. A type inside itself is not looked into again.
    private let enclosing: [ObjectIdentifier]
    let userInfo: [CodingUserInfoKey: Any] = [:]
    /// A text from which many types can be made.
    private static let text = "0"

    init(node: SchemaNode, path: [any CodingKey], enclosing: [ObjectIdentifier]) {
        self.node = node
        codingPath = path
        self.enclosing = enclosing
    }

    fileprivate func probe(_ node: SchemaNode, _ key: any CodingKey) -> SchemaProbe {
        SchemaProbe(node: node, path: codingPath + [key], enclosing: enclosing)
    }

    private func inside(_ type: Any.Type) -> SchemaProbe {
        SchemaProbe(node: node, path: codingPath, enclosing: enclosing + [ObjectIdentifier(type)])
    }

    /// Notes what values of the type look like, without making one.
    fileprivate func look(at type: any Decodable.Type) throws {
        if enclosing.contains(ObjectIdentifier(type)) {
            node.kind = .types(["object"])
            return
        }
        _ = try value(of: type)
    }

    /// Notes what values of the type look like, and makes one up.
    func value<T: Decodable>(of type: T.Type) throws -> T {
        if let type = type as? any BSONRepresentable.Type, let value = sample(of: type) as? T { return value }
        if let type = type as? any NullableType.Type {
            node.mayBeNull = true
            try look(at: type.wrapped)
            // Safe: `type` is T itself, seen as one of the protocol, and the value is a `Self`.
            return type.none as! T
        }
        if let type = type as? any ListType.Type {
            let element = SchemaNode()
            node.kind = .array(element)
            try SchemaProbe(node: element, path: codingPath, enclosing: enclosing).look(at: type.element)
            // Safe for the same reason: the value is a `Self` of T.
            return type.empty as! T
        }
        if let type = type as? any MapType.Type {
            let value = SchemaNode()
            node.kind = .map(value)
            try SchemaProbe(node: value, path: codingPath, enclosing: enclosing).look(at: type.value)
            // Safe for the same reason: the value is a `Self` of T.
            return type.empty as! T
        }
        if let type = type as? any (CaseIterable & Encodable).Type {
            let (cases, first) = try Self.cases(of: type)
            if let first = first as? T {
                node.kind = .values(cases)
                return first
            }
        }
        do {
            return try T(from: inside(type))
        } catch let problem as BSONSchema.Indescribable {
            throw problem
        } catch {
            let place = codingPath.isEmpty ? "" : "\(codingPath.map(\.stringValue).joined(separator: ".")): "
            throw BSONSchema.Indescribable(
                description:
                    "\(place)no \(type) can be made up to learn what it consists of (\(error)); an enumeration has to "
                    + "be CaseIterable")
        }
    }

    private static func cases<T: CaseIterable & Encodable>(of type: T.Type) throws -> ([Value], T?) {
        let cases = Array(type.allCases)
        return (try cases.map { try BSONEncoder().encodeValue($0) }, cases.first)
    }

    /// Samples of every kind that a type may be made from; the more particular ones first.
    private static let samples: [Value] = [
        .objectID(ObjectID(seconds: 0, random: 0, counter: 0)), .date(milliseconds: 0), .decimal128(Decimal128(0)),
        .binary(Binary([UInt8](repeating: 0, count: 16), subtype: .uuid)), .binary(Binary([])),
        .timestamp(Timestamp(seconds: 0, increment: 0)), .regex(RegularExpression(pattern: "", options: "")),
        .string("0"),
        .document([:]), .array([]), .int64(0), .double(0), .bool(false),
    ]

    private func sample<T: BSONRepresentable>(of type: T.Type) -> T? {
        if type == Value.self { return T(bsonValue: .null) }
        for sample in Self.samples {
            guard let value = T(bsonValue: sample) else { continue }
            node.kind = .types([value.bsonValue.type.alias])
            return value
        }
        return nil
    }

    // MARK: Decoder

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedDecodingContainer<Key> {
        if case .object = node.kind {} else { node.kind = .object(SchemaNode.Fields()) }
        return KeyedDecodingContainer(KeyedProbe<Key>(probe: self))
    }

    func unkeyedContainer() -> any UnkeyedDecodingContainer {
        let element = SchemaNode()
        node.kind = .array(element)
        return UnkeyedProbe(probe: self)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    // MARK: Single values

    private func note<T>(_ types: String..., as value: T) -> T {
        node.kind = .types(types)
        return value
    }

    func decodeNil() -> Bool { false }
    func decode(_: Bool.Type) -> Bool { note("bool", as: false) }
    func decode(_: String.Type) -> String { note("string", as: Self.text) }
    // The decoder takes whole numbers of any width for a floating-point one, and other programs write them so.
    func decode(_: Double.Type) -> Double { note("double", "int", "long", as: 0) }
    func decode(_: Float.Type) -> Float { note("double", "int", "long", as: 0) }
    func decode(_: Int.Type) -> Int { note("int", "long", as: 0) }
    func decode(_: Int8.Type) -> Int8 { note("int", as: 0) }
    func decode(_: Int16.Type) -> Int16 { note("int", as: 0) }
    func decode(_: Int32.Type) -> Int32 { note("int", as: 0) }
    func decode(_: Int64.Type) -> Int64 { note("int", "long", as: 0) }
    func decode(_: UInt.Type) -> UInt { note("int", "long", as: 0) }
    func decode(_: UInt8.Type) -> UInt8 { note("int", as: 0) }
    func decode(_: UInt16.Type) -> UInt16 { note("int", as: 0) }
    func decode(_: UInt32.Type) -> UInt32 { note("int", "long", as: 0) }
    func decode(_: UInt64.Type) -> UInt64 { note("int", "long", as: 0) }
    func decode<T: Decodable>(_ type: T.Type) throws -> T { try scalar(type) ?? value(of: type) }

    /// A value of one of the types that have a method of their own, when it is asked for by its type.
    fileprivate func scalar<T>(_ type: T.Type) throws -> T? {
        switch type {
        case is Bool.Type: decode(Bool.self) as? T
        case is String.Type: decode(String.self) as? T
        case is Double.Type: decode(Double.self) as? T
        case is Float.Type: decode(Float.self) as? T
        case is Int.Type: decode(Int.self) as? T
        case is Int32.Type: decode(Int32.self) as? T
        case is Int64.Type: decode(Int64.self) as? T
        default: nil
        }
    }
}

private struct KeyedProbe<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let probe: SchemaProbe

    var codingPath: [any CodingKey] { probe.codingPath }
    var allKeys: [Key] { [] }

    func contains(_ key: Key) -> Bool { true }
    func decodeNil(forKey key: Key) -> Bool { false }

    private func child(_ key: any CodingKey, isRequired: Bool) -> SchemaProbe {
        guard case .object(var fields) = probe.node.kind else {
            preconditionFailure("a keyed container of no document")
        }
        let node = fields[key.stringValue] ?? SchemaNode()
        fields.add(key.stringValue, node, isRequired: isRequired)
        probe.node.kind = .object(fields)
        return probe.probe(node, key)
    }

    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
        try child(key, isRequired: !(type is any NullableType.Type)).decode(type)
    }

    func decodeIfPresent<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T? { try note(type, key) }

    /// Notes a field that may be missing or null, and says that it is.
    private func note<T: Decodable>(_ type: T.Type, _ key: Key) throws -> T? {
        let child = child(key, isRequired: false)
        child.node.mayBeNull = true
        try child.look(at: type)
        return nil
    }

    // The protocol's own methods for these types would ask for the value as for one that must be there.
    func decodeIfPresent(_ type: Bool.Type, forKey key: Key) throws -> Bool? { try note(type, key) }
    func decodeIfPresent(_ type: String.Type, forKey key: Key) throws -> String? { try note(type, key) }
    func decodeIfPresent(_ type: Double.Type, forKey key: Key) throws -> Double? { try note(type, key) }
    func decodeIfPresent(_ type: Float.Type, forKey key: Key) throws -> Float? { try note(type, key) }
    func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? { try note(type, key) }
    func decodeIfPresent(_ type: Int8.Type, forKey key: Key) throws -> Int8? { try note(type, key) }
    func decodeIfPresent(_ type: Int16.Type, forKey key: Key) throws -> Int16? { try note(type, key) }
    func decodeIfPresent(_ type: Int32.Type, forKey key: Key) throws -> Int32? { try note(type, key) }
    func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? { try note(type, key) }
    func decodeIfPresent(_ type: UInt.Type, forKey key: Key) throws -> UInt? { try note(type, key) }
    func decodeIfPresent(_ type: UInt8.Type, forKey key: Key) throws -> UInt8? { try note(type, key) }
    func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) throws -> UInt16? { try note(type, key) }
    func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) throws -> UInt32? { try note(type, key) }
    func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) throws -> UInt64? { try note(type, key) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedDecodingContainer<
        Nested
    > {
        child(key, isRequired: true).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedDecodingContainer {
        child(key, isRequired: true).unkeyedContainer()
    }

    func superDecoder() -> any Decoder { probe }
    func superDecoder(forKey key: Key) -> any Decoder { child(key, isRequired: true) }
}

/// An array of one element of each type that is asked for; nothing is noted of them, for they may differ.
private struct UnkeyedProbe: UnkeyedDecodingContainer {
    let probe: SchemaProbe
    private(set) var currentIndex = 0

    init(probe: SchemaProbe) { self.probe = probe }

    var codingPath: [any CodingKey] { probe.codingPath }
    var count: Int? { nil }
    var isAtEnd: Bool { currentIndex > 0 }

    private mutating func next() -> SchemaProbe {
        currentIndex += 1
        return probe.probe(SchemaNode(), Index(intValue: currentIndex - 1))
    }

    mutating func decodeNil() -> Bool { false }
    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().decode(type) }
    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedDecodingContainer<Key> {
        next().container(keyedBy: type)
    }
    mutating func nestedUnkeyedContainer() -> any UnkeyedDecodingContainer { next().unkeyedContainer() }
    mutating func superDecoder() -> any Decoder { next() }

    private struct Index: CodingKey {
        let index: Int
        var stringValue: String { "\(index)" }
        var intValue: Int? { index }
        init(intValue: Int) { index = intValue }
        init?(stringValue: String) { return nil }
    }
}

// The standard library's containers by what they contain, which their own initialisers would not ask for.

private protocol NullableType {
    static var wrapped: any Decodable.Type { get }
    static var none: Self { get }
}

extension Optional: NullableType where Wrapped: Decodable {
    fileprivate static var wrapped: any Decodable.Type { Wrapped.self }
}

private protocol ListType {
    static var element: any Decodable.Type { get }
    static var empty: Self { get }
}

extension Array: ListType where Element: Decodable {
    fileprivate static var element: any Decodable.Type { Element.self }
    fileprivate static var empty: Self { [] }
}

extension Set: ListType where Element: Decodable {
    fileprivate static var element: any Decodable.Type { Element.self }
    fileprivate static var empty: Self { [] }
}

private protocol MapType {
    static var value: any Decodable.Type { get }
    static var empty: Self { get }
}

extension Dictionary: MapType where Key == String, Value: Decodable {
    fileprivate static var value: any Decodable.Type { Value.self }
    fileprivate static var empty: Self { [:] }
}
