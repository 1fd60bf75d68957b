/// A text that stays the UTF-8 bytes of the document it was read from until a `String` is asked for.
///
/// Equality and order are those of the bytes, which for UTF-8 is the order of the code points: there is no Unicode
/// normalization, so two spellings of "é" differ, as they do in MongoDB. A value read from a validated document is
/// valid UTF-8.
public struct BSONString: Sendable, Hashable, Comparable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let utf8: ArraySlice<UInt8>

    @inlinable
    public init(_ string: String) {
        self.utf8 = ArraySlice(Array(string.utf8))
    }

    @inlinable
    public init(_ string: Substring) {
        self.utf8 = ArraySlice(Array(string.utf8))
    }

    /// Takes over bytes that are known to be UTF-8. Bytes that are not come out of ``string`` repaired, never worse.
    @inlinable
    public init(utf8: ArraySlice<UInt8>) {
        self.utf8 = utf8
    }

    @inlinable
    public init(stringLiteral value: String) {
        self.init(value)
    }

    /// A copy as a `String`. O(bytes).
    @inlinable
    public var string: String { String(decoding: utf8, as: UTF8.self) }

    @inlinable
    public var description: String { string }

    @inlinable
    public var isEmpty: Bool { utf8.isEmpty }

    @inlinable
    public static func == (left: BSONString, right: BSONString) -> Bool { bytesAreEqual(left.utf8, right.utf8) }

    /// Compares without making a `String` or a ``BSONString``.
    @inlinable
    public static func == (left: BSONString, right: String) -> Bool { bytesAreEqual(left.utf8, right) }

    @inlinable
    public static func == (left: String, right: BSONString) -> Bool { bytesAreEqual(right.utf8, left) }

    @inlinable
    public static func != (left: BSONString, right: String) -> Bool { !bytesAreEqual(left.utf8, right) }

    @inlinable
    public static func != (left: String, right: BSONString) -> Bool { !bytesAreEqual(right.utf8, left) }

    @inlinable
    public static func ~= (pattern: String, value: BSONString) -> Bool { bytesAreEqual(value.utf8, pattern) }

    @inlinable
    public static func < (left: BSONString, right: BSONString) -> Bool { compareBytes(left.utf8, right.utf8) < 0 }

    /// -1, 0 or 1, by bytes.
    @inlinable
    public static func compare(_ left: BSONString, _ right: BSONString) -> Int { compareBytes(left.utf8, right.utf8) }

    @inlinable
    public func hash(into hasher: inout Hasher) {
        unsafe utf8.withUnsafeBytes { bytes in unsafe hasher.combine(bytes: bytes) }
        hasher.combine(UInt8(0xFF))
    }

    /// True if the text starts with `prefix`, by bytes.
    public func hasPrefix(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }
}

extension String {
    /// The text of a ``BSONString``. O(bytes).
    @inlinable
    public init(_ string: BSONString) { self = string.string }
}
