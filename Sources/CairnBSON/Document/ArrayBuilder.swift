/// Writes an array: a ``DocumentBuilder`` that numbers its elements.
public struct ArrayBuilder: Sendable {
    private var builder: DocumentBuilder

    /// How many elements were appended.
    public private(set) var count = 0

    public init(capacity: Int = 128) { builder = DocumentBuilder(capacity: capacity) }

    init(continuing builder: DocumentBuilder) { self.builder = builder }

    /// The bytes written so far.
    public var byteCount: Int { builder.byteCount }

    public mutating func append(_ value: Value) {
        builder.appendHeader(value.type.rawValue, index: count)
        builder.withBytes { $0.append(valueOf: value) }
        count += 1
    }

    /// Appends a document without making a ``Value`` of it; literals are values.
    @_disfavoredOverload
    public mutating func append(_ document: Document) {
        builder.appendHeader(BSONType.document.rawValue, index: count)
        builder.withBytes { $0.append(slice: document.bytes) }
        count += 1
    }

    /// Appends the value of a document's element without decoding it.
    public mutating func append(valueOf element: Document.Element) {
        builder.appendHeader(element.bytes[element.bytes.startIndex], index: count)
        builder.withBytes { $0.append(slice: element.valueBytes) }
        count += 1
    }

    /// Appends a document that `body` writes in place.
    public mutating func appendDocument<Failure: Error>(
        _ body: (inout DocumentBuilder) throws(Failure) -> Void
    ) throws(Failure) {
        let mark = builder.begin(.document, String(count))
        try body(&builder)
        builder.end(mark)
        count += 1
    }

    /// Appends an array that `body` writes in place.
    public mutating func appendArray<Failure: Error>(
        _ body: (inout ArrayBuilder) throws(Failure) -> Void
    ) throws(Failure) {
        try builder.appendArray(String(count), body)
        count += 1
    }

    /// The array. The builder starts again from nothing.
    public mutating func finish() -> BSONArray {
        count = 0
        return BSONArray(builder.finish())
    }

    mutating func takeBytes() -> [UInt8] {
        var bytes: [UInt8] = []
        builder.withBytes { swap(&bytes, &$0) }
        return bytes
    }
}
