import CairnBSON
import CairnWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Why a call on a connection has no answer.
public enum ConnectionError: Error, Sendable, CustomStringConvertible {
    /// The message was never sent.
    case unreachable(String)
    /// It was sent, and may or may not have been carried out.
    case lost(String)

    public var description: String {
        switch self {
        case .unreachable(let why): "not sent: \(why)"
        case .lost(let why): "no answer: \(why)"
        }
    }
}

/// One TCP connection that speaks OP_MSG. Calls may overlap: answers find their callers by request number.
///
/// Lives on one event loop; calls from that loop cross no thread. Messages written in one turn of the loop leave in
/// one system call.
public actor WireConnection {
    public nonisolated let eventLoop: any EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe eventLoop.executor.asUnownedSerialExecutor()
    }
    /// Where the connection goes, `HOST:PORT`.
    public nonisolated let address: String

    private var channel: (any Channel)?
    private var decoder = FrameDecoder()
    private var nextRequest: Int32 = 1
    private var calls: [Int32: @Sendable (Result<Document, ConnectionError>) -> Void] = [:]
    private var deadlines: [Int32: UInt64] = [:]
    private var sweeper: RepeatedTask?
    private var flushScheduled = false
    private let endsWhenSilent: Bool
    /// When the other end was last heard of, or since when there is something to wait for, whichever is later.
    private var lastHeard = NIODeadline.now()
    private var isPinging = false
    /// Silence with calls outstanding after which the other end is asked for a sign of life.
    private static let pingAfter = TimeAmount.milliseconds(500)
    /// Such silence after which the connection is given up. As long as nodes have patience with each other.
    private static let silenceMax = TimeAmount.seconds(2)

    private init(eventLoop: any EventLoop, address: String, endsWhenSilent: Bool) {
        self.eventLoop = eventLoop
        self.address = address
        self.endsWhenSilent = endsWhenSilent
    }

    /// Connects to a node's client port.
    ///
    /// - Parameter endsWhenSilent: whether the connection ends when the node gives no sign of life for two seconds while a
    ///   call with a deadline waits. Only for calls of groups, which a `ping` may overtake: behind another command it waits
    ///   its turn, so that a long one would pass for silence.
    /// - Throws: ``ConnectionError/unreachable(_:)``.
    public static func connect(
        host: String, port: Int, on eventLoop: any EventLoop, timeout: TimeAmount = .seconds(2),
        endsWhenSilent: Bool = false
    ) async throws(ConnectionError) -> WireConnection {
        let connection = WireConnection(
            eventLoop: eventLoop, address: "\(host):\(port)", endsWhenSilent: endsWhenSilent)
        do {
            let channel = try await ClientBootstrap(group: eventLoop)
                .connectTimeout(timeout)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            WireChannelHandler(
                                onBytes: { buffer in connection.assumeIsolated { $0.received(buffer) } },
                                onClose: { connection.assumeIsolated { $0.closed() } }))
                    }
                }
                .connect(host: host, port: port).get()
            await connection.opened(channel)
            return connection
        } catch {
            throw .unreachable("\(host):\(port): \(error)")
        }
    }

    private func opened(_ channel: any Channel) {
        if channel.isActive { self.channel = channel }
    }

    /// Whether calls can still be made.
    public var isOpen: Bool { channel != nil }

    /// Calls that have no answer yet.
    public var outstanding: Int { calls.count }

    /// Sends one command; `answer` is called once, on the connection's loop, perhaps before this returns.
    ///
    /// - Returns: the number under which the call can be abandoned.
    @discardableResult
    package func send(
        _ body: Document, sequences: [OpMsg.Sequence] = [],
        answer: @escaping @Sendable (Result<Document, ConnectionError>) -> Void
    ) -> Int32 {
        send(
            encodedBy: { OpMsg(body: body, sequences: sequences).encoded(requestID: $0, responseTo: 0) }, answer: answer
        )
    }

    /// As ``send(_:sequences:answer:)``, for a message that `encode` makes for the request number that it is given.
    func send(
        encodedBy encode: (Int32) -> [UInt8], answer: @escaping @Sendable (Result<Document, ConnectionError>) -> Void
    ) -> Int32 {
        let number = nextRequest
        nextRequest &+= 1
        guard let channel else {
            answer(.failure(.unreachable("\(address) is closed")))
            return number
        }
        let bytes = encode(number)
        var buffer = channel.allocator.buffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        channel.write(buffer, promise: nil)
        if calls.isEmpty { lastHeard = .now() }
        calls[number] = answer
        if !flushScheduled {
            flushScheduled = true
            eventLoop.execute { [self] in
                assumeIsolated {
                    $0.flushScheduled = false
                    $0.channel?.flush()
                }
            }
        }
        return number
    }

    /// Sends one command and waits for its reply.
    ///
    /// - Parameter timeout: when to give up waiting; nil means when the connection is lost.
    /// - Throws: ``ConnectionError``; a reply with `ok: 0` is returned, not thrown.
    public func call(
        _ body: Document, sequences: [OpMsg.Sequence] = [], timeout: TimeAmount? = nil
    ) async throws(ConnectionError) -> Document {
        let number = NIOLockedValueBox<Int32?>(nil)
        let result: Result<Document, ConnectionError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let sent = send(body, sequences: sequences) { continuation.resume(returning: $0) }
                number.withLockedValue { $0 = sent }
                if let timeout { expire(sent, at: (NIODeadline.now() + timeout).uptimeNanoseconds) }
                if Task.isCancelled { abandon(sent) }
            }
        } onCancel: {
            eventLoop.execute { [self] in
                if let sent = number.withLockedValue({ $0 }) { assumeIsolated { $0.abandon(sent) } }
            }
        }
        return try result.get()
    }

    /// Gives up the call at `deadline` (of the loop's monotonic clock, in nanoseconds), seen to within 100 ms.
    func expire(_ number: Int32, at deadline: UInt64) {
        guard calls[number] != nil else { return }
        deadlines[number] = deadline
        guard sweeper == nil else { return }
        sweeper = eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) {
            [weak self] task in
            guard let self else { return task.cancel() }
            assumeIsolated { $0.sweep() }
        }
    }

    private func sweep() {
        let now = NIODeadline.now().uptimeNanoseconds
        for (number, deadline) in deadlines where deadline <= now { abandon(number) }
        if endsWhenSilent { watch() }
        if deadlines.isEmpty {
            sweeper?.cancel()
            sweeper = nil
        }
    }

    /// A process that was stopped keeps its connections, and so does a machine that cannot be reached any more. Whoever waited
    /// for them until the deadline would miss the leader that was elected meanwhile.
    private func watch() {
        guard let channel, !deadlines.isEmpty else { return }
        let silence = NIODeadline.now() - lastHeard
        if silence > Self.silenceMax {
            channel.close(promise: nil)
        } else if silence > Self.pingAfter, !isPinging {
            isPinging = true
            send(["ping": 1, "$db": "admin"]) { _ in }
        }
    }

    /// Gives up waiting for the answer of that call.
    func abandon(_ number: Int32) {
        deadlines[number] = nil
        calls.removeValue(forKey: number)?(.failure(.lost("given up")))
    }

    public func close() { channel?.close(promise: nil) }

    private func received(_ buffer: ByteBuffer) {
        lastHeard = .now()
        isPinging = false
        unsafe buffer.withUnsafeReadableBytes { unsafe decoder.feed($0) }
        do {
            while let frame = try decoder.next() { try deliver(frame) }
        } catch {
            channel?.close(promise: nil)
        }
    }

    private func deliver(_ frame: ArraySlice<UInt8>) throws(WireError) {
        let header = try MessageHeader(parsing: frame)
        guard header.opCode == OpCode.message.rawValue else { throw .unknownOpCode(header.opCode) }
        let message = try OpMsg(parsing: frame)
        deadlines[header.responseTo] = nil
        calls.removeValue(forKey: header.responseTo)?(.success(message.body))
    }

    private func closed() {
        channel = nil
        sweeper?.cancel()
        sweeper = nil
        deadlines = [:]
        let pending = calls
        calls = [:]
        for answer in pending.values { answer(.failure(.lost("\(address) closed the connection"))) }
    }
}

/// Passes on what the socket reads.
private final class WireChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let onBytes: (ByteBuffer) -> Void
    private let onClose: () -> Void

    init(onBytes: @escaping (ByteBuffer) -> Void, onClose: @escaping () -> Void) {
        self.onBytes = onBytes
        self.onClose = onClose
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { onBytes(unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) {
        onClose()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
