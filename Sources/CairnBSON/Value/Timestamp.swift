/// MongoDB's internal time: seconds, and a counter within the second. Orders as one unsigned number.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// The seconds in the upper half, the counter in the lower.
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    @inlinable
    public init(seconds: UInt32, increment: UInt32) { rawValue = UInt64(seconds) << 32 | UInt64(increment) }

    /// Seconds since 1970 UTC.
    @inlinable
    public var seconds: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }

    @inlinable
    public var increment: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

    @inlinable
    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.rawValue < right.rawValue }
}
