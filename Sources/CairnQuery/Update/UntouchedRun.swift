import CairnBSON

/// Copies the elements of a document that stay as they are in runs: neighbours go in one copy of bytes.
struct UntouchedRun {
    private let bytes: ArraySlice<UInt8>
    private var start: Int
    private var end: Int

    init(of document: Document) {
        bytes = document.bytes
        start = bytes.startIndex + 4
        end = start
    }

    /// Takes the element into the run. Elements come in the document's order.
    @inline(__always)
    mutating func extend(_ element: Document.Element) { end = element.bytes.endIndex }

    /// Writes the run before something else is written in the place of `element`, which is left out.
    @inline(__always)
    mutating func flush(before element: Document.Element, into builder: inout DocumentBuilder) {
        if start < end { builder.append(rawElements: bytes[start..<end]) }
        start = element.bytes.endIndex
        end = start
    }

    /// Writes what is left at the document's end.
    mutating func finish(into builder: inout DocumentBuilder) {
        if start < end { builder.append(rawElements: bytes[start..<end]) }
        start = end
    }
}
