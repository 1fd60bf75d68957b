import CairnFiles

/// A rule by which a simulated disk misbehaves: which calls, and how.
public struct DiskFault: Sendable {
    public enum Effect: Sendable {
        /// The call fails with this code; a failed write may leave a part behind, a failed sync loses the unsynced bytes
        /// for good although the next sync succeeds (D2).
        case error(FileError.Code)
        /// A write keeps only its first bytes and fails (D4).
        case shortWrite
        /// A write is acknowledged and not done (D8).
        case loseWrite
        /// A write lands in another sector of the same file (D9).
        case misdirectWrite
    }

    /// The kind of call; nil means any.
    public var operation: FileError.Operation?
    /// A part of the path; empty means any.
    public var pathContains: String
    /// Which of the matching calls, from 1 on; nil means each.
    public var nth: Int?
    /// Whether the calls after the n-th are hit too.
    public var lasts: Bool
    /// The chance that a call which matches otherwise is hit.
    public var probability: Double
    public var effect: Effect

    public init(
        _ effect: Effect, on operation: FileError.Operation? = nil, pathContains: String = "", nth: Int? = nil,
        lasts: Bool = false, probability: Double = 1
    ) {
        self.effect = effect
        self.operation = operation
        self.pathContains = pathContains
        self.nth = nth
        self.lasts = lasts
        self.probability = probability
    }
}

extension FileError {
    /// Whether this is what a simulated disk throws while its power is off.
    public var isPowerCut: Bool { reason == SimulatedDisk.powerIsOff }
}
