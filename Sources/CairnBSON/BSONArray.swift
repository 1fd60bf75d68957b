/// The elements of an array, read in place.
///
/// BSON stores an array as a document with the names "0", "1", "2" …. What counts here is the position: names that
/// lie are accepted and ignored.
public struct BSONArray: Sendable, Hashable, Sequence, ExpressibleByArrayLiteral, CustomStringConvertible {
    /// The frame that holds the elements.
    public let document: Document

    @inlinable
    public init() { self.document = Document() }

    @inlinable
    public init(_ document: Document) { self.document = document }

    public init(_ values: some Sequence<Value>) {
        var builder = ArrayBuilder()
        for value in values { builder.append(value) }
        self = builder.finish()
    }

    public init(arrayLiteral elements: Value...) { self.init(elements) }

    /// How many elements there are. O(elements).
    public var count: Int { document.count }

    @inlinable
    public var isEmpty: Bool { document.isEmpty }

    /// The value at a position, or nil beyond the last. O(position).
    public subscript(_ index: Int) -> Value? { document.element(at: index)?.value }

    /// The values, one by one, without allocating.
    public struct Iterator: IteratorProtocol, Sendable {
        @usableFromInline
        var elements: Document.Iterator

        @inlinable
        init(_ document: Document) { elements = document.makeIterator() }

        @inlinable
        public mutating func next() -> Value? { elements.next()?.value }
    }

    @inlinable
    public func makeIterator() -> Iterator { Iterator(document) }

    public var underestimatedCount: Int { 0 }

    public var description: String { ExtendedJSON.string(from: .array(self)) }
}
