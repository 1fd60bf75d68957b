import CairnBSON
import CairnWire
import NIOCore

/// What answers to a connection wait for without asking anyone: a new topology, or an amount of time. A wait is a timer and a
/// suspended task; it ends with the connection.
final class ConnectionWait {
    let isForTopology: Bool
    private let timer: Scheduled<Void>
    private var continuation: CheckedContinuation<Void, Never>?

    init(isForTopology: Bool, timer: Scheduled<Void>, continuation: CheckedContinuation<Void, Never>) {
        self.isForTopology = isForTopology
        self.timer = timer
        self.continuation = continuation
    }

    func end() {
        timer.cancel()
        continuation?.resume()
        continuation = nil
    }
}

extension NodeLoop {
    /// Returns when the topology is another than `known`, when the time is over, or when the connection is gone.
    func awaitTopologyChange(from known: TopologyVersion, milliseconds: Int64, on connection: ClientConnection) async {
        await wait(milliseconds, isForTopology: true, on: connection) { [shared] in shared.topology.version == known }
    }

    /// Returns after that time, or when the connection is gone.
    func pause(milliseconds: Int64, on connection: ClientConnection) async {
        await wait(milliseconds, isForTopology: false, on: connection) { true }
    }

    private func wait(
        _ milliseconds: Int64, isForTopology: Bool, on connection: ClientConnection, while isWanted: () -> Bool
    ) async {
        guard milliseconds > 0, isWanted(), connections[connection.id] != nil else { return }
        await withCheckedContinuation { continuation in
            // Once more: the way here may lead over an executor's queue.
            guard isWanted(), connections[connection.id] != nil else { return continuation.resume() }
            let id = connection.id
            let timer = eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in
                guard let self else { return }
                assumeIsolated { $0.endWait(on: id) }
            }
            connection.wait = ConnectionWait(isForTopology: isForTopology, timer: timer, continuation: continuation)
        }
    }

    private func endWait(on id: ConnectionID) { connections[id]?.endWait() }

    /// `hello` has something new to say.
    func endTopologyWaits() {
        for connection in connections.values where connection.wait?.isForTopology == true { connection.endWait() }
    }

    /// Answers a `hello` that asks to be kept informed: one answer after the other, each when there is news or the time is
    /// over, until the connection ends or one of them is an error.
    ///
    /// - Parameter first: the answer to the request itself.
    func stream(_ first: Document, to request: ClientRequest, on connection: ClientConnection) async {
        var request = request
        var reply = first
        var responseTo = request.requestID
        while connections[connection.id] != nil {
            let number = nextRequestID()
            // A client that does not read gets no more than it has room for.
            let isStreamed = request.allowsExhaust && connection.channel.isWritable
            let next = isStreamed ? request.following(reply) : nil
            write(
                request.encode(reply, requestID: number, responseTo: responseTo, isMoreToCome: next != nil),
                to: connection)
            guard let next else { return }
            responseTo = number
            request = next
            if (request.body["maxAwaitTimeMS"]?.int64Exactly ?? 0) < Self.streamPauseMilliseconds {
                await pause(milliseconds: Self.streamPauseMilliseconds, on: connection)
            }
            guard let following = await run(request, on: connection) else {
                connection.channel.close(promise: nil)
                return
            }
            reply = following
        }
    }

    /// The time between two answers of a stream, whatever the client asks for.
    private static let streamPauseMilliseconds: Int64 = 100
}

extension ClientRequest {
    /// The request that the server puts to itself after `reply`: the same, with the topology that the client knows by then.
    ///
    /// - Returns: nil when the client did not ask for a stream, or `reply` ends it.
    func following(_ reply: Document) -> ClientRequest? {
        guard allowsExhaust, ["hello", "isMaster", "ismaster"].contains(name), body["topologyVersion"] != nil,
            reply["ok"]?.isTruthy == true, let version = reply["topologyVersion"]
        else { return nil }
        var next = self
        next.body.set("topologyVersion", version)
        return next
    }
}
