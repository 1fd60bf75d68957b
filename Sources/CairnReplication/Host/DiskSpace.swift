/// How much room a node's disk has, and what that means for writes: decided from readings, with a gap between falling short
/// and having recovered so that a disk at the edge does not flicker.
///
/// A write that meets a full disk can only be repeated, and a log or a table that has to be written cannot wait for ever. So a
/// part of the disk is kept in reserve: clients stop filling it while what makes room, and what is already under way, goes on.
public struct DiskSpace: Hashable, Sendable {
    public enum State: Int, Hashable, Sendable, Comparable {
        case ample
        /// The reserve is touched: the node gives its offices to nodes with room, and takes no writes but those that make room.
        case low
        /// Half of the reserve is gone, or a write found no room: nothing is appended to any group's log.
        case exhausted

        public static func < (left: State, right: State) -> Bool { left.rawValue < right.rawValue }
    }

    /// Bytes that are to stay free; 0 keeps none, so that only a write that fails counts.
    public let reserveBytes: UInt64
    public private(set) var state = State.ample
    /// Bytes that were free at the last reading.
    public private(set) var freeBytes = UInt64.max
    /// The part of the state that comes from readings.
    private var measured = State.ample

    public init(reserveBytes: UInt64) {
        self.reserveBytes = reserveBytes
    }

    /// Free bytes at which a disk that was low is ample again: a quarter more than the reserve.
    private var recoveredBytes: UInt64 { reserveBytes + reserveBytes / 4 }

    /// Takes a reading.
    mutating func note(freeBytes: UInt64) {
        self.freeBytes = freeBytes
        switch measured {
        case .ample: if freeBytes < reserveBytes { measured = .low }
        case .low, .exhausted: if freeBytes >= recoveredBytes { measured = .ample }
        }
        if measured == .low, freeBytes < reserveBytes / 2 { measured = .exhausted }
        if measured == .exhausted, freeBytes >= reserveBytes / 4 * 3 { measured = .low }
    }

    /// Says whether something that had to be written waits for room; true if the state is another one now.
    mutating func update(isBlocked: Bool) -> Bool {
        let new = isBlocked ? .exhausted : measured
        defer { state = new }
        return new != state
    }
}

/// Which writes of clients a group can take, as far as disk space goes.
public enum WriteRoom: Hashable, Sendable {
    case ample
    /// A node with room is about to take over; ask there, or again.
    case moving
    /// Only what makes room, for the reason given.
    case deletesOnly(String)
    /// Nothing, for the reason given.
    case none(String)
}
