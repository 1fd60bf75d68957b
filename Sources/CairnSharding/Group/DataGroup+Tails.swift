import CairnBSON
import CairnDatabase
import CairnQuery

// A read at the end of a capped collection may wait for what comes next. It is asked for again when an insertion has been
// applied, and not before; when its time is over, it answers that nothing came.
extension DataGroup {
    /// A read that waits at the end of a capped collection.
    struct Tail {
        var request: GroupRequest
        /// The place that the next document gets: as long as it is free, nothing has come.
        var next: UInt64
        /// When it answers in any case, by the monotonic clock.
        var endsAt: UInt64
        /// The answer that nothing came.
        var reply: GroupReply
        var completion: (Result<GroupReply, GroupFailure>) -> Void
    }

    /// How long a read is ready to wait; nil for one that is not.
    func patience(of request: GroupRequest) -> UInt64? {
        guard request.operation == .find, let place = request.body["tail"]?.asDocument,
            let milliseconds = place["awaitMilliseconds"]?.int64Exactly, milliseconds > 0
        else { return nil }
        return UInt64(milliseconds).multipliedReportingOverflow(by: 1_000_000).partialValue
    }

    func executeTail(
        _ request: GroupRequest, until end: UInt64, _ completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        var request = request
        var place = request.body["tail"]?.asDocument?.removing("awaitMilliseconds") ?? Document()
        request.body.set("tail", .document(place))
        execute(request) { [weak self] result in
            guard let self, case .success(let reply) = result, reply.documents.isEmpty, clock.nanoseconds < end,
                tails.count < options.tailsMax, let next = reply.body["next"]?.int64Exactly
            else { return completion(result) }
            // What was looked at need not be looked at again.
            if let position = reply.body["position"] { place.set("after", position) }
            request.body.set("tail", .document(place))
            park(
                Tail(
                    request: request, next: UInt64(next), endsAt: end, reply: reply, completion: completion))
        }
    }

    private func park(_ tail: Tail) {
        lastTail += 1
        let number = lastTail
        tails[number] = tail
        clock.schedule(afterNanoseconds: tail.endsAt - min(tail.endsAt, clock.nanoseconds)) { [weak self] in
            guard let tail = self?.tails.removeValue(forKey: number) else { return }
            tail.completion(.success(tail.reply))
        }
        // The read may have been made elsewhere, while insertions were applied here.
        if hasMore(tail) { later { [weak self] in self?.resume(number) } }
    }

    private func hasMore(_ tail: Tail) -> Bool {
        database.cappedNext(tail.request.collection).map { $0 != tail.next } ?? false
    }

    /// To be called when something was applied.
    func wakeTails() {
        guard !tails.isEmpty else { return }
        for (number, tail) in tails where hasMore(tail) { later { [weak self] in self?.resume(number) } }
    }

    /// Has all that wait ask again, as they must when they wait at the wrong replica.
    func wakeAllTails() {
        for number in tails.keys { later { [weak self] in self?.resume(number) } }
    }

    private func resume(_ number: UInt64) {
        guard let tail = tails.removeValue(forKey: number) else { return }
        executeTail(tail.request, until: tail.endsAt, tail.completion)
    }
}
