import CairnBSON
import CairnWire
import DequeModule
import NIOCore

/// Names a client connection within its node.
struct ConnectionID: Hashable, Sendable {
    let rawValue: UInt64
}

/// What a node remembers of one client connection. Confined to the connection's loop.
final class ClientConnection {
    /// Messages that may wait behind the one being answered before the socket is read no further.
    static let waitingCountMax = 16

    let id: ConnectionID
    let channel: any Channel
    /// Messages that came while an earlier one was being answered: answers keep the order of requests.
    var waiting: Deque<ArraySlice<UInt8>> = []
    /// The operation being answered now.
    var current: Operation?
    /// What answers it, when that had to wait.
    var task: Task<Void, Never>?
    var isAnswering = false
    /// Messages whose answer was begun.
    var answerCount: UInt64 = 0
    /// Whether somebody wants the operation stopped.
    var isKilled = false
    /// What the answer waits for, when it is time or news.
    var wait: ConnectionWait?
    /// Whether something was written that has not been flushed.
    var needsFlush = false
    /// Whether the socket is left unread until the queue is shorter.
    var isThrottled = false
    /// What the driver says of itself in its first `hello`.
    var clientMetadata: Document?
    /// The compressors that both ends know.
    var compressors: [Compressor] = []
    /// Documents written by the last command, for `getLastError`.
    var lastWriteCount: Int32 = 0

    /// A command that is being carried out.
    struct Operation {
        let number: Int32
        let name: String
        let database: String
        let command: Document
        let startedAt: NIODeadline
    }

    init(id: ConnectionID, channel: any Channel) {
        self.id = id
        self.channel = channel
    }

    /// What the application calls itself.
    var applicationName: String? { clientMetadata?["application"]?.asDocument?["name"]?.stringValue }

    /// Has the answer wait no longer.
    func endWait() {
        wait?.end()
        wait = nil
    }

    /// `HOST:PORT` of the client.
    var remote: String {
        guard let address = channel.remoteAddress else { return "unknown" }
        return "\(address.ipAddress ?? "local"):\(address.port ?? 0)"
    }
}
