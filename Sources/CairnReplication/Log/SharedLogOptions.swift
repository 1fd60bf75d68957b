import CairnDefects

/// How the shared log uses the disk and memory.
public struct SharedLogOptions: Sendable {
    /// Bytes after which a segment is sealed. A record that is larger gets a segment of its own. At 64 MiB a segment is
    /// read back in about 50 ms.
    public var segmentBytes = 64 << 20
    /// Whether the first segment, and a spare one while the log is idle, are filled with zeros ahead: a sync of blocks that
    /// exist needs no journal commit (a quarter to a half more commits a second). Costs one segment of disk.
    public var fillsAhead = true
    /// Bytes of the disk that are to stay free. Where they would be touched soon, nothing is filled ahead or kept as a spare.
    public var spaceReserveBytes: UInt64 = 0
    /// Segments beyond which the oldest one's few live records are copied forward to free it.
    public var segmentsBeforeCopying = 4
    /// The part of a segment, as a divisor, that may be copied forward: an eighth.
    public var copiedPartDivisor = 8
    /// Files kept for recycling.
    public var sparesMax = 2
    /// Recent entries kept in memory for each group; entries that are not durable yet are kept whatever they take.
    public var cacheBytesPerGroup = 4 << 20

    /// Deliberate bugs, for tests.
    package var defects = Defects()

    public init() {}
}

/// What the log holds, for metrics and for those who decide what to purge.
public struct SharedLogStatistics: Sendable, Hashable {
    public var segments: Int
    public var bytes: UInt64
    /// The groups whose entries keep the oldest segment, with the bytes that each keeps there.
    public var oldestSegmentHolders: [GroupID: Int]
}
