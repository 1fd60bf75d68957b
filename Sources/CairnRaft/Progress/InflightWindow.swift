import DequeModule

/// The append messages to one follower that are unanswered, limited in number and in bytes.
struct InflightWindow {
    private var messages: Deque<(last: LogIndex, bytes: Int)> = []
    private(set) var bytes = 0
    let messagesMax: Int
    let bytesMax: Int

    init(messagesMax: Int, bytesMax: Int) {
        self.messagesMax = messagesMax
        self.bytesMax = bytesMax
    }

    var count: Int { messages.count }
    var isFull: Bool { messages.count >= messagesMax || bytes >= bytesMax }

    mutating func add(last: LogIndex, bytes: Int) {
        messages.append((last, bytes))
        self.bytes += bytes
    }

    mutating func free(through index: LogIndex) {
        while let first = messages.first, first.last <= index { removeFirst() }
    }

    /// Makes room for one message, so that a window whose messages were all lost comes to life again.
    mutating func freeFirst() {
        if !messages.isEmpty { removeFirst() }
    }

    mutating func removeAll() {
        messages.removeAll(keepingCapacity: true)
        bytes = 0
    }

    private mutating func removeFirst() { bytes -= messages.removeFirst().bytes }
}
