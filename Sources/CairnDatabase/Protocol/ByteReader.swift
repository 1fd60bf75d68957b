import CairnBSON

/// Reads what ``ByteWriter`` wrote, from a peer that may be broken: each length is compared with what is left before a
/// byte is touched or memory taken.
struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    var isAtEnd: Bool { rest.isEmpty }
    var remaining: Int { rest.count }

    @inline(__always)
    mutating func integer<Number: FixedWidthInteger>(_: Number.Type) throws(DatabaseError) -> Number {
        let width = Number.bitWidth / 8
        guard rest.count >= width else { throw truncated(need: width) }
        var value: Number = 0
        var offset = rest.startIndex &+ width
        while offset > rest.startIndex {
            offset &-= 1
            value = (width == 1 ? 0 : value << 8) | Number(truncatingIfNeeded: rest[offset])
        }
        rest = rest[(rest.startIndex &+ width)...]
        return value
    }

    mutating func slice(count: Int) throws(DatabaseError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= rest.count else { throw truncated(need: count) }
        let taken = rest[rest.startIndex..<(rest.startIndex + count)]
        rest = rest[(rest.startIndex + count)...]
        return taken
    }

    mutating func string() throws(DatabaseError) -> String {
        let count = Int(try integer(UInt32.self))
        return String(decoding: try slice(count: count), as: UTF8.self)
    }

    /// A BSON document, which carries its own length. With `validating` its whole structure is checked; without, its
    /// frame alone.
    mutating func document(validating: Bool) throws(DatabaseError) -> Document {
        guard rest.count >= 5 else { throw truncated(need: 5) }
        var peek = self
        let length = Int(try peek.integer(Int32.self))
        guard length >= 5, length <= rest.count else { throw truncated(need: length) }
        let frame = try slice(count: length)
        guard frame[frame.endIndex - 1] == 0 else {
            throw DatabaseError(.malformed, "a document does not end with a zero byte")
        }
        guard validating else { return Document(trusted: frame) }
        do {
            return try Document(validating: frame)
        } catch {
            throw DatabaseError(.malformed, "a document is not BSON: \(error)")
        }
    }

    /// How many things follow, each at least `bytes` long, so that a count cannot ask for more memory than it brought.
    mutating func count(ofAtLeast bytes: Int) throws(DatabaseError) -> Int {
        let count = Int(try integer(UInt32.self))
        guard count <= rest.count / max(bytes, 1) else { throw truncated(need: count) }
        return count
    }

    func expectEnd() throws(DatabaseError) {
        guard rest.isEmpty else { throw DatabaseError(.malformed, "\(rest.count) bytes follow the message") }
    }

    private func truncated(need: Int) -> DatabaseError {
        DatabaseError(.malformed, "the message ends early: \(need) needed, \(rest.count) bytes left")
    }
}
