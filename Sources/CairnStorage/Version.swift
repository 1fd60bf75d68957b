/// The moment at which a write takes effect, and the moment at which a read looks.
///
/// The engine only compares versions; Cairn uses a hybrid logical clock (48 bits of milliseconds, 16 bits of counter), a
/// program that embeds the engine may as well count. Versions of successive batches never decrease.
public struct Version: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    @inlinable
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Before every write.
    @inlinable
    public static var zero: Version { Version(rawValue: 0) }

    /// After every write: a read at it sees whatever is there.
    @inlinable
    public static var max: Version { Version(rawValue: .max) }

    @inlinable
    public static func < (left: Version, right: Version) -> Bool { left.rawValue < right.rawValue }

    public var description: String { "@\(rawValue)" }
}
