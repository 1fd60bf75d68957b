import CairnStorage

/// A hybrid logical clock: the source of a group's versions.
///
/// A version is 48 bits of wall-clock milliseconds and 16 bits of counter (Kulkarni and others, "Logical Physical Clocks",
/// 2014). The clock only moves forward: past everything that it gave out or saw, whatever the wall clock says.
///
/// - Invariant: ``last`` never decreases, and ``next(nowMilliseconds:)`` is above it.
public struct VersionClock: Hashable, Sendable {
    /// The largest version given out or seen.
    public private(set) var last: Version
    /// How far ahead of the wall clock a foreign version may be before it is refused, in milliseconds.
    public let driftMillisecondsMax: UInt64

    public init(last: Version = Version(rawValue: 0), driftMillisecondsMax: UInt64 = 60_000) {
        self.last = last
        self.driftMillisecondsMax = driftMillisecondsMax
    }

    /// A version above all that came before.
    public mutating func next(nowMilliseconds: UInt64) -> Version {
        let wall = Self.version(milliseconds: nowMilliseconds)
        // Adding one carries from the counter into the milliseconds when 65,536 versions fall into one.
        last = max(wall, Version(rawValue: last.rawValue + 1))
        return last
    }

    /// Makes the next version larger than `version`, which the group's own log or tablet vouches for.
    public mutating func advance(to version: Version) {
        last = max(last, version)
    }

    /// As ``advance(to:)`` for a version that comes from elsewhere.
    ///
    /// - Returns: false, and nothing is changed, when the version is further ahead of the wall clock than
    ///   ``driftMillisecondsMax``: adopting it would let a broken clock push the group's versions away.
    public mutating func observe(_ version: Version, nowMilliseconds: UInt64) -> Bool {
        if version > last {
            guard Self.milliseconds(of: version) <= nowMilliseconds + driftMillisecondsMax else { return false }
            last = version
        }
        return true
    }

    /// The first version of a millisecond.
    public static func version(milliseconds: UInt64) -> Version {
        Version(rawValue: min(milliseconds, (1 << 48) - 1) << 16)
    }

    public static func milliseconds(of version: Version) -> UInt64 {
        version.rawValue >> 16
    }
}
