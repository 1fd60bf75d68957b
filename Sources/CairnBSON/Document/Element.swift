extension Document: Sequence {
    /// A name and its value, as a view of the bytes they have in a document.
    public struct Element: Sendable, Hashable {
        /// The type byte, the name, a zero, and the value.
        public let bytes: ArraySlice<UInt8>

        /// Where the value starts, from the start of ``bytes``.
        @usableFromInline
        let valueOffset: Int

        init(of document: Document, _ walker: ElementWalker) {
            let first = document.bytes.startIndex
            bytes = document.bytes[first &+ walker.start..<first &+ walker.valueEnd]
            valueOffset = walker.valueStart &- walker.start
        }

        /// The name as a slice: nothing is copied.
        @inlinable
        public var name: BSONString {
            BSONString(utf8: bytes[bytes.startIndex &+ 1..<bytes.startIndex &+ valueOffset &- 1])
        }

        /// The value; what is long in it is a slice.
        public var value: Value {
            unsafe bytes.withUnsafeBytes { buffer in
                guard let base = buffer.baseAddress else { return .null }
                return unsafe Value(type: buffer[0], base: base, from: valueOffset, to: buffer.count, in: bytes)
            }
        }

        /// The value's bytes alone.
        @inlinable
        public var valueBytes: ArraySlice<UInt8> { bytes[(bytes.startIndex &+ valueOffset)...] }

        /// What the type byte says. (A walker does not stop at a byte that is no type.)
        @inlinable
        public var type: BSONType { BSONType(rawValue: bytes[bytes.startIndex]) ?? .undefined }

        /// True if the name is `name`, without making anything.
        public func isNamed(_ name: String) -> Bool {
            unsafe withUTF8(of: name) { name in
                unsafe bytes.withUnsafeBytes { buffer in
                    guard name.count == valueOffset &- 2 else { return false }
                    guard let left = buffer.baseAddress, let right = name.baseAddress else { return true }
                    return unsafe bytesAreEqual(left + 1, right, count: name.count)
                }
            }
        }
    }

    /// The elements, one by one, without allocating.
    public struct Iterator: IteratorProtocol, Sendable {
        private let document: Document
        private var position = 4

        @usableFromInline
        init(_ document: Document) { self.document = document }

        public mutating func next() -> Element? {
            let position = self.position
            let element: Element? = unsafe document.bytes.withUnsafeBytes { buffer in
                var walker = unsafe ElementWalker(buffer, at: position)
                return walker.advance() ? Element(of: document, walker) : nil
            }
            guard let element else { return nil }
            self.position = position &+ element.bytes.count
            return element
        }
    }

    @inlinable
    public func makeIterator() -> Iterator { Iterator(self) }

    public var underestimatedCount: Int { 0 }
}

extension ElementWalker {
    /// A walker whose next element is the one at `position`, which an earlier walker reached.
    @inline(__always)
    init(_ frame: UnsafeRawBufferPointer, at position: Int) {
        unsafe self.init(frame)
        resume(at: position)
    }
}
