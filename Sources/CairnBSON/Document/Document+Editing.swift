// A document is immutable bytes. Editing makes new bytes, in one pass, with the untouched elements copied verbatim.
extension Document {
    /// Gives `name` a value: in place of its first element, or as a new last one.
    public mutating func set(_ name: String, _ value: Value) { self = replacing(name, with: value) }

    /// A document in which `name` has that value, where its first element was, or at the end.
    public func replacing(_ name: String, with value: Value) -> Document {
        guard let old = element(named: name) else { return appending(name, value) }
        let before = bytes[(bytes.startIndex + 4)..<old.bytes.startIndex]
        let after = bytes[old.bytes.endIndex..<(bytes.endIndex - 1)]
        var builder = DocumentBuilder(capacity: byteCount + 64)
        builder.append(rawElements: before)
        builder.append(name, value)
        builder.append(rawElements: after)
        return builder.finish()
    }

    /// A document with one more element at its end; a name that exists then exists twice.
    public func appending(_ name: String, _ value: Value) -> Document {
        var builder = DocumentBuilder(capacity: byteCount + name.utf8.count + 64)
        builder.append(elementsOf: self)
        builder.append(name, value)
        return builder.finish()
    }

    /// A document with one more element before all others, as `_id` has to be.
    public func prepending(_ name: String, _ value: Value) -> Document {
        var builder = DocumentBuilder(capacity: byteCount + name.utf8.count + 64)
        builder.append(name, value)
        builder.append(elementsOf: self)
        return builder.finish()
    }

    /// A document without the elements of that name.
    public func removing(_ name: String) -> Document {
        guard contains(name) else { return self }
        var builder = DocumentBuilder(capacity: byteCount)
        for element in self where !element.isNamed(name) { builder.append(element: element) }
        return builder.finish()
    }

    /// A document with no more than the elements of these names, in the document's order.
    public func keeping(_ names: [BSONString]) -> Document {
        var builder = DocumentBuilder(capacity: 128)
        func slice(_ run: Range<Int>) -> ArraySlice<UInt8> {
            bytes[bytes.startIndex + run.lowerBound..<bytes.startIndex + run.upperBound]
        }
        unsafe bytes.withUnsafeBytes { frame in
            var walker = unsafe ElementWalker(frame)
            // Neighbours are copied together.
            var run = 0..<0
            while walker.advance() {
                guard names.contains(where: { name in unsafe name.utf8.withUnsafeBytes { unsafe walker.nameIs($0) } })
                else { continue }
                if run.upperBound == walker.start {
                    run = run.lowerBound..<walker.valueEnd
                } else {
                    builder.append(rawElements: slice(run))
                    run = walker.start..<walker.valueEnd
                }
            }
            builder.append(rawElements: slice(run))
        }
        return builder.finish()
    }

    public mutating func remove(_ name: String) { self = removing(name) }

    /// Adds an element at the end.
    public mutating func append(_ name: String, _ value: Value) { self = appending(name, value) }

    /// The elements' bytes without the frame around them.
    public var elementBytes: ArraySlice<UInt8> {
        bytes.count > 5 ? bytes[(bytes.startIndex + 4)..<(bytes.endIndex - 1)] : []
    }
}
