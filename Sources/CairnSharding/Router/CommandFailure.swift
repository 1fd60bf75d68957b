import CairnDatabase
import CairnQuery

/// Why a command, or one round of it, did not get its answer from a group.
enum CommandFailure: Error {
    /// The catalog changed, or another try of the same write came in between: look the collection up again and start the round anew.
    case stale
    case error(QueryError)

    init(_ failure: GroupFailure) {
        switch failure {
        case .staleEpoch, .droppedCollection, .needsDescriptor, .claimLost: self = .stale
        case .error(let error): self = .error(error)
        case .notLeader: self = .error(QueryError(.hostUnreachable, "the group has no leader"))
        case .unavailable(let reason): self = .error(QueryError(.hostUnreachable, reason))
        }
    }
}

extension [Result<GroupReply, GroupFailure>] {
    /// The replies, when there is one from every group. An error of any of them is the error of all: an answer without one
    /// group's share would pass for the whole.
    func replies() throws(CommandFailure) -> [GroupReply] {
        var replies: [GroupReply] = []
        replies.reserveCapacity(count)
        var failure: CommandFailure?
        for result in self {
            switch result {
            case .success(let reply): replies.append(reply)
            case .failure(let reason):
                let new = CommandFailure(reason)
                // A mistake of the client's outweighs staleness: a new map would not mend it.
                if case .error = new { throw new }
                failure = failure ?? new
            }
        }
        if let failure { throw failure }
        return replies
    }
}

extension Result<GroupReply, GroupFailure> {
    func reply() throws(CommandFailure) -> GroupReply {
        switch self {
        case .success(let reply): return reply
        case .failure(let failure): throw CommandFailure(failure)
        }
    }
}

/// Counts how often a command started anew because the catalog changed under it, and paces it.
struct StaleRetries {
    private var count = 0

    /// Waits a little more each time.
    /// - Throws: when the catalog does not come to rest, or the deadline has passed.
    mutating func next(_ router: Router, deadline: UInt64) async throws(QueryError) {
        count += 1
        if Task.isCancelled { throw QueryError(.interrupted, "operation was interrupted: its client is gone") }
        guard count <= router.options.staleRetriesMax, router.clock.nanoseconds < deadline else {
            throw QueryError(.hostUnreachable, "the collection's placement did not come to rest in time")
        }
        // The first time a fresh look is all that is needed; later a change is under way that takes its time.
        if count > 1 {
            let pause = min(router.options.retryPauseNanoseconds << UInt64(min(count - 2, 5)), 250_000_000)
            await router.sleep(nanoseconds: pause)
        }
    }
}

extension Router {
    func sleep(nanoseconds: UInt64) async {
        await withCheckedContinuation { continuation in
            clock.schedule(afterNanoseconds: nanoseconds) { continuation.resume() }
        }
    }
}
