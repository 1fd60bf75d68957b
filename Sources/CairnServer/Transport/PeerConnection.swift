import CairnRaft
import Logging
import NIOCore
import NIOPosix

/// Why a forwarded request has no answer.
enum PeerCallError: Error, Sendable {
    /// It was never sent: the peer is not connected or too much is queued.
    case unreachable
    /// It was sent, and may or may not have been carried out.
    case lost
}

/// An outgoing connection to one peer for one purpose, dialed again whenever it ends.
///
/// Lives on one event loop. Frames are written as they come and flushed once a loop turn. What cannot be sent now is
/// dropped: Raft repeats itself, and a request's caller is told.
actor PeerConnection {
    /// Bytes that may wait in the channel before frames are dropped (two of the largest).
    private static let queuedBytesMax = 2 * LinkFrame.byteCountMax
    /// Silence with requests outstanding after which the connection is given up.
    private static let silenceMax = TimeAmount.seconds(2)
    private static let pingAfter = TimeAmount.milliseconds(500)
    private static let watchInterval = TimeAmount.milliseconds(100)

    nonisolated let eventLoop: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe eventLoop.executor.asUnownedSerialExecutor() }

    private let peer: NodeID
    private let endpoint: SocketEndpoint
    private let hello: LinkHello
    private let barrier: PeerBarrier
    private let logger: Logger
    private let liveness: PeerLiveness
    private let onDisconnect: @Sendable (NodeID) -> Void

    /// A request that waits for its answer.
    private struct Call {
        let deadline: UInt64
        let answer: @Sendable (Result<ArraySlice<UInt8>, PeerCallError>) -> Void
    }

    private var channel: (any Channel)?
    private var queuedBytes = 0
    private var flushScheduled = false
    private var retryDelay = TimeAmount.milliseconds(50)
    private var isClosed = false
    private var nextCall: UInt64 = 1
    private var calls: [UInt64: Call] = [:]
    private var lastHeard = NIODeadline.now()
    /// Whether a ping is on its way that nothing has come after.
    private var isPinging = false
    private var pingTask: RepeatedTask?
    /// Why the peer turned this node away last, which is logged once.
    private var lastRefusal: String?

    init(
        eventLoop: any EventLoop, peer: NodeID, endpoint: SocketEndpoint, hello: LinkHello, barrier: PeerBarrier,
        logger: Logger, liveness: PeerLiveness, onDisconnect: @escaping @Sendable (NodeID) -> Void
    ) {
        self.eventLoop = eventLoop
        self.peer = peer
        self.endpoint = endpoint
        self.hello = hello
        self.barrier = barrier
        self.logger = logger
        self.liveness = liveness
        self.onDisconnect = onDisconnect
    }

    /// Whether frames can leave now.
    var isConnected: Bool { channel != nil }

    func start() { dial() }

    /// Runs `work` on the connection's loop: at once when the caller is on it.
    nonisolated func onLoop(_ work: @escaping @Sendable (isolated PeerConnection) -> Void) {
        if eventLoop.inEventLoop { assumeIsolated(work) } else { eventLoop.execute { [self] in assumeIsolated(work) } }
    }

    /// Asks for a sign of life.
    func ping() { send(.ping, []) }

    func close() {
        isClosed = true
        pingTask?.cancel()
        channel?.close(promise: nil)
        channel = nil
        failCalls(.lost)
    }

    /// Sends a frame, or drops it when there is no connection, the queue is full, or the link is cut.
    func send(_ kind: LinkFrameKind, _ payload: [UInt8]) {
        guard !barrier.stopsSending(to: peer) else { return }
        _ = write(kind, payload)
    }

    /// Sends a request; `answer` is called once, on this connection's loop, perhaps before this returns.
    ///
    /// - Parameter deadline: when to give up, by the loop's monotonic clock, in nanoseconds; seen to within 100 ms.
    func call(
        _ request: [UInt8], deadline: UInt64,
        answer: @escaping @Sendable (Result<ArraySlice<UInt8>, PeerCallError>) -> Void
    ) {
        guard channel != nil else { return answer(.failure(.unreachable)) }
        let number = nextCall
        nextCall += 1
        var payload: [UInt8] = []
        payload.reserveCapacity(8 + request.count)
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe payload.append(contentsOf: $0) }
        payload.append(contentsOf: request)
        // A cut link swallows the request; silence then ends the connection, as it would on a real one.
        if !barrier.stopsSending(to: peer), !write(.request, payload) { return answer(.failure(.unreachable)) }
        if calls.isEmpty { lastHeard = .now() }
        calls[number] = Call(deadline: deadline, answer: answer)
    }

    private func dial() {
        guard !isClosed else { return }
        ClientBootstrap(group: eventLoop)
            .connectTimeout(.seconds(1))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        LinkFrameHandler(
                            onFrame: { frame, _ in self.assumeIsolated { $0.received(frame) } },
                            onClose: { error in
                                let reason = error.map { "\($0)" }
                                self.assumeIsolated { $0.closed(reason) }
                            }))
                }
            }
            .connect(host: endpoint.host, port: endpoint.port)
            .whenComplete { [self] result in
                assumeIsolated { connection in
                    switch result {
                    case .success(let channel): connection.opened(channel)
                    case .failure: connection.dialLater()
                    }
                }
            }
    }

    private func dialLater() {
        guard !isClosed else { return }
        eventLoop.scheduleTask(in: retryDelay) { [self] in assumeIsolated { $0.dial() } }
        retryDelay = min(retryDelay * 2, .seconds(1))
    }

    private func opened(_ channel: any Channel) {
        guard !isClosed else {
            channel.close(promise: nil)
            return
        }
        guard channel.isActive else { return dialLater() }
        self.channel = channel
        queuedBytes = 0
        retryDelay = .milliseconds(50)
        lastHeard = .now()
        isPinging = false
        _ = write(.hello, hello.encoded)
        if hello.purpose == .requests {
            pingTask = eventLoop.scheduleRepeatedTask(initialDelay: Self.watchInterval, delay: Self.watchInterval) {
                [self] _ in assumeIsolated { $0.watch() }
            }
        }
    }

    private func closed(_ reason: String?) {
        if let reason {
            logger.debug("peer connection ended", metadata: ["peer": "\(peer.rawValue)", "reason": "\(reason)"])
        }
        pingTask?.cancel()
        pingTask = nil
        guard channel != nil || !calls.isEmpty else { return }
        channel = nil
        onDisconnect(peer)
        failCalls(.lost)
        dialLater()
    }

    private func failCalls(_ error: PeerCallError) {
        let pending = calls
        calls = [:]
        for call in pending.values { call.answer(.failure(error)) }
    }

    private func received(_ frame: LinkFrame) {
        guard !barrier.stopsReceiving(from: peer) else { return }
        lastHeard = .now()
        isPinging = false
        if frame.kind == .pong { liveness.heard(peer) }
        if frame.kind == .refusal { return refused(LinkRefusal(parsing: frame.payload)) }
        guard frame.kind == .response else { return }
        var payload = frame.payload
        guard let number = payload.readInteger(endianness: .little, as: UInt64.self),
            let call = calls.removeValue(forKey: number)
        else { return }
        call.answer(.success(Array(payload.readableBytesView)[...]))
    }

    /// The peer turns this node away. One whose data the cluster has given up would do harm by going on.
    private func refused(_ refusal: LinkRefusal) {
        let metadata: Logger.Metadata = ["peer": "\(peer.rawValue)", "reason": "\(refusal.reason)"]
        if refusal.callerMustEnd {
            logger.critical(
                "a peer says that this node has no place in the cluster any more, the node ends", metadata: metadata)
            fatalExit()
        }
        if refusal.reason != lastRefusal { logger.error("a peer turns this node away", metadata: metadata) }
        lastRefusal = refusal.reason
        // What keeps it out does not pass in a moment.
        retryDelay = .seconds(1)
    }

    /// Asks a silent peer for a sign of life while somebody waits for it.
    private func watch() {
        guard let channel, !calls.isEmpty else { return }
        let now = LoopClock.monotonicNanoseconds
        for (number, call) in calls where call.deadline <= now {
            calls[number] = nil
            call.answer(.failure(.lost))
        }
        let silence = NIODeadline.now() - lastHeard
        if silence > Self.silenceMax {
            logger.warning("peer is silent, connection given up", metadata: ["peer": "\(peer.rawValue)"])
            channel.close(promise: nil)
        } else if silence > Self.pingAfter, !isPinging {
            isPinging = true
            send(.ping, [])
        }
    }

    private func write(_ kind: LinkFrameKind, _ payload: [UInt8]) -> Bool {
        guard let channel, queuedBytes + payload.count <= Self.queuedBytesMax else { return false }
        var buffer = channel.allocator.buffer(capacity: LinkFrame.headerByteCount + payload.count)
        LinkFrame.append(kind: kind, payload: payload, to: &buffer)
        let size = buffer.readableBytes
        queuedBytes += size
        let written = eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { [self] _ in assumeIsolated { $0.queuedBytes -= size } }
        if kind == .raft {
            // All that a turn of the loop has for a peer is one frame; the sooner it leaves, the sooner it is on disk there.
            channel.writeAndFlush(buffer, promise: written)
            return true
        }
        channel.write(buffer, promise: written)
        if !flushScheduled {
            flushScheduled = true
            eventLoop.execute { [self] in
                assumeIsolated {
                    $0.flushScheduled = false
                    $0.channel?.flush()
                }
            }
        }
        return true
    }
}
