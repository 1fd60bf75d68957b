import CairnRaft

/// What one event loop wants to be made durable at once, for any number of its groups.
///
/// Filled through the ``GroupLog``s, written as one contiguous append, made durable by one sync that all batches waiting at
/// that moment share. After a crash a prefix of a batch that was not yet reported durable may be there: a group's hard
/// state comes before its entries, and entries come in order, so that every prefix is a state that Raft allows.
public struct LogBatch: Sendable, Identifiable {
    public let id: UInt64
    private(set) var items: [Item] = []
    /// Bytes of payload, a measure of what the batch keeps in memory.
    public private(set) var payloadBytes = 0

    public init(id: UInt64) {
        self.id = id
    }

    public var isEmpty: Bool { items.isEmpty }

    struct Item: Sendable {
        var group: GroupID
        var incarnation: UInt32
        var operation: Operation
    }

    enum Operation: Sendable {
        case hardState(HardState)
        case entries([Entry])
        /// Nothing is written for it: a purge that a crash undoes is done again.
        case purge(LogPosition)
        case reset(LogPosition, HardState)
        case destroy
    }

    mutating func add(_ operation: Operation, _ group: GroupID, _ incarnation: UInt32) {
        if case .entries(let entries) = operation {
            for entry in entries { payloadBytes += entry.payload.count }
        }
        items.append(Item(group: group, incarnation: incarnation, operation: operation))
    }
}

/// Where a loop leaves its batches: the log thread, or in a simulation the log itself.
///
/// Batches are made durable in the order in which they are submitted. How the loop hears of it is the shell's affair.
public protocol LogSink: AnyObject {
    func submit(_ batch: LogBatch)
}
