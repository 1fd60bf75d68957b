import CairnDefects

/// How a group behaves; equal on all its replicas, at least the times.
public struct RaftOptions: Hashable, Sendable {
    /// Silence after which a follower looks for another leader; the actual patience is drawn from one to two of these.
    /// A leader that a majority did not answer for as long steps down.
    public var electionTimeout: Duration = .milliseconds(1000)
    /// Time between a leader's signs of life; a tenth of the election timeout is usual.
    public var heartbeatInterval: Duration = .milliseconds(100)
    /// How far any node's clock may run fast or slow, in thousandths. A lease is shorter than the election timeout by
    /// this much, twice: (1000 - x) / (1000 + x).
    public var clockDriftPermille = 50
    /// Append messages to one follower that may be unanswered.
    public var inflightMessagesMax = 256
    /// Bytes to one follower that may be unanswered; one message may always be under way.
    public var inflightBytesMax = 64 << 20
    /// Bytes of entries in one append message; a single larger entry travels alone.
    public var appendBytesMax = 1 << 20
    /// Bytes of committed entries in one ``Ready``, so that applying does not starve the loop.
    public var committedBytesMax = 16 << 20
    /// Bytes of one proposed entry, above which it is refused.
    public var entryBytesMax = 32 << 20
    /// Bytes of proposals that are not yet committed, above which more are refused (one is always accepted).
    public var uncommittedBytesMax = 64 << 20
    /// Whether followers learn of a commit at once, by a message of its own, or with the next append or tick.
    /// Off by default: under load the next append carries it for nothing.
    public var announcesCommitsAtOnce = false
    /// Time without a use after which a group falls silent: its leader sends no heartbeats and its followers watch no
    /// timer. 0 keeps it awake. More than that asks for a host that says which nodes it has lost sight of
    /// (``RaftCore/setAbsent(_:now:)``).
    public var quietAfter: Duration = .zero
    /// How often a quiet leader shows itself all the same, so that no loss of messages makes a silence last for ever;
    /// a quiet follower wakes by itself after four of these.
    public var quietHeartbeatInterval: Duration = .seconds(30)
    /// Entries by which a node may lag behind the commit index and still be made a voter.
    public var promotionLagMax = 1024

    /// Deliberate bugs, for tests.
    package var defects = Defects()

    public init() {}

    /// Self, unless a value makes no sense.
    ///
    /// - Throws: ``InvalidOption`` with the name and the reason.
    public func validated() throws(InvalidOption) -> RaftOptions {
        guard electionTimeout > .zero else { throw InvalidOption(name: "electionTimeout", reason: "must be positive") }
        guard heartbeatInterval > .zero, heartbeatInterval * 2 < electionTimeout else {
            throw InvalidOption(name: "heartbeatInterval", reason: "must be below half of electionTimeout")
        }
        guard (0..<500).contains(clockDriftPermille) else {
            throw InvalidOption(name: "clockDriftPermille", reason: "must be in 0..<500")
        }
        guard inflightMessagesMax > 0 else {
            throw InvalidOption(name: "inflightMessagesMax", reason: "must be positive")
        }
        guard inflightBytesMax > 0 else { throw InvalidOption(name: "inflightBytesMax", reason: "must be positive") }
        guard appendBytesMax > 0 else { throw InvalidOption(name: "appendBytesMax", reason: "must be positive") }
        guard committedBytesMax > 0 else { throw InvalidOption(name: "committedBytesMax", reason: "must be positive") }
        guard entryBytesMax > 0 else { throw InvalidOption(name: "entryBytesMax", reason: "must be positive") }
        guard uncommittedBytesMax > 0 else {
            throw InvalidOption(name: "uncommittedBytesMax", reason: "must be positive")
        }
        guard quietAfter >= .zero else { throw InvalidOption(name: "quietAfter", reason: "must not be negative") }
        guard quietHeartbeatInterval >= electionTimeout else {
            throw InvalidOption(name: "quietHeartbeatInterval", reason: "must not be below electionTimeout")
        }
        guard promotionLagMax >= 0 else { throw InvalidOption(name: "promotionLagMax", reason: "must not be negative") }
        return self
    }

    /// A value of ``RaftOptions`` that makes no sense.
    public struct InvalidOption: Error, Hashable, Sendable {
        public let name: String
        public let reason: String
    }
}
