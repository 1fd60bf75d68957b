import DequeModule

/// Knows what is on the disk while several Readys are on their way there.
///
/// Receipts may come back in any order; a Ready counts once it and all before it are done, because the log on the disk
/// is only as good as its first gap. A Ready whose entries gave way to later ones loses its claim to them at that
/// moment, so that its late receipt says nothing about the entries that now stand at those indexes, even when an
/// entry of the same term has come back to the same index since.
struct PersistPipeline {
    private struct Flight {
        let number: UInt64
        /// The last entry that this Ready still vouches for; zero for none.
        var last: LogIndex
        let hardState: HardState?
        /// Messages that rest on what this Ready and those before it make durable.
        var held: [Message]
        var isDone = false
    }

    private var flights: Deque<Flight> = []
    /// All entries up to here are on the disk.
    private(set) var stable: LogIndex
    private(set) var durableTerm: Term
    private(set) var durableVote: NodeID?

    init(stable: LogIndex, hardState: HardState) {
        self.stable = stable
        durableTerm = hardState.term
        durableVote = hardState.vote
    }

    var isEmpty: Bool { flights.isEmpty }

    mutating func begin(number: UInt64, last: LogIndex, hardState: HardState?) {
        flights.append(Flight(number: number, last: last, hardState: hardState, held: []))
    }

    /// Keeps `messages` until everything that has begun is durable.
    mutating func hold(_ messages: [Message]) {
        precondition(!flights.isEmpty, "nothing is on its way to the disk that messages could wait for")
        flights[flights.count - 1].held += messages
    }

    /// The entries from `index` on give way.
    mutating func overwritten(from index: LogIndex) {
        stable = min(stable, index.previous)
        for offset in flights.indices where flights[offset].last >= index { flights[offset].last = index.previous }
    }

    /// A snapshot took the place of the log up to `index`.
    mutating func reset(stable index: LogIndex) {
        stable = index
        for offset in flights.indices { flights[offset].last = .zero }
    }

    /// Notes a receipt and appends to `released` the messages that need wait no longer.
    mutating func complete(number: UInt64, released: inout [Message]) {
        guard let offset = flights.firstIndex(where: { $0.number == number }) else { return }
        flights[offset].isDone = true
        while let first = flights.first, first.isDone {
            flights.removeFirst()
            stable = max(stable, first.last)
            if let hardState = first.hardState {
                durableTerm = hardState.term
                durableVote = hardState.vote
            }
            released += first.held
        }
    }
}
