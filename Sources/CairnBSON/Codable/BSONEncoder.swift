/// Turns `Encodable` values into documents.
///
/// `Int`, `Int64`, `UInt32` and larger become `int64` (a field's type does not depend on its value), smaller integers
/// `int32`; `Float` becomes `double`; `Date`, `Data`, `UUID`, `[UInt8]` and BSON's own types what they are. An absent
/// optional is left out.
public struct BSONEncoder: Sendable {
    /// Values that are handed to every `encode(to:)`.
    public var userInfo: [CodingUserInfoKey: any Sendable] = [:]

    public init() {}

    /// - Throws: `EncodingError` if the value is not a document at its top, has a number that BSON cannot hold, or is
    ///   nested deeper than ``Document/depthMax``; and whatever `encode(to:)` throws.
    public func encode(_ value: some Encodable) throws -> Document {
        guard case .document(let document) = try encodeValue(value) else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: [], debugDescription: "\(type(of: value)) does not encode as a document"))
        }
        return document
    }

    /// Encodes a value that need not be a document.
    public func encodeValue(_ value: some Encodable) throws -> Value {
        let encoder = ValueEncoder(node: EncodedNode(), codingPath: [], userInfo: userInfo)
        try encoder.write(value)
        return encoder.node.value
    }
}

/// What a container has received so far; it becomes a value at the end, since containers may be filled in any order.
final class EncodedNode {
    enum Content {
        case empty
        case value(Value)
        case keyed([(name: String, node: EncodedNode)])
        case unkeyed([EncodedNode])
    }

    var content: Content = .empty

    func node(for name: String) -> EncodedNode {
        let node = EncodedNode()
        if case .keyed(var members) = content {
            content = .empty
            if let index = members.firstIndex(where: { $0.name == name }) {
                members[index].node = node
            } else {
                members.append((name, node))
            }
            content = .keyed(members)
        }
        return node
    }

    func nextNode() -> EncodedNode {
        let node = EncodedNode()
        if case .unkeyed(var elements) = content {
            content = .empty
            elements.append(node)
            content = .unkeyed(elements)
        }
        return node
    }

    var value: Value {
        switch content {
        case .empty: return .document(Document())
        case .value(let value): return value
        case .keyed(let members):
            var builder = DocumentBuilder()
            for member in members { builder.append(member.name, member.node.value) }
            return .document(builder.finish())
        case .unkeyed(let elements): return .array(BSONArray(elements.lazy.map(\.value)))
        }
    }
}

struct ValueEncoder: Encoder, SingleValueEncodingContainer {
    let node: EncodedNode
    let codingPath: [any CodingKey]
    let sharedUserInfo: [CodingUserInfoKey: any Sendable]

    var userInfo: [CodingUserInfoKey: Any] { sharedUserInfo }

    init(node: EncodedNode, codingPath: [any CodingKey], userInfo: [CodingUserInfoKey: any Sendable]) {
        self.node = node
        self.codingPath = codingPath
        sharedUserInfo = userInfo
    }

    func nested(_ node: EncodedNode, _ key: any CodingKey) -> ValueEncoder {
        ValueEncoder(node: node, codingPath: codingPath + [key], userInfo: sharedUserInfo)
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .keyed = node.content {} else { node.content = .keyed([]) }
        return KeyedEncodingContainer(KeyedEncoder<Key>(encoder: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .unkeyed = node.content {} else { node.content = .unkeyed([]) }
        return UnkeyedEncoder(encoder: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    /// Encodes a value into this encoder's node.
    func write(_ value: some Encodable) throws {
        guard codingPath.count <= Document.depthMax else {
            throw EncodingError.invalidValue(
                value,
                .init(
                    codingPath: codingPath,
                    debugDescription: "values are nested more than \(Document.depthMax) levels deep"))
        }
        if let value = value as? any BSONRepresentable {
            node.content = .value(value.bsonValue)
        } else {
            try value.encode(to: self)
        }
    }

    func write(unsigned value: UInt64) throws {
        guard let value = Int64(exactly: value) else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: codingPath, debugDescription: "\(value) is above 2^63 - 1"))
        }
        node.content = .value(.int64(value))
    }

    func encodeNil() { node.content = .value(.null) }
    func encode(_ value: Bool) { node.content = .value(.bool(value)) }
    func encode(_ value: String) { node.content = .value(.string(BSONString(value))) }
    func encode(_ value: Double) { node.content = .value(.double(value)) }
    func encode(_ value: Float) { node.content = .value(.double(Double(value))) }
    func encode(_ value: Int) { node.content = .value(.int64(Int64(value))) }
    func encode(_ value: Int8) { node.content = .value(.int32(Int32(value))) }
    func encode(_ value: Int16) { node.content = .value(.int32(Int32(value))) }
    func encode(_ value: Int32) { node.content = .value(.int32(value)) }
    func encode(_ value: Int64) { node.content = .value(.int64(value)) }
    func encode(_ value: UInt) throws { try write(unsigned: UInt64(value)) }
    func encode(_ value: UInt8) { node.content = .value(.int32(Int32(value))) }
    func encode(_ value: UInt16) { node.content = .value(.int32(Int32(value))) }
    func encode(_ value: UInt32) { node.content = .value(.int64(Int64(value))) }
    func encode(_ value: UInt64) throws { try write(unsigned: value) }
    func encode<T: Encodable>(_ value: T) throws { try write(value) }
}

private struct KeyedEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let encoder: ValueEncoder

