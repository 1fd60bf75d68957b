/// Finds out whether the operations on one thing could have happened one after the other, each at some moment between its
/// call and its answer (Herlihy and Wing, "Linearizability", 1990).
///
/// The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993): take any operation that began before the
/// first answer that is still to come, see what the model says to it, go on, and go back when nothing fits. Lowe's addition
/// ("Testing for Linearizability", 2017) makes it quick: what is left depends only on the set of operations taken and on the state,
/// so a pair that has been met before is not tried again.
///
/// An operation without an answer may be taken at any time after its call or not at all.
public enum Linearizability<Model: SequentialModel> {
    public typealias Operation = RecordedOperation<Model.Input, Model.Output>

    public enum Verdict {
        case linearizable
        /// There is no such order; a text for people shows the shortest part of the history for which there is none.
        case violation(String)
        /// More steps than were allowed.
        case undecided
    }

    /// - Parameter stepsMax: operations tried before the search is given up.
    public static func check(_ operations: [Operation], stepsMax: Int = 1_000_000) -> Verdict {
        var search = Search<Model>(operations, stepsMax: stepsMax)
        switch search.run() {
        case .found: return .linearizable
        case .gaveUp: return .undecided
        case .none: return .violation(explain(operations, stepsMax: stepsMax))
        }
    }

    /// The history as it was known right after the answer at `time`.
    private static func prefix(of operations: [Operation], through time: Int) -> [Operation] {
        operations.filter { $0.began < time }.map { operation in
            guard let ended = operation.ended, ended > time else { return operation }
            return Operation(client: operation.client, operation.input, nil, began: operation.began, ended: nil)
        }
    }

    /// Describes the shortest prefix without an order. A prefix of one that has an order has one too, so it is found by halving.
    private static func explain(_ operations: [Operation], stepsMax: Int) -> String {
        let answers = operations.compactMap(\.ended).sorted()
        var low = 0
        var high = answers.count - 1
        while low < high {
            let middle = (low + high) / 2
            var search = Search<Model>(prefix(of: operations, through: answers[middle]), stepsMax: stepsMax)
            if case .none = search.run() { high = middle } else { low = middle + 1 }
        }
        let time = answers[low]
        let culprit = operations.first { $0.ended == time }!
        var lines = ["no order explains this answer: \(culprit)"]
        let before = low == 0 ? [] : prefix(of: operations, through: answers[low - 1])
        var search = Search<Model>(before, stepsMax: stepsMax)
        if case .found = search.run() {
            lines.append("what went before it has one, for instance:")
            var state = Model.initial
            for operation in search.order {
                state = Model.step(state, operation.input, operation.output)!
                lines.append("  \(operation), then \(state)")
            }
            let open = prefix(of: operations, through: time).filter { $0.ended == nil }
            if !open.isEmpty { lines.append("open at that moment:") }
            for operation in open { lines.append("  \(operation)") }
        }
        return lines.joined(separator: "\n")
    }
}

/// One search, over a doubly linked list of calls and answers from which operations are lifted as they are taken.
private struct Search<Model: SequentialModel> {
    enum Outcome { case found, none, gaveUp }

    private struct Event {
        let operation: Int
        let isCall: Bool
        var previous: Int
        var next: Int
    }

    private struct Configuration: Hashable {
        var taken: [UInt64]
        var state: Model.State
    }

    private let operations: [RecordedOperation<Model.Input, Model.Output>]
    private let stepsMax: Int
    /// Event 0 is the head; -1 ends the list.
    private var events: [Event] = [Event(operation: -1, isCall: false, previous: -1, next: -1)]
    private var call: [Int]
    private var answer: [Int]
    /// Answered operations that are not taken yet.
    private var missing = 0
    private var taken: [(operation: Int, before: Model.State)] = []

    init(_ operations: [RecordedOperation<Model.Input, Model.Output>], stepsMax: Int) {
        self.operations = operations
        self.stepsMax = stepsMax
        call = Array(repeating: -1, count: operations.count)
        answer = call
        var moments: [(time: Int, operation: Int, isCall: Bool)] = []
        for (index, operation) in operations.enumerated() {
            moments.append((operation.began, index, true))
            if let ended = operation.ended {
                moments.append((ended, index, false))
                missing += 1
            }
        }
        moments.sort { $0.time < $1.time }
        for moment in moments {
            let number = events.count
            events[number - 1].next = number
            events.append(
                Event(operation: moment.operation, isCall: moment.isCall, previous: number - 1, next: -1))
            if moment.isCall { call[moment.operation] = number } else { answer[moment.operation] = number }
        }
    }

    /// The operations taken, in their order.
    var order: [RecordedOperation<Model.Input, Model.Output>] { taken.map { operations[$0.operation] } }

    mutating func run() -> Outcome {
        var configuration = Configuration(
            taken: Array(repeating: 0, count: operations.count / 64 + 1), state: Model.initial)
        var met: Set<Configuration> = []
        var steps = 0
        var position = events[0].next
        while missing > 0 {
            let event = events[position]
            guard event.isCall else {
                // Whoever gets this answer must have been taken by now: go back.
                guard let last = taken.popLast() else { return .none }
                configuration.state = last.before
                configuration.taken[last.operation / 64] &= ~(1 << UInt64(last.operation % 64))
                putBack(last.operation)
                position = events[call[last.operation]].next
                continue
            }
            steps += 1
            if steps > stepsMax { return .gaveUp }
            let operation = operations[event.operation]
            if let state = Model.step(configuration.state, operation.input, operation.output) {
                var next = configuration
                next.state = state
                next.taken[event.operation / 64] |= 1 << UInt64(event.operation % 64)
                if met.insert(next).inserted {
                    taken.append((event.operation, configuration.state))
                    configuration = next
                    lift(event.operation)
                    position = events[0].next
                    continue
                }
            }
            position = event.next
        }
        return .found
    }

    private mutating func lift(_ operation: Int) {
        unlink(call[operation])
        guard answer[operation] >= 0 else { return }
        unlink(answer[operation])
        missing -= 1
    }

    private mutating func putBack(_ operation: Int) {
        if answer[operation] >= 0 {
            link(answer[operation])
            missing += 1
        }
        link(call[operation])
    }

    private mutating func unlink(_ event: Int) {
        let (previous, next) = (events[event].previous, events[event].next)
        events[previous].next = next
        if next >= 0 { events[next].previous = previous }
    }

    /// Undoes ``unlink(_:)``; in the opposite order, so that the neighbours are those of then.
    private mutating func link(_ event: Int) {
        let (previous, next) = (events[event].previous, events[event].next)
        events[previous].next = event
        if next >= 0 { events[next].previous = event }
    }
}
