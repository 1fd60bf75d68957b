/// Writes a document into one growing array of bytes, nested documents included.
///
/// Lengths are filled in when a document ends, so nothing is written twice. A builder that was given room
/// (``init(capacity:)``) does not allocate again while that suffices. ``finish()`` hands the array over without a copy.
public struct DocumentBuilder: Sendable {
    @usableFromInline
    var bytes: [UInt8]

    /// Starts a document, with room for that many bytes.
    public init(capacity: Int = 128) {
        bytes = []
        bytes.reserveCapacity(max(capacity, 5))
        bytes.append(contentsOf: [0, 0, 0, 0])
    }

    /// Starts with the elements of a document.
    public init(_ document: Document, extraCapacity: Int = 64) {
        self.init(capacity: document.byteCount + extraCapacity)
        append(elementsOf: document)
    }

    /// Makes room for that many bytes beyond those written.
    public mutating func reserve(_ count: Int) { bytes.reserveCapacity(bytes.count + count) }

    /// The bytes written so far, the closing one not included.
    public var byteCount: Int { bytes.count }

    public var isEmpty: Bool { bytes.count == 4 }

    // MARK: Elements

    /// Appends an element. A name must not contain a zero byte, which BSON cannot express; the builder traps on one.
    public mutating func append(_ name: String, _ value: Value) {
        appendHeader(value.type.rawValue, name)
        bytes.append(valueOf: value)
    }

    public mutating func append(_ name: BSONString, _ value: Value) {
        appendHeader(value.type.rawValue, name)
        bytes.append(valueOf: value)
    }

    public mutating func append(_ name: String, _ value: String) {
        appendHeader(BSONType.string.rawValue, name)
        bytes.append(stringOf: value)
    }

    /// Literals are ``Value``s; this is for documents that exist.
    @_disfavoredOverload
    public mutating func append(_ name: String, _ value: Document) {
        appendHeader(BSONType.document.rawValue, name)
        bytes.append(slice: value.bytes)
    }

    @_disfavoredOverload
    public mutating func append(_ name: String, _ value: BSONArray) {
        appendHeader(BSONType.array.rawValue, name)
        bytes.append(slice: value.document.bytes)
    }

    /// Appends an `int32` if the number fits, else an `int64`, as drivers do.
    public mutating func append(_ name: String, _ value: Int) {
        if let narrow = Int32(exactly: value) { append(name, narrow) } else { append(name, Int64(value)) }
    }

    public mutating func append(_ name: String, _ value: Int32) {
        appendHeader(BSONType.int32.rawValue, name)
        bytes.append(littleEndian: UInt32(bitPattern: value))
    }

    public mutating func append(_ name: String, _ value: Int64) {
        appendHeader(BSONType.int64.rawValue, name)
        bytes.append(littleEndian: UInt64(bitPattern: value))
    }

    public mutating func append(_ name: String, _ value: Bool) {
        appendHeader(BSONType.bool.rawValue, name)
        bytes.append(value ? 1 : 0)
    }

    public mutating func append(_ name: String, _ value: Double) {
        appendHeader(BSONType.double.rawValue, name)
        bytes.append(littleEndian: value.bitPattern)
    }

    /// Appends an element as it stands in another document.
    public mutating func append(element: Document.Element) { bytes.append(slice: element.bytes) }

    /// Appends the value of another document's element under a new name, without decoding it.
    public mutating func append(_ name: String, valueOf element: Document.Element) {
        appendHeader(element.bytes[element.bytes.startIndex], name)
        bytes.append(slice: element.valueBytes)
    }

    public mutating func append(_ name: BSONString, valueOf element: Document.Element) {
        appendHeader(element.bytes[element.bytes.startIndex], name)
        bytes.append(slice: element.valueBytes)
    }

    /// Appends all elements of a document, verbatim.
    public mutating func append(elementsOf document: Document) { bytes.append(slice: document.elementBytes) }

    /// Appends whole elements that were cut out of a document.
    public mutating func append(rawElements: ArraySlice<UInt8>) { bytes.append(slice: rawElements) }

    // MARK: Nesting

    /// Appends a document that `body` writes in place.
    public mutating func appendDocument<Failure: Error>(
        _ name: String, _ body: (inout DocumentBuilder) throws(Failure) -> Void
    ) throws(Failure) {
        let mark = begin(.document, name)
        try body(&self)
        end(mark)
    }

    /// Appends an array that `body` writes in place.
    public mutating func appendArray<Failure: Error>(
        _ name: String, _ body: (inout ArrayBuilder) throws(Failure) -> Void
    ) throws(Failure) {
        let mark = begin(.array, name)
        // The bytes move to the array's builder and back, so that they have one owner and are not copied.
        var array = ArrayBuilder(continuing: DocumentBuilder(continuing: bytes))
        bytes = []
        defer {
            bytes = array.takeBytes()
            end(mark)
        }
        try body(&array)
    }

    /// Starts a nested document or array; what is appended until ``end(_:)`` belongs to it. The names in an array are
    /// the caller's business.
    public mutating func begin(_ type: BSONType, _ name: String) -> Mark {
        precondition(type == .document || type == .array, "only documents and arrays hold elements")
        appendHeader(type.rawValue, name)
        return begin()
    }

    public mutating func begin(_ type: BSONType, _ name: BSONString) -> Mark {
        precondition(type == .document || type == .array, "only documents and arrays hold elements")
        appendHeader(type.rawValue, name)
        return begin()
    }

    /// Ends what ``begin(_:_:)-(_,String)`` started.
    public mutating func end(_ mark: Mark) {
        bytes.append(0)
        bytes.patch(littleEndian: UInt32(bytes.count - mark.position), at: mark.position)
    }

    /// Where a nested document started.
    public struct Mark: Sendable {
        fileprivate let position: Int
    }

    private mutating func begin() -> Mark {
        let mark = Mark(position: bytes.count)
        bytes.append(littleEndian: 0 as UInt32)
        return mark
    }

    // MARK: The end

    /// The document. The builder starts again from nothing.
    public mutating func finish() -> Document {
        bytes.append(0)
        bytes.patch(littleEndian: UInt32(bytes.count), at: 0)
        var finished: [UInt8] = [0, 0, 0, 0]
        swap(&finished, &bytes)
        return Document(trusted: finished[...])
    }

    // MARK: Names

    @inline(__always)
    private mutating func appendHeader(_ type: UInt8, _ name: String) {
        bytes.append(type)
        bytes.append(cString: name)
    }

    @inline(__always)
    private mutating func appendHeader(_ type: UInt8, _ name: BSONString) {
        bytes.append(type)
        bytes.append(cString: name)
    }

    mutating func appendHeader(_ type: UInt8, index: Int) {
        bytes.append(type)
        bytes.append(decimal: index)
        bytes.append(0)
    }

    init(continuing bytes: consuming [UInt8]) { self.bytes = bytes }

    mutating func withBytes(_ body: (inout [UInt8]) -> Void) { body(&bytes) }
}
