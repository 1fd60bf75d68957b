import CairnDatabase
import CairnRaft
import CairnReplication
import Synchronization

/// One answer, for which no collection is needed.
final class Awaited<Answer: Sendable>: Sendable {
    private struct State {
        var answer: Answer?
        var isInterrupted = false
        var waiter: CheckedContinuation<Void, Never>?

        mutating func takeWaiter() -> CheckedContinuation<Void, Never>? {
            defer { waiter = nil }
            return waiter
        }
    }
    private let state = Mutex(State())

    func set(_ result: Answer) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            precondition(state.answer == nil, "a group answered twice")
            if state.isInterrupted { return nil }
            state.answer = result
            return state.takeWaiter()
        }
        waiter?.resume()
    }

    /// - Returns: nil when the command was cancelled before the answer came.
    func result(isInterruptible: Bool) async -> Answer? {
        if let answer = state.withLock({ $0.answer }) { return answer }
        if isInterruptible {
            await withTaskCancellationHandler {
                await suspend()
            } onCancel: {
                interrupt()
            }
        } else {
            await suspend()
        }
        return state.withLock { $0.answer }
    }

    private func suspend() async {
        await withCheckedContinuation { waiter in
            // The way here may lead over an executor's queue, and the answer may have been quicker.
            let isOver = state.withLock { state in
                if state.answer != nil || state.isInterrupted { return true }
                state.waiter = waiter
                return false
            }
            if isOver { waiter.resume() }
        }
    }

    private func interrupt() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.answer == nil else { return nil }
            state.isInterrupted = true
            return state.takeWaiter()
        }
        waiter?.resume()
    }
}

/// Collects a fixed number of answers and wakes the one who waits for them.
///
/// Answers that came before the wait cost no suspension: a group on this loop answers cached reads at once.
final class Answers: Sendable {
    typealias Answer = (result: GroupResult, node: NodeID)

    private struct State {
        var slots: [Answer?]
        var missing: Int
        /// Whether nobody waits for those that are missing any more.
        var isClosed = false
    }
    private let state: Mutex<State>
    private let complete = Awaited<Void>()
    private let isInterruptible: Bool

    init(count: Int, isInterruptible: Bool) {
        state = Mutex(State(slots: Array(repeating: nil, count: count), missing: count))
        self.isInterruptible = isInterruptible
        if count == 0 { complete.set(()) }
    }

    func set(_ index: Int, _ result: GroupResult, _ node: NodeID) {
        let isLast = state.withLock { state -> Bool in
            precondition(state.slots[index] == nil, "a group answered twice")
            if state.isClosed { return false }
            state.slots[index] = (result, node)
            state.missing -= 1
            return state.missing == 0
        }
        if isLast { complete.set(()) }
    }

    /// Waits for all answers, or until the command is cancelled.
    ///
    /// - Returns: the questions whose answers will not be waited for.
    func wait() async -> [Int] {
        if await complete.result(isInterruptible: isInterruptible) != nil { return [] }
        return state.withLock { state in
            state.isClosed = true
            return state.slots.indices.filter { state.slots[$0] == nil }
        }
    }

    var all: [Answer] {
        state.withLock { state in
            state.slots.map { $0 ?? (.failure(.error(Router.interrupted)), NodeID(rawValue: 0)) }
        }
    }
}
