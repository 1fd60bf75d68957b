/// What clients did to a number of things of one kind, as they saw it.
///
/// Times are places in the order in which calls and answers were recorded, so that no two are alike.
public struct History<Key: Hashable & Comparable, Model: SequentialModel> {
    public typealias Operation = RecordedOperation<Model.Input, Model.Output>

    /// Names an operation that is under way.
    public struct Ticket: Hashable, Sendable {
        fileprivate let number: Int
    }

    private var operations: [(key: Key, operation: Operation)?] = []
    private var clock = 0

    public init() {}

    /// Operations recorded and not taken back.
    public var count: Int { operations.count { $0 != nil } }
    /// Operations that have an answer.
    public var answeredCount: Int { operations.count { $0?.operation.ended != nil } }

    public var keys: [Key] { Set(operations.compactMap { $0?.key }).sorted() }

    public func operations(on key: Key) -> [Operation] {
        operations.compactMap { $0.flatMap { $0.key == key ? $0.operation : nil } }
    }

    private mutating func now() -> Int {
        clock += 1
        return clock
    }

    /// A client sends an operation.
    public mutating func begin(_ input: Model.Input, on key: Key, client: Int) -> Ticket {
        operations.append((key, Operation(client: client, input, nil, began: now(), ended: nil)))
        return Ticket(number: operations.count - 1)
    }

    /// Its answer arrives. An operation that gets none stays open: its outcome is unknown.
    public mutating func end(_ ticket: Ticket, _ output: Model.Output) {
        precondition(operations[ticket.number]?.operation.ended == nil, "an operation was answered twice")
        let time = now()
        operations[ticket.number]?.operation.output = output
        operations[ticket.number]?.operation.ended = time
    }

    /// It is certain that the operation did nothing, or it was a read without an answer.
    public mutating func takeBack(_ ticket: Ticket) { operations[ticket.number] = nil }

    /// Judges each key by itself, which is as good as all together: linearizability is local (Herlihy and Wing, 1990).
    ///
    /// - Returns: the first key whose operations have no order, and the number of keys that took too much work.
    public func check(stepsMax: Int = 1_000_000) -> (violation: String?, undecided: Int) {
        var undecided = 0
        var perKey: [Key: [Operation]] = [:]
        for case (let key, let operation)? in operations { perKey[key, default: []].append(operation) }
        for key in perKey.keys.sorted() {
            switch Linearizability<Model>.check(perKey[key]!, stepsMax: stepsMax) {
            case .linearizable: break
            case .undecided: undecided += 1
            case .violation(let explanation): return ("key \(key) is not linearizable\n\(explanation)", undecided)
            }
        }
        return (nil, undecided)
    }
}
