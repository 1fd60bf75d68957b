/// Why bytes, text or a Swift value are not the BSON that they should be, and where.
public struct BSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, for code that answers differently to different damage.
    public enum Code: Hashable, Sendable {
        /// The bytes end before what they announce.
        case truncated
        /// A length field is negative, too small for its kind, or leads outside of what holds it.
        case lengthOutOfBounds
        /// A string, a name or a document does not end in the zero byte that must end it.
        case missingTerminator
        /// A name or a string is not UTF-8.
        case invalidUTF8
        /// A byte that must be 0 or 1 is neither.
        case invalidBool
        /// A binary of subtype 2 contradicts its inner length.
        case invalidBinary
        /// An element has a type byte that BSON 1.1 does not define.
        case unknownType
        /// Documents, arrays and scopes are nested deeper than allowed.
        case tooDeep
        /// Text that is not JSON, or an Extended JSON wrapper with the wrong content.
        case invalidText
    }

    public let code: Code

    /// The first offending byte, counted from the start of the input that was given.
    public let offset: Int

    /// A sentence for people.
    public let message: String

    public init(_ code: Code, offset: Int, _ message: String) {
        self.code = code
        self.offset = offset
        self.message = message
    }

    public var description: String { "\(message) (at byte \(offset))" }
}
