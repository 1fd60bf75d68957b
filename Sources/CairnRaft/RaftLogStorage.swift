/// The log as far as it was handed over, whether or not it is on the disk yet.
///
/// The core keeps an entry only until the ``Ready`` that carries it is taken. From then on it reads through this
/// protocol, so the host appends `Ready.entries` before it calls the core again: entries at or above the first one's
/// index give way to them.
///
/// - Invariant: entries `firstIndex ... lastIndex` are there without gaps; an empty log has `lastIndex == firstIndex - 1`.
public protocol RaftLogStorage: AnyObject {
    /// The first entry that was not purged.
    var firstIndex: LogIndex { get }
    /// The last entry that was handed over; `firstIndex - 1` when there is none.
    var lastIndex: LogIndex { get }
    /// The term of the entry at `index`, known also for `firstIndex - 1` (the purge or snapshot point; term 0 at
    /// index 0); nil outside of that. Called often: should take nanoseconds.
    func term(at index: LogIndex) -> Term?
    /// Entries `from ... through`, cut off before `maxBytes` (by ``Entry/chargedBytes``) are exceeded, but at least one.
    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) throws(RaftLogError) -> [Entry]
}

/// What is wrong with the log that a group was opened on or is reading from.
public struct RaftLogError: Error, Hashable, Sendable {
    public enum Code: Hashable, Sendable {
        /// The entries asked for were purged; a snapshot stands in for them.
        case compacted
        /// The disk refused.
        case io
        /// What was read is not what was written, or the log lacks what the hard state promises.
        case corruption
    }
    public let code: Code
    /// The entry concerned.
    public let index: LogIndex
    public let message: String

    public init(code: Code, index: LogIndex, message: String) {
        self.code = code
        self.index = index
        self.message = message
    }
}