    var codingPath: [any CodingKey] { encoder.codingPath }

    private func encoder(for key: any CodingKey) throws -> ValueEncoder {
        guard !key.stringValue.utf8.contains(0) else {
            throw EncodingError.invalidValue(
                key.stringValue, .init(codingPath: codingPath, debugDescription: "a name contains a zero byte"))
        }
        return encoder.nested(encoder.node.node(for: key.stringValue), key)
    }

    func encodeNil(forKey key: Key) throws { try encoder(for: key).encodeNil() }
    func encode(_ value: Bool, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: String, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Double, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Float, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Int, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Int8, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Int16, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Int32, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: Int64, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: UInt, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: UInt8, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: UInt16, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: UInt32, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode(_ value: UInt64, forKey key: Key) throws { try encoder(for: key).encode(value) }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws { try encoder(for: key).write(value) }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type, forKey key: Key
    ) -> KeyedEncodingContainer<NestedKey> {
        encoder.nested(encoder.node.node(for: key.stringValue), key).container(keyedBy: keyType)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        encoder.nested(encoder.node.node(for: key.stringValue), key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { encoder.nested(encoder.node.node(for: "super"), PositionKey(name: "super")) }

    func superEncoder(forKey key: Key) -> any Encoder {
        encoder.nested(encoder.node.node(for: key.stringValue), key)
    }
}

private struct UnkeyedEncoder: UnkeyedEncodingContainer {
    let encoder: ValueEncoder

    var codingPath: [any CodingKey] { encoder.codingPath }

    var count: Int {
        if case .unkeyed(let elements) = encoder.node.content { elements.count } else { 0 }
    }

    private func nextEncoder() -> ValueEncoder {
        encoder.nested(encoder.node.nextNode(), PositionKey(position: count - 1))
    }

    func encodeNil() { nextEncoder().encodeNil() }
    func encode(_ value: Bool) { nextEncoder().encode(value) }
    func encode(_ value: String) { nextEncoder().encode(value) }
    func encode(_ value: Double) { nextEncoder().encode(value) }
    func encode(_ value: Float) { nextEncoder().encode(value) }
    func encode(_ value: Int) { nextEncoder().encode(value) }
    func encode(_ value: Int8) { nextEncoder().encode(value) }
    func encode(_ value: Int16) { nextEncoder().encode(value) }
    func encode(_ value: Int32) { nextEncoder().encode(value) }
    func encode(_ value: Int64) { nextEncoder().encode(value) }
    func encode(_ value: UInt) throws { try nextEncoder().encode(value) }
    func encode(_ value: UInt8) { nextEncoder().encode(value) }
    func encode(_ value: UInt16) { nextEncoder().encode(value) }
    func encode(_ value: UInt32) { nextEncoder().encode(value) }
    func encode(_ value: UInt64) throws { try nextEncoder().encode(value) }
    func encode<T: Encodable>(_ value: T) throws { try nextEncoder().write(value) }

    func nestedContainer<NestedKey: CodingKey>(keyedBy keyType: NestedKey.Type) -> KeyedEncodingContainer<NestedKey> {
        nextEncoder().container(keyedBy: keyType)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { nextEncoder().unkeyedContainer() }

    func superEncoder() -> any Encoder { nextEncoder() }
}

/// The place of an element in an array, for coding paths.
struct PositionKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(position: Int) {
        stringValue = "\(position)"
        intValue = position
    }

    init(name: String) {
        stringValue = name
        intValue = nil
    }

    init?(stringValue: String) { self.init(name: stringValue) }
    init?(intValue: Int) { self.init(position: intValue) }
}
