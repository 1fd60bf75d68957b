/// A BSON document that is read where it lies: one frame of bytes, shared with whatever the bytes were part of.
///
/// Nothing is decoded or copied until it is asked for. `document["name"]` walks the elements, compares name bytes, and
/// reads one value; strings, documents and binaries come out as slices of the same storage. To keep a small part of a
/// large buffer alive for long, copy it first (``compacted()``).
///
/// - Invariant: every step over the bytes is checked against their end, for validated and trusted documents alike: what
///   does not fit ends the iteration. Validation adds that the iteration reaches the last element.
/// - Note: `==` and hashing are those of the bytes. MongoDB's equality, where `{a: 1}` is `{a: 1.0}`, is that of
///   ``Value``.
public struct Document: Sendable, ExpressibleByDictionaryLiteral, CustomStringConvertible {
    /// Exactly one frame: its length as four little-endian bytes, the elements, and a zero byte.
    public let bytes: ArraySlice<UInt8>

    @usableFromInline
    static let emptyBytes: ArraySlice<UInt8> = [5, 0, 0, 0, 0]

    /// The document without elements.
    @inlinable
    public init() { bytes = Self.emptyBytes }

    /// Takes bytes that were validated before, or that this process has built. Checks nothing and costs nothing.
    ///
    /// Wrong bytes show as missing elements, never as a read beyond the slice.
    @inlinable
    public init(trusted bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// Builds a document from name-value pairs, in their order; a repeated name is kept twice.
    public init(dictionaryLiteral elements: (String, Value)...) {
        var builder = DocumentBuilder()
        for (name, value) in elements { builder.append(name, value) }
        self = builder.finish()
    }

    public init(_ elements: some Sequence<(String, Value)>) {
        var builder = DocumentBuilder()
        for (name, value) in elements { builder.append(name, value) }
        self = builder.finish()
    }

    /// The size of the frame.
    @inlinable
    public var byteCount: Int { bytes.count }

    @inlinable
    public var isEmpty: Bool { bytes.count <= 5 }

    /// How many elements there are. O(elements), without looking into them.
    public var count: Int {
        unsafe bytes.withUnsafeBytes { buffer in
            var walker = unsafe ElementWalker(buffer)
            var count = 0
            while walker.advance() { count += 1 }
            return count
        }
    }

    /// The value of the first element of that name. O(elements before it); makes no `String`, allocates nothing.
    public subscript(_ name: String) -> Value? { value(named: name) }

    /// The value of the first element of that name.
    public subscript(_ name: BSONString) -> Value? {
        unsafe name.utf8.withUnsafeBytes { name in unsafe value(named: name) }
    }

    /// The first element of that name, as a view that can be copied verbatim into a ``DocumentBuilder``.
    public func element(named name: String) -> Element? {
        unsafe withUTF8(of: name) { name in unsafe element(named: name) }
    }

    public func element(named name: BSONString) -> Element? {
        unsafe name.utf8.withUnsafeBytes { name in unsafe element(named: name) }
    }

    /// The bytes of the first element of that name: type byte, name, zero, value.
    public func rawElement(named name: String) -> ArraySlice<UInt8>? { element(named: name)?.bytes }

    /// The element at a position, or nil. O(position).
    public func element(at index: Int) -> Element? {
        guard index >= 0 else { return nil }
        return unsafe bytes.withUnsafeBytes { buffer in
            var walker = unsafe ElementWalker(buffer)
            var left = index
            while walker.advance() {
                if left == 0 { return Element(of: self, walker) }
                left -= 1
            }
            return nil
        }
    }

    public func contains(_ name: String) -> Bool {
        unsafe withUTF8(of: name) { name in
            unsafe bytes.withUnsafeBytes { buffer in
                var walker = unsafe ElementWalker(buffer)
                return unsafe walker.advance(toName: name)
            }
        }
    }

    /// The names in order, as slices of this document.
    public var names: [BSONString] { map(\.name) }

    /// The first element, or nil in an empty document. Commands carry their name there.
    public var first: Element? { element(at: 0) }

    /// A document with the same bytes that shares its storage with nothing else.
    public func compacted() -> Document { Document(trusted: ArraySlice(Array(bytes))) }

    /// Relaxed Extended JSON.
    public var description: String { ExtendedJSON.string(from: self) }

    private func value(named name: String) -> Value? {
        unsafe withUTF8(of: name) { name in unsafe value(named: name) }
    }

    private func value(named name: UnsafeRawBufferPointer) -> Value? {
        unsafe bytes.withUnsafeBytes { buffer in
            var walker = unsafe ElementWalker(buffer)
            guard unsafe walker.advance(toName: name) else { return nil }
            return walker.value(in: bytes)
        }
    }

    private func element(named name: UnsafeRawBufferPointer) -> Element? {
        unsafe bytes.withUnsafeBytes { buffer in
            var walker = unsafe ElementWalker(buffer)
            guard unsafe walker.advance(toName: name) else { return nil }
            return Element(of: self, walker)
        }
    }
}

/// Lends the UTF-8 of a string; only a string that is not native (bridged on another platform) is copied.
@inline(__always)
func withUTF8<Result>(of string: String, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    let fast = unsafe string.utf8.withContiguousStorageIfAvailable { utf8 in
        unsafe body(UnsafeRawBufferPointer(utf8))
    }
    if let fast { return fast }
    return unsafe Array(string.utf8).withUnsafeBytes { utf8 in unsafe body(utf8) }
}

extension Document: Hashable {
    public static func == (left: Document, right: Document) -> Bool { bytesAreEqual(left.bytes, right.bytes) }

    public func hash(into hasher: inout Hasher) {
        unsafe bytes.withUnsafeBytes { bytes in unsafe hasher.combine(bytes: bytes) }
    }
}
