import CairnDatabase

/// Sessions of the router's own, for writes whose client numbered none.
///
/// A group remembers what it did under a session and number, so that the router may send a write again when an answer is
/// lost and it is still done once. A session has one write at a time, therefore the pool: it grows to the number of
/// writes that are under way together.
struct SessionPool {
    private var idle: [SessionStamp] = []

    /// A stamp that no other write uses.
    mutating func take(random: () -> UInt64) -> SessionStamp {
        guard let last = idle.popLast() else {
            return SessionStamp(sessionHigh: random(), sessionLow: random(), transactionNumber: 1)
        }
        return SessionStamp(
            sessionHigh: last.sessionHigh, sessionLow: last.sessionLow, transactionNumber: last.transactionNumber + 1)
    }

    /// The write with that stamp has its answer, or nobody waits for it any more.
    ///
    /// One whose outcome is unknown may still be on its way to a group. Its number is never used again, and the next number
    /// of the session makes the group refuse it.
    mutating func giveBack(_ stamp: SessionStamp) {
        idle.append(stamp)
    }
}
